"""`gatehouse retention`: drops the sealed payloads, and what was told to apps, that are older than they are kept."""

from typing import Annotated

import typer

from cli import output
from cli.target import ops_database
from gatehouse.models.admin_changes import drop_old_changes
from gatehouse.models.retention import drop_old_payloads, forget_old_forwards
from gatehouse.settings import settings


def retention(
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=36_500, help="Keep so many (default: PAYLOAD_RETENTION_DAYS).")
    ] = None,
    forward_log_days: Annotated[
        int | None,
        typer.Option(
            "--forward-log-days",
            min=1,
            max=36_500,
            help="Keep what was told to apps so long (default: FORWARD_LOG_RETENTION_DAYS).",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
) -> None:
    """Drop payloads that are older than they are kept, and make the partitions of the months ahead.

    Events, payments and their audit stay for ever; only the exact bytes of old requests and answers go, and old
    deliveries to apps.
    """
    database = ops_database()
    kept_days = settings().payload_retention_days if days is None else days
    done = drop_old_payloads(database, days=kept_days, dry_run=dry_run)
    verb = "would go" if dry_run else "dropped"
    for row in done.dropped:
        about = "" if row["partition"].endswith("_default") else "about "
        output.say(f"{verb}  {row['partition']}  {about}{row['payloads']} payloads, the oldest of {row['oldest']}")
    if not done.dropped:
        output.say(f"no payload is older than {kept_days} days, whole months counted")
    if done.answers:
        output.say(f"{verb}  {done.answers} answers of the gateways' APIs")
    if done.made:
        output.say(f"made     {done.made} partition{'s' if done.made > 1 else ''} for the months ahead")
    for row in done.kept:
        output.say(f"kept     {row['partition']}  about {row['payloads']} payloads")
    log_days = settings().forward_log_retention_days if forward_log_days is None else forward_log_days
    forgotten = forget_old_forwards(database, days=log_days, dry_run=dry_run)
    if forgotten.deliveries:
        output.say(f"{verb}  {forgotten.deliveries} deliveries to apps, the oldest of {forgotten.oldest}")
    else:
        output.say(f"no delivery to an app is older than {log_days} days")
    if forgotten.redrives:
        output.say(f"dropped  {forgotten.redrives} notes of redrives")
    if not dry_run and (changes := drop_old_changes(database, days=settings().admin_change_retention_days)):
        output.say(f"dropped  {changes} notes of who changed merchants, accounts, keys and apps")
