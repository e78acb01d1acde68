"""The `gatehouse` command: what people do to a running Gatehouse.

Each group of commands is a module of this folder with a typer app; it is added to GROUPS and nothing else. A command
that stands alone (`redrive`, `retention`) is added below them.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli import (
    apps,
    audit,
    backup,
    customers,
    dashboard,
    db,
    events,
    forwards,
    gateways,
    imports,
    keys,
    memberships,
    merchants,
    migrate,
    orders,
    output,
    payments,
    products,
    reconcile,
    redrive,
    refunds,
    reports,
    retention,
    status,
    tenants,
    trace,
)
from gatehouse.errors import GatehouseError

GROUPS = {
    "apps": apps.app,
    "backup": backup.app,
    "customers": customers.app,
    "dashboard": dashboard.app,
    "db": db.app,
    "events": events.app,
    "forwards": forwards.app,
    "gateways": gateways.app,
    "import": imports.app,
    "keys": keys.app,
    "memberships": memberships.app,
    "merchants": merchants.app,
    "migrate": migrate.app,
    "orders": orders.app,
    "payments": payments.app,
    "products": products.app,
    "refunds": refunds.app,
    "report": reports.app,
    "tenants": tenants.app,
}

app = typer.Typer(
    help="Run and look after Gatehouse. `gatehouse GROUP --help` lists the commands of a group.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)
app.command("audit")(audit.audit)
app.command("reconcile")(reconcile.reconcile)
app.command("completeness")(reconcile.completeness)
app.command("redrive")(redrive.redrive)
app.command("retention")(retention.retention)
app.command("status")(status.status)
app.command("trace")(trace.trace)


def _show_version(wanted: bool) -> None:
    if wanted:
        output.say(f"gatehouse {version('gatehouse')}")
        raise typer.Exit


@app.callback()
def gatehouse(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold the options that stand before a group."""


def run() -> None:
    """Run the command line; an error that we know is one clear line and exit code 1, never a traceback."""
    try:
        app()
    except GatehouseError as error:
        output.complain(str(error))
        sys.exit(1)


if __name__ == "__main__":
    run()
