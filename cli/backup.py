"""`gatehouse backup`: the second database, in which every payment is too."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.progress import Pace
from cli.target import backup, keyring, ops_database
from gatehouse.backup import restore as restoring
from gatehouse.backup.compare import Compared, Difference, compare, repair
from gatehouse.backup.fill import fill, payments_left
from gatehouse.backup.standing import MOST_REFUSED_SHOWN, Standing, standing
from gatehouse.backup.writer import MANY_REFUSALS, backup_sql, primary_sql
from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.files import migrations_folder
from gatehouse.migrations.sessions import Target
from gatehouse.settings import settings

NOT_WELL = 3
FOUND_DIFFERENCES = 3
MOST_SHOWN = 50

app = typer.Typer(
    help="The second database: how it stands, whether it is the same, how it is filled, and how to come back from it.",
    no_args_is_help=True,
)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Tell lag, backlog, last error and divergence. Exit code 0: all is well, 3: something is not."""
    primary = ops_database()
    found = standing(primary, backup())
    if as_json:
        said = {name: _plain(value) for name, value in found._asdict().items()}
        output.say(json.dumps({"is_well": found.is_well, **said}))
    else:
        _show(found)
        if found.refused:
            rows = primary.query(primary_sql.refused, many=MANY_REFUSALS, most=MOST_REFUSED_SHOWN)
            for row in rows:
                output.say(f"refused    payment {row['payment_id']}, {row['attempts']} times: {row['last_error']}")
    raise typer.Exit(0 if found.is_well else NOT_WELL)


@app.command("compare")
def compare_databases(
    payments: Annotated[int, typer.Option("--range", min=1000, help="How many payments are hashed at once.")] = 100_000,
) -> None:
    """Compare both databases by content and tell which payments differ. Exit code 0: none do, 3: some do."""
    found = _compared(ops_database(), backup(), payments)
    raise typer.Exit(FOUND_DIFFERENCES if found else 0)


@app.command("repair")
def repair_backup(
    remove_extra: Annotated[
        bool, typer.Option("--remove-extra", help="Also remove what only the backup has; it may be all that is left.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what differs.")] = False,
) -> None:
    """Compare, and make the backup's payments what the primary database says. Exit code 3: something is left."""
    primary, second = ops_database(), backup()
    found = _compared(primary, second, 100_000)
    if dry_run or not found:
        raise typer.Exit(FOUND_DIFFERENCES if found else 0)
    done = repair(primary, second, keyring(), found, remove_extra=remove_extra)
    left = [each for each in found if each.kind == "extra" and not remove_extra]
    primary.query(primary_sql.compared, divergent=len(left))
    output.say(f"{done} repaired" + (f", {len(left)} left that only the backup has (--remove-extra)" if left else ""))
    raise typer.Exit(FOUND_DIFFERENCES if left else 0)


@app.command("fill")
def fill_backup(
    rate: Annotated[int, typer.Option("--rate", min=0, help="Payments a second at most; 0: as fast as it goes.")] = 500,
    from_the_start: Annotated[
        bool, typer.Option("--from-the-start", help="Not where the last fill stopped, but all of it.")
    ] = False,
) -> None:
    """Bring over every payment that there is. Ctrl-C stops it; the next run goes on where it stopped."""
    primary, second, keys = ops_database(), backup(), keyring()
    if primary.query(primary_sql.turn, on=True):
        output.say("the backup was off; it is on now, and every change is noted")
    pace = Pace(payments_left(primary, from_the_start=from_the_start), "payments")
    written = 0
    try:
        for batch in fill(primary, second, keys, most_a_second=rate, from_the_start=from_the_start):
            written += batch.written
            pace.move(batch.payments, f"payment/{batch.after}")
    except KeyboardInterrupt:
        output.note("stopped; run it again to go on from here")
        raise
    output.say(f"{pace.done} payments looked at, {written} written; {pace.rate:.0f} a second")


@app.command()
def off(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Note no changes any more: for a deployment that gives up its backup. `fill` switches it on again."""
    primary = ops_database()
    if not yes:
        typer.confirm("From now on the backup misses every change. Switch it off?", abort=True)
    primary.query(primary_sql.turn, on=False)
    output.say("off; a backup_writer that still has a backup's address switches it on within a minute")


@app.command("restore")
def restore_from_backup(
    into: Annotated[str, typer.Option("--into", help="Direct address of an empty database, or @FILE that holds it.")],
) -> None:
    """Rebuild payments, refunds, disputes and orders' states from the backup in an empty database, and check them.

    What the backup does not hold is not there afterwards: the accounts' secrets, customers, items of orders,
    subscriptions. docs/two_databases.md tells what to do next.
    """
    second, keys = backup(), keyring()
    address = _address(into)
    folder = migrations_folder("primary")
    if folder is None:
        raise SettingError("there is no folder migrations/primary")
    applied = Engine(
        Target("primary", address, tls=settings().database_tls, tls_root_file=settings().database_tls_root_file), folder
    ).up()
    output.say(f"{len(applied)} migrations applied")
    target = Database(
        address,
        connect_milliseconds=settings().database_connect_milliseconds,
        statement_milliseconds=60_000,
        away_seconds=0,
        tls=settings().database_tls,
        tls_root_file=settings().database_tls_root_file,
    )
    pace = Pace(second.query_one(backup_sql.count_payments)["payments"], "payments")
    for batch in restoring.restore(second, target, keys):
        pace.move(batch.payments, f"payment/{batch.after}")
    left = restoring.differences(second, target)
    as_of = second.query_one(backup_sql.as_of)["as_of"]
    output.say(
        f"{pace.done} payments restored in {pace.seconds:.1f} s; the backup knew everything until {_plain(as_of)}"
    )
    for row in second.query(backup_sql.accounts):
        output.say(f"to be added again, with its secrets: {row['gateway_provider']}/{row['account']}")
    _tell(left)
    raise typer.Exit(FOUND_DIFFERENCES if left else 0)


def _compared(primary: Database, second: Database, payments: int) -> list[Difference]:
    found: list[Difference] = []
    pace = Pace(payments_left(primary, from_the_start=True), "payments")
    for batch in _followed(compare(primary, second, payments_of_a_range=payments), pace):
        found += batch.differences
    primary.query(primary_sql.compared, divergent=len(found))
    _tell(found)
    output.say(f"{len(found) or 'no'} difference{'' if len(found) == 1 else 's'} in {pace.done} payments")
    return found


def _followed(batches: Iterable[Compared], pace: Pace) -> Iterable[Compared]:
    for batch in batches:
        yield batch
        pace.move(batch.payments, f"payment/{batch.until - 1}")


def _tell(found: list[Difference]) -> None:
    words = {"missing": "is missing in the backup", "extra": "is in the backup alone", "differs": "differs"}
    for each in found[:MOST_SHOWN]:
        output.say(f"payment {each.payment} {words[each.kind]}")
    if len(found) > MOST_SHOWN:
        output.say(f"… and {len(found) - MOST_SHOWN} more")


def _show(found: Standing) -> None:
    output.say(f"primary    {found.primary}")
    output.say(f"backup     {found.backup}{'' if found.is_on is not False else ', and changes are not noted'}")
    if found.backlog is not None:
        output.say(
            f"backlog    {found.backlog} payments, the oldest for {found.lag_seconds} s; refused: {found.refused}"
        )
    output.say(f"as of      {_plain(found.as_of) or output.MISSING}")
    output.say(f"last write {_plain(found.last_write_at) or output.MISSING}")
    output.say(f"last error {found.last_error or output.MISSING}")
    compared = found.compared_at and f"{found.divergent} payments, compared {_plain(found.compared_at)}"
    output.say(f"divergence {compared or 'never compared'}")
    filled = _plain(found.fill_ended_at) or f"not ended; up to payment {found.filled_after}: `gatehouse backup fill`"
    output.say(f"filled     {filled}")


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _address(into: str) -> str:
    if not into.startswith("@"):
        return into
    try:
        return Path(into[1:]).read_text(encoding="utf-8").strip()
    except OSError as reason:
        raise SettingError(f"--into: {into[1:]}: {reason.strerror}") from None
