"""`gatehouse migrate`: the numbered SQL files of migrations/, applied to a database."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from gatehouse.errors import SettingError
from gatehouse.migrations import plan, schema
from gatehouse.migrations.address import configured_target, is_configured
from gatehouse.migrations.engine import Engine, Status
from gatehouse.migrations.files import DATABASES, migrations_folder
from gatehouse.migrations.sessions import Target
from local import stack_file

UP_TO_DATE, PENDING = 0, 3
LOCAL_FOLDER = Path(__file__).resolve().parents[1] / ".local"

app = typer.Typer(
    help="""Apply the SQL files of migrations/ to a database, and see how it stands.

The address must be the direct one, never a pooler's. It is taken from --url-file; else from the settings
(DATABASE_SECRET_ARN or POSTGRES_URL_NON_POOLING; BACKUP_DATABASE_SECRET_ARN or BACKUP_POSTGRES_URL_NON_POOLING);
else from the stack that `make run` started.""",
    no_args_is_help=True,
)


class Chosen(StrEnum):
    """Which database a command is for."""

    PRIMARY = "primary"
    BACKUP = "backup"
    ALL = "all"


DatabaseOption = Annotated[Chosen, typer.Option("--database", help="Which database.")]
UrlFileOption = Annotated[
    Path | None,
    typer.Option("--url-file", help="File that holds the address, so that no password is on the command line."),
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Folder with the SQL files, in place of migrations/<database>.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing; show the SQL that would run.")]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for another runner.")]
LockTimeoutOption = Annotated[
    float, typer.Option("--lock-timeout", min=0.001, help="Seconds a statement may wait for a table that is in use.")
]


@app.command()
def status(
    database: DatabaseOption = Chosen.PRIMARY, url_file: UrlFileOption = None, folder: FolderOption = None
) -> None:
    """List the migrations and what became of each. Exit code: 0 up to date, 3 pending, 1 something is wrong."""
    worst = UP_TO_DATE
    for engine in _engines(database, url_file, folder):
        found = engine.status()
        _show(found)
        if found.problems:
            output.complain("\n".join(found.problems))
            worst = 1
        elif found.pending and worst == UP_TO_DATE:
            worst = PENDING
    raise typer.Exit(worst)


@app.command()
def up(
    database: DatabaseOption = Chosen.PRIMARY,
    to: Annotated[int | None, typer.Option(min=1, help="The last migration to apply (default: all).")] = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = 60,
    lock_timeout: LockTimeoutOption = 5,
    url_file: UrlFileOption = None,
    folder: FolderOption = None,
) -> None:
    """Apply what is pending. Safe to run again and at the same time as another runner."""
    for engine in _engines(database, url_file, folder, wait, lock_timeout):
        if dry_run:
            _show_dry_run(engine, to, down=False)
        elif applied := engine.up(to):
            output.say(f"{len(applied)} applied")
        else:
            output.say("nothing to apply")


@app.command()
def down(
    database: DatabaseOption = Chosen.PRIMARY,
    to: Annotated[
        int | None, typer.Option(min=0, help="The newest migration to keep, 0 for none (default: undo one).")
    ] = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = 60,
    lock_timeout: LockTimeoutOption = 5,
    url_file: UrlFileOption = None,
    folder: FolderOption = None,
) -> None:
    """Undo the newest migration, or all above a number. What its tables hold is gone with them."""
    for engine in _engines(database, url_file, folder, wait, lock_timeout):
        if dry_run:
            _show_dry_run(engine, to, down=True)
        elif undone := engine.down(to):
            output.say(f"{len(undone)} undone")
        else:
            output.say("nothing to undo")


@app.command()
def reset(
    database: DatabaseOption = Chosen.PRIMARY,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, drop everything in this database.")] = False,
    wait: WaitOption = 60,
    lock_timeout: LockTimeoutOption = 5,
    url_file: UrlFileOption = None,
    folder: FolderOption = None,
) -> None:
    """Drop everything in a database that is marked as a development one; roles stay."""
    for engine in _engines(database, url_file, folder, wait, lock_timeout):
        if not yes:
            output.complain(f"{engine.target.database}: this drops every table and all data: give --yes")
            raise typer.Exit(1)
        output.say(
            f"{engine.reset()} objects dropped with what belongs to them; `gatehouse migrate up` makes them anew"
        )


@app.command()
def verify(
    database: DatabaseOption = Chosen.PRIMARY, url_file: UrlFileOption = None, folder: FolderOption = None
) -> None:
    """Check files, ledger, indexes and schema against each other. Exit code: 0 all is well, 1 something is not."""
    all_is_well = True
    for engine in _engines(database, url_file, folder):
        if found := engine.verify():
            output.complain("\n".join(found))
            all_is_well = False
        else:
            output.say("the database is what the migrations say")
    raise typer.Exit(0 if all_is_well else 1)


@app.command("schema")
def show_schema(
    database: DatabaseOption = Chosen.PRIMARY,
    write: Annotated[bool, typer.Option("--write", help="Write migrations/<database>/schema.sql.")] = False,
    url_file: UrlFileOption = None,
    folder: FolderOption = None,
) -> None:
    """Show the schema as SQL; with --write, keep it beside the migrations. Do so after `up` on an empty database."""
    for engine in _engines(database, url_file, folder, quiet=not write):
        text = engine.describe_schema()
        if write:
            schema.schema_file(engine.folder).write_text(text, encoding="utf-8")
            output.say(f"wrote {schema.schema_file(engine.folder)}")
        else:
            output.say(text)


def _engines(
    database: Chosen,
    url_file: Path | None,
    folder: Path | None,
    wait: float = 60,
    lock_timeout: float = 5,
    *,
    quiet: bool = False,
) -> Iterator[Engine]:
    """Yield the engine of each chosen database, having said which one it is."""
    names = DATABASES if database is Chosen.ALL else (database.value,)
    if len(names) > 1 and (url_file or folder):
        raise SettingError("--url-file and --folder are for one database: choose it with --database")
    for name in names:
        chosen_folder = folder or migrations_folder(name)
        if chosen_folder is None:
            output.say(f"{name}: there are no migrations for it yet (no folder migrations/{name})")
            continue
        target, source = _target(name, url_file)
        if not quiet:
            output.say(f"{target.description} ({source})", style="bold")
        yield Engine(target, chosen_folder, output.say, wait, lock_timeout)


def _target(database: str, url_file: Path | None) -> tuple[Target, str]:
    """Return the database to work on, and where its address was found."""
    if url_file:
        return configured_target(database, address=_first_line(url_file)), str(url_file)
    if is_configured(database):
        return configured_target(database), "from the settings"
    try:
        stack = stack_file.read(LOCAL_FOLDER)
    except stack_file.StackNotRunning as reason:
        raise SettingError(
            f"no address of the {database} database: give --url-file, or set POSTGRES_URL_NON_POOLING or"
            f" DATABASE_SECRET_ARN (with BACKUP_ before it for the backup); and no local stack: {reason}"
        ) from None
    address = stack.get("database_url" if database == "primary" else "backup_database_url", "")
    if not address:
        raise SettingError(f"the running stack has no {database} database")
    return Target(database, address, tls="off"), "the running local stack"


def _first_line(url_file: Path) -> str:
    try:
        return url_file.read_text(encoding="utf-8").strip().split("\n")[0]
    except OSError as reason:
        raise SettingError(f"{url_file}: {reason.strerror}") from None


def _show(found: Status) -> None:
    output.show_table(
        ("No", "Migration", "State", "Applied", "By", "ms"),
        (
            (
                f"{step.version:04}",
                step.name[5:],
                step.state,
                step.applied_at and f"{step.applied_at:%Y-%m-%d %H:%M:%S} UTC",
                step.applied_by,
                step.milliseconds,
            )
            for step in found.steps
        ),
        right=("ms",),
    )
    applied = sum(step.state == plan.APPLIED for step in found.steps)
    if found.pending:
        output.say(f"{found.pending} pending: `gatehouse migrate up` applies them (--dry-run shows them first)")
    elif not found.problems:
        output.say(f"up to date: {applied} applied" if applied else "no migrations")


def _show_dry_run(engine: Engine, to: int | None, *, down: bool) -> None:
    would = engine.dry_run(to, down=down)
    for migration in would:
        how = "in one transaction" if migration.in_transaction else "statement by statement, outside a transaction"
        output.say(f"\n-- {migration.file}, {how}:", style="bold")
        output.say(migration.down_text if down else migration.up_text)
    output.say(f"\ndry run: {len(would)} would be {'undone' if down else 'applied'}, nothing was changed")
