"""`gatehouse refunds`: asked for, followed, and decided where nobody knows what became of one."""

from contextlib import suppress
from typing import Annotated
from uuid import UUID

import typer

from cli import output
from cli.stored import (
    DEFAULT_MERCHANT,
    AfterOption,
    JsonOption,
    LimitOption,
    MerchantOption,
    actor,
    as_json,
    lines,
    moment,
    money,
)
from cli.target import ops_database
from gatehouse.database.connection import Database
from gatehouse.errors import NotFound, SettingError
from gatehouse.jobs.bell import bell
from gatehouse.models import payments, refunds
from gatehouse.models.payments import Payment
from gatehouse.money import to_minor

app = typer.Typer(help="Ask gateways for refunds, and see what became of them.", no_args_is_help=True)


@app.command()
def request(
    payment: Annotated[str, typer.Argument(help="Our id of the payment, or the gateway's id of any of its objects.")],
    amount: Annotated[
        str | None, typer.Option("--amount", help="In major units, 12.50; default: all that is left.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept here, and not sent.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Idempotency key: the same one asks once.")] = None,
    merchant: MerchantOption = DEFAULT_MERCHANT,
) -> None:
    """Ask the gateway for a refund of a payment; never above what is left."""
    database = ops_database()
    paid = _payment(database, merchant, payment)
    asked = refunds.request_refund(
        database,
        merchant,
        paid.id,
        amount_minor=_minor(amount, paid.currency),
        reason=reason,
        idempotency_key=key,
        actor=actor(),
    )
    output.say(f"{asked.id}: {money(asked.amount_minor, asked.currency)} of payment {paid.id} is {asked.state}")
    _ring(asked.job_id)


@app.command("list")
def list_(
    merchant: MerchantOption = DEFAULT_MERCHANT,
    state: Annotated[str | None, typer.Option("--state", help=", ".join(refunds.REQUEST_STATES))] = None,
    after: AfterOption = None,
    limit: LimitOption = 20,
    json_: JsonOption = False,
) -> None:
    """List the refunds that were asked for here, newest first; `unknown` ones wait for a person."""
    page = refunds.list_refund_requests(ops_database(), merchant, state=state, after=after, most=limit)
    if json_:
        for row in page.rows:
            output.say(as_json(row))
        return
    output.show_table(
        ("Request", "Asked", "Payment", "Gateway", "Amount", "State", "Refund", "By"),
        (
            (
                row.id,
                moment(row.created_at),
                row.payment_id,
                row.gateway,
                money(row.amount_minor, row.currency),
                row.state,
                row.refund_status,
                row.actor,
            )
            for row in page.rows
        ),
        right=("Payment", "Amount"),
    )
    if page.next:
        output.say(f"more: --after {page.next}")


@app.command()
def show(
    request: Annotated[UUID, typer.Argument(help="The id that `request` gave.")],
    merchant: MerchantOption = DEFAULT_MERCHANT,
) -> None:
    """Show one refund that was asked for, and its job."""
    found = refunds.find_refund_request(ops_database(), merchant, request)
    for line in lines(found._asdict().items()):
        output.say(line)


@app.command("send-again")
def send_again(
    request: Annotated[UUID, typer.Argument(help="The id of an unknown one.")],
    merchant: MerchantOption = DEFAULT_MERCHANT,
    yes: Annotated[bool, typer.Option("--yes", help="I have seen at the gateway that it was not made.")] = False,
) -> None:
    """Send an unknown refund anew. Look at the gateway first: if it was made, this makes a second one."""
    if not yes:
        raise typer.BadParameter("look at the gateway first: if it was made there, this makes a second; then --yes")
    sent = refunds.send_refund_again(ops_database(), merchant, request, actor=actor())
    output.say(f"{sent.id} is {sent.state}")
    _ring(sent.job_id)


@app.command()
def settle(
    request: Annotated[UUID, typer.Argument(help="The id of an unknown one.")],
    made_as: Annotated[
        str | None, typer.Option("--made-as", help="It was made: the gateway's id of the refund, which was told of.")
    ] = None,
    not_made: Annotated[bool, typer.Option("--not-made", help="I have seen at the gateway that it was not.")] = False,
    merchant: MerchantOption = DEFAULT_MERCHANT,
) -> None:
    """Say what became of an unknown refund, after a look at the gateway; nothing is sent."""
    if (made_as is None) is not not_made:
        raise typer.BadParameter("is one of the two", param_hint="--made-as, --not-made")
    settled = refunds.settle_refund(ops_database(), merchant, request, made_as=made_as, actor=actor())
    output.say(f"{settled.id} is {settled.state}, and its money {settled.refund_status}")


def _payment(database: Database, merchant: str, name: str) -> Payment:
    """Return the payment of our number, or of a gateway's name, which at some gateways is a number too."""
    if not (name.isascii() and name.isdigit() and len(name) < 19):
        return payments.find_payment_by_object(database, merchant, name)
    found: dict[int, Payment] = {}
    with suppress(NotFound):
        ours = payments.find_payment(database, merchant, int(name))
        found[ours.id] = ours
    with suppress(NotFound):
        theirs = payments.find_payment_by_object(database, merchant, name)
        found[theirs.id] = theirs
    if not found:
        raise NotFound("there is no such payment")
    if len(found) > 1:
        raise typer.BadParameter(
            f"{name} is our payment {ours.id} and the {theirs.gateway} id of our payment {theirs.id}: "
            "give the other name of the one you mean",
            param_hint="PAYMENT",
        )
    return next(iter(found.values()))


def _minor(amount: str | None, currency: str | None) -> int | None:
    if amount is None:
        return None
    try:
        return to_minor(amount, currency or "")
    except ValueError as reason:
        raise typer.BadParameter(str(reason), param_hint="--amount") from None


def _ring(job_id: int) -> None:
    """Ring for the job where a queue is known; elsewhere the sweeper does within a minute."""
    try:
        bell().ring([(job_id, "send_refund")], budget_seconds=5)
    except SettingError:
        output.say("it is sent within a minute")
