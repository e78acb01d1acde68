"""`gatehouse payments`: why a payment is what it is, and rows made anew from their facts."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import output
from cli.target import ops_database
from gatehouse.models.payments import find_payment
from gatehouse.models.story import Held, Row, Story, masked, story_of
from gatehouse.money import EXPONENTS, written

PaymentArgument = Annotated[
    str, typer.Argument(help="Our number, a gateway's id of it, of a refund or dispute, or the merchant's reference.")
]

app = typer.Typer(help="Explain payments, and make rows anew from what was said of them.", no_args_is_help=True)


@app.command()
def explain(
    payment: PaymentArgument,
    personal: Annotated[bool, typer.Option("--personal", help="Also what a person is known by.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell the whole story of a payment: every event, what it said and changed, and why each column is what it is."""
    database = ops_database()
    story = story_of(database, find_payment(database, payment)["id"])
    if not personal:
        story = masked(story)
    if as_json:
        output.say(_json(story._asdict() | {"columns": [_column(held) for held in story.columns]}))
        return
    _show_head(story)
    _show_events(story)
    _show_columns(story.columns)


def _show_head(story: Story) -> None:
    row = story.payment
    mode = "" if row["livemode"] else "  (test)"
    output.say(f"payment {row['id']}  {row['gateway']}/{row['account']}  {row['status']}{mode}", style="bold")
    output.say(f"merchant   {row['merchant']}")
    output.say(f"names      {', '.join(story.names)}")
    output.say(f"amount     {_amounts(row)}")
    user = f", user {row['user_id']}" if row["user_id"] else ""
    output.say(f"app        {row['app'] or output.MISSING}{user}: {story.app_is_known_because}")
    if story.joined:
        output.say(f"joined     {', '.join(map(str, story.joined))}: what was recorded as these is this payment")
    if story.subscription:
        subscription = story.subscription
        app = f", app {subscription['app']} by {subscription['app_from']}" if subscription["app"] else ""
        output.say(f"subscription {subscription['gateway_id']}  {subscription['status']}{app}")
    if story.invoice:
        output.say(f"invoice    {story.invoice['gateway_id']}  {story.invoice['status']}")
    for refund in story.refunds:
        failed = f": {refund['failure_code']}" if refund["failure_code"] else ""
        amount = _amount(refund["amount_minor"], refund["currency"])
        output.say(f"refund     {refund['gateway_id']}  {refund['status']}{failed}  {amount}")
    for dispute in story.disputes:
        held = "  (its money is held back)" if dispute["is_withdrawn"] else ""
        amount = _amount(dispute["amount_minor"], dispute["currency"])
        output.say(f"dispute    {dispute['gateway_id']}  {dispute['status']}  {amount}{held}")


def _show_events(story: Story) -> None:
    output.say("\nwhat happened, by the gateway's clock (UTC)", style="bold")
    overruled = _overruled_by_event(story.columns)
    for event in story.events:
        at = _time(event["occurred_at"]) if event["occurred_at"] else "no time given     "
        why = f": {event['reason']}" if event["reason"] else ""
        output.say(f"  {at}  {event['type']}  {event['event_id']}  {event['status']}{why}")
        again = f", {event['attempts']} attempts" if event["attempts"] > 1 else ""
        request = f", request {event['request_id']}" if event["request_id"] else ""
        output.say(f"      received {_time(event['received_at'])}{again}{request}")
        for fact in event["said"]:
            output.say(f"      said of {fact['kind']} {fact['subject_id']}: {_words(fact['words'])}")
        for column, value, stands in overruled.get(event["event_id"], ()):
            output.say(f"      overruled: {column} {_plain(value)} ({stands})")
        _show_changes(event["changed"])
        for job in event["jobs"]:
            ended = f", last error: {job['last_error']}" if job["last_error"] else ""
            output.say(f"      job {job['id']} {job['topic']}: {job['status']}, attempts {job['attempts']}{ended}")
    if not story.events:
        output.say("  nothing is known of any event")
    if story.fetched:
        output.say("\nwhat jobs fetched", style="bold")
        for fact in story.fetched:
            at = _time(fact["occurred_at"] or fact["received_at"])
            output.say(f"  {at}  {fact['said_by']} of {fact['kind']} {fact['subject_id']}: {_words(fact['words'])}")
    if story.by_hand:
        output.say("\nchanges that no event made", style="bold")
        _show_changes(story.by_hand)


def _show_changes(changes: Iterable[Row]) -> None:
    for change in changes:
        told = ", ".join(f"{column} {_change(value)}" for column, value in change["changes"].items() if column != "id")
        what = f"{change['table_name'][:-1]} {change['row_id']}"
        output.say(f"      {change['action']} of {what} by {change['actor']} at {_time(change['at'])}: {told}")


def _show_columns(columns: Iterable[Held]) -> None:
    output.say("\nwhy it is as it is", style="bold")
    for held in columns:
        by = f", by {held.said_by}" if held.said_by else ""
        output.say(f"  {held.column:<16} {_plain(held.value)}  ({held.rule}{by})")
        for other in held.overruled:
            output.say(f"  {'':<16} not {_plain(other.value)}, as {other.said_by} said")


def _overruled_by_event(columns: Iterable[Held]) -> dict[str, list[tuple[str, Any, str]]]:
    """Return for each event what it said in vain, and what stands instead."""
    found: dict[str, list[tuple[str, Any, str]]] = {}
    for held in columns:
        stands = f"{_plain(held.value)} stands, by {held.said_by}" if held.said_by else held.rule
        for other in held.overruled:
            found.setdefault(other.said_by, []).append((held.column, other.value, stands))
    return found


def _amounts(row: Row) -> str:
    amounts = (f"{word} {_amount(row[f'{word}_minor'], row['currency'])}" for word in ("received", "refunded"))
    fee = _amount(row["fee_minor"], row["fee_currency"]) if row["fee_minor"] is not None else "not known"
    return ", ".join((_amount(row["amount_minor"], row["currency"]), *amounts, f"fee {fee}"))


def _amount(amount_minor: int | None, currency: str | None) -> str:
    if amount_minor is None:
        return output.MISSING
    return written(amount_minor, currency) if currency in EXPONENTS and currency else f"{amount_minor} minor units"


def _words(words: Row) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in sorted(words.items())) or "nothing but its names"


def _change(value: Any) -> str:
    return f"{_plain(value[0])} → {_plain(value[1])}" if isinstance(value, list) and len(value) == 2 else _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return output.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _json(value) if isinstance(value, dict | list) else str(value)


def _column(held: Held) -> Row:
    return held._asdict() | {"overruled": [each._asdict() for each in held.overruled]}


def _time(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}"


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda other: other.isoformat() if isinstance(other, datetime) else str(other))
