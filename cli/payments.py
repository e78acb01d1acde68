"""`gatehouse payments`: why a payment is what it is, and rows made anew from their facts."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import output
from cli.progress import followed
from cli.target import ops_database
from cli.times import moment
from gatehouse.intake.refold import (
    ORDER,
    Chosen,
    Difference,
    Place,
    last_ids,
    refold_many,
    refold_payment,
)
from gatehouse.models.payment_names import MOST_DIGITS, payment_named
from gatehouse.models.story import MASK, PERSONAL, Held, Row, Story, masked, story_of
from gatehouse.money import EXPONENTS, written

PaymentArgument = Annotated[
    str, typer.Argument(help="Our number, a gateway's id of it, of a refund or dispute, or the merchant's reference.")
]

app = typer.Typer(help="Explain payments, and make rows anew from what was said of them.", no_args_is_help=True)


FOUND_DIFFERENCES = 3


def _place(text: str | None) -> Place | None:
    if text is None:
        return None
    kind, _, number = text.partition("/")
    if kind not in ORDER or not number.isascii() or not number.isdigit() or len(number) > MOST_DIGITS:
        raise typer.BadParameter(f"must be a kind and a number, such as payment/1200; kinds are {', '.join(ORDER)}")
    return Place(kind, int(number))


@app.command()
def refold(
    payment: Annotated[str | None, typer.Argument(help="One payment, with its refunds and disputes.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="All rows of which something was said since: 2026-11-20T08:00Z.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All rows of every kind.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", help="Go on after this row, such as payment/1200; with --since or --all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would change.")] = False,
) -> None:
    """Make rows anew from what was said, and tell what differed. Exit code 0: nothing did, 3: something did."""
    if sum((payment is not None, since is not None, every)) != 1:
        raise typer.BadParameter("name one payment, or give --since or --all")
    if payment and after:
        raise typer.BadParameter("--after goes with --since or --all")
    place, begins = _place(after), moment(since)
    database = ops_database()
    if payment:
        differences = refold_payment(database, payment_named(database, payment)["id"], dry_run=dry_run)
        rows, found = None, _told(differences)
    else:
        rows, found = 0, 0
        chosen = Chosen(since=begins, after=place)
        for batch in followed(refold_many(database, chosen, dry_run=dry_run), last_ids(database)):
            rows += batch.rows
            found += _told(batch.differences)
    looked_at = "" if rows is None else f" in {rows} rows"
    undone = " (nothing was changed)" if dry_run and found else ""
    output.say(f"{found or 'no'} difference{'' if found == 1 else 's'}{looked_at}{undone}")
    raise typer.Exit(FOUND_DIFFERENCES if found else 0)


def _told(differences: list[Difference]) -> int:
    """Show differences, without what a person is known by, and return how many."""
    for each in differences:
        hidden = each.column in PERSONAL[each.kind]
        before, after = (MASK if hidden and value is not None else _plain(value) for value in (each.before, each.after))
        output.say(f"{each.kind} {each.id}  {each.column}  {before} → {after}")
    return len(differences)


@app.command()
def explain(
    payment: PaymentArgument,
    personal: Annotated[bool, typer.Option("--personal", help="Also what a person is known by.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell the whole story of a payment: every event, what it said and changed, and why each column is what it is."""
    database = ops_database()
    story = story_of(database, payment_named(database, payment)["id"])
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
