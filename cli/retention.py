"""`gatehouse retention`: drops the sealed payloads that are older than they are kept."""

from typing import Annotated

import typer

from cli import output
from cli.target import ops_database
from gatehouse.models.retention import drop_old_payloads
from gatehouse.settings import settings


def retention(
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=36_500, help="Keep so many (default: PAYLOAD_RETENTION_DAYS).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
) -> None:
    """Drop payloads that are older than they are kept, and make the partitions of the months ahead.

    Events, payments and their audit stay for ever; only the exact bytes of old requests and answers go.
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
