"""Which questions this API answers; each module beside this one holds those about one kind of record."""

from collections.abc import Iterable

from analytics_api import apps, disputes, invoices, payments, payouts, refunds, subscriptions
from gatehouse.http_api.application import application
from gatehouse.http_api.callers import Desk
from gatehouse.http_api.front import Front

ROUTERS = (
    payments.router,
    refunds.router,
    disputes.router,
    subscriptions.router,
    invoices.router,
    payouts.router,
    apps.router,
)
DESCRIPTION = "Payments of five gateways, and what hangs on them. Each key sees one merchant's rows."


def build(desk: Desk, origins: Iterable[str] = ()) -> Front:
    """Return the API, working with this desk, open to pages of these origins."""
    return application("Gatehouse", DESCRIPTION, ROUTERS, desk, origins)
