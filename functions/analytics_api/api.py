"""Which questions this API answers; each module beside this one holds those about one kind of record."""

from collections.abc import Iterable

from analytics_api import (
    analytics,
    apps,
    audit,
    completeness,
    customers,
    disputes,
    forwards,
    invoices,
    memberships,
    orders,
    payments,
    payouts,
    products,
    refund_requests,
    refunds,
    server,
    subscriptions,
    sync,
)
from gatehouse.http_api.application import application
from gatehouse.http_api.callers import Desk
from gatehouse.http_api.front import Front

ROUTERS = (
    orders.router,
    customers.router,
    analytics.router,  # before payments, whose /payments/{id} would take /payments/analytics
    payments.router,
    refunds.router,
    refund_requests.router,
    disputes.router,
    subscriptions.router,
    invoices.router,
    payouts.router,
    memberships.router,
    products.router,
    apps.router,
    forwards.router,
    completeness.router,
    audit.router,
    server.router,
    sync.router,
)
DESCRIPTION = "Orders, customers, payments of five gateways, and what hangs on them. Each key sees one merchant's rows."


def build(desk: Desk, origins: Iterable[str] = ()) -> Front:
    """Return the API, working with this desk, open to pages of these origins."""
    return application("Gatehouse", DESCRIPTION, ROUTERS, desk, origins)
