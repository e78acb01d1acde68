"""How a command takes the name of a gateway: one that nobody knows is a mistake, and no empty answer."""

from typing import Annotated

import typer

from gatehouse.gateways import NAMES


def _known(name: str | None) -> str | None:
    if name is not None and name not in NAMES:
        raise typer.BadParameter(f"must be one of {', '.join(NAMES)}")
    return name


GatewayArgument = Annotated[str, typer.Argument(callback=_known, help="stripe, paypal, …")]
NeededGatewayOption = Annotated[str, typer.Option("--gateway", callback=_known, help="stripe, paypal, …")]
GatewayOption = Annotated[str | None, typer.Option("--gateway", callback=_known, help="Only this gateway.")]
