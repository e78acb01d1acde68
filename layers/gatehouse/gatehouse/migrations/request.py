"""Answers a request to the `migrator` function, such as {"command": "up", "database": "primary", "to": 7}.

`reset` is not among the commands: nobody empties a database from afar.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gatehouse.errors import RequestRefused
from gatehouse.migrations.address import configured_target
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.files import DATABASES, migrations_folder
from gatehouse.migrations.sessions import Tell

COMMANDS = ("status", "up", "down", "verify")
FIELDS = ("command", "database", "to", "dry_run")


def answer(request: Any, tell: Tell) -> dict[str, Any]:
    """Do what the request says and return what became of it; `tell` hears of each step."""
    command, database, to, dry_run = _read(request)
    folder = migrations_folder(database)
    said = {"command": command, "database": database}
    if folder is None:
        return {**said, "note": f"there are no migrations for the {database} database yet"}
    engine = Engine(configured_target(database), folder, tell)
    if dry_run:
        would = engine.dry_run(to, down=command == "down")
        texts = [(each.name, each.down_text if command == "down" else each.up_text) for each in would]
        return {**said, "dry_run": True, "would_run": [{"name": name, "sql": sql} for name, sql in texts]}
    if command == "up":
        return {**said, "applied": list(engine.up(to))}
    if command == "down":
        return {**said, "undone": list(engine.down(to))}
    if command == "verify":
        problems = engine.verify()
        return {**said, "ok": not problems, "problems": list(problems)}
    status = engine.status()
    steps = [{**asdict(step), "applied_at": step.applied_at and step.applied_at.isoformat()} for step in status.steps]
    return {**said, "pending": status.pending, "problems": list(status.problems), "steps": steps}


def _read(request: Any) -> tuple[str, str, int | None, bool]:
    """Return command, database, number and dry run; refuse unknown fields: one may be a mistyped `dry_run`."""
    if not isinstance(request, Mapping):
        raise RequestRefused('the request must be an object such as {"command": "status"}')
    if unknown := sorted(set(map(str, request)) - set(FIELDS)):
        raise RequestRefused(f"unknown field {', '.join(unknown)}: the fields are {', '.join(FIELDS)}")
    command = request.get("command")
    if command not in COMMANDS:
        raise RequestRefused(f"unknown command {command!r}: the commands are {', '.join(COMMANDS)}")
    database = request.get("database", "primary")
    if database not in DATABASES:
        raise RequestRefused(f"unknown database {database!r}: the databases are {', '.join(DATABASES)}")
    to, dry_run = request.get("to"), request.get("dry_run", False)
    if to is not None and (type(to) is not int or to < 0):
        raise RequestRefused(f"`to` is {to!r}, must be the number of a migration")
    if type(dry_run) is not bool:
        raise RequestRefused(f"`dry_run` is {dry_run!r}, must be true or false")
    if command in ("status", "verify") and (dry_run or to is not None):
        raise RequestRefused(f"`{command}` takes neither `to` nor `dry_run`: it changes nothing")
    return command, database, to, dry_run
