"""Memberships: who is a member of which product line. What payments say is folded by the database.

The rule is in docs/memberships.md. Here they are listed, counted, and given what people say of them. Every read of a
patient's data is noted with its reader.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound, ValidationError
from gatehouse.models.scope import Store, flush_for, write_for

sql = load_statements(Path(__file__).with_name("memberships.sql"))

STATUSES = ("active", "paused", "canceled", "past_due")
CANCELED = "canceled"
MOST_OF_A_PATIENT = 200
MOST_REASON_CHARACTERS = 500
WORKFLOW = {"referral_source": 200, "fulfillment_type": 100}  # texts, and how long each may be
MOST_AT_ONCE = 1000  # missed renewals and old reads of one sweep

Sort = Literal["name", "started", "last_payment", "next_expected"]
# The statement of each order, and the column that a row stands by; the first text, the others moments.
ORDERS: dict[str, tuple[str, str, str]] = {
    "name": ("list_by_name", "name_key", ""),
    "started": ("list_by_start", "started_at", "-infinity"),
    "last_payment": ("list_by_payment", "last_payment_at", "-infinity"),
    "next_expected": ("list_by_expected", "next_expected_at", "infinity"),
}


class Membership(NamedTuple):
    """A row of `memberships`."""

    id: int
    merchant: str
    gateway: str
    account: str
    customer_ref: str
    livemode: bool
    category: str
    name: str | None
    email: str | None
    product_name: str | None
    status: str
    status_by_rule: str
    status_by_hand: str | None
    status_reason: str | None
    status_set_by: str | None
    status_set_at: datetime | None
    started_at: datetime | None
    last_payment_at: datetime | None
    next_expected_at: datetime | None
    renews_every: str | None
    renewal_missed_at: datetime | None
    amount_minor: int | None
    currency: str | None
    payment_count: int
    google_review_submitted: bool
    referral_source: str | None
    fulfillment_type: str | None
    version: int
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        return f"<Membership {self.id}>"  # not even in a log does it say whose it is


class Wanted(NamedTuple):
    """What memberships are looked for by; None does not ask."""

    tab: str | None = None  # a category without those that were canceled
    status: Sequence[str] | None = None
    livemode: bool | None = None
    google_review_submitted: bool | None = None
    referral_source: str | None = None
    fulfillment_type: str | None = None
    renewal_missed: bool | None = None
    started_since: datetime | None = None
    started_before: datetime | None = None
    paid_since: datetime | None = None
    paid_before: datetime | None = None
    text: str | None = None  # words or their beginnings: name, code, e-mail, product

    def told(self) -> dict[str, Any]:
        """Return what was asked, as the note of the read keeps it: of words only that there were some."""
        asked = {name: value for name, value in self._asdict().items() if value is not None}
        if "text" in asked:
            asked["text"] = True
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asked.items()}


ANY = Wanted()


class Page(NamedTuple):
    """Some memberships, and where the next page begins: give `next` as `after`; None at the end."""

    rows: list[Membership]
    next: tuple[str, int] | None


class Tab(NamedTuple):
    """One tab of the dashboard: all, a category without those that were canceled, or the cancellations."""

    name: str
    category: str | None
    memberships: int
    by_status: dict[str, int]
    renewals_missed: int


class Patient(NamedTuple):
    """All that is known of one patient."""

    memberships: list[Membership]
    payments: list[dict[str, Any]]
    invoices: list[dict[str, Any]]
    history: list[dict[str, Any]]


class Read(NamedTuple):
    """A row of `health_data_reads`: who read what."""

    id: int
    at: datetime
    reader: str
    kind: str
    filters: dict[str, Any]
    row_ids: list[int]
    row_count: int


def list_memberships(
    store: Store,
    merchant: str,
    wanted: Wanted = ANY,
    *,
    reader: str,
    sort: Sort = "name",
    after: tuple[str, int] | None = None,
    most: int = 50,
    kind: Literal["memberships", "export"] = "memberships",
) -> Page:
    """Return a page of memberships; one that comes meanwhile neither doubles nor hides another."""
    for status in wanted.status or ():
        checked_status(status)
    statement, column, nothing = ORDERS[sort]
    bound = sql[statement](
        merchant=merchant,
        reader=reader,
        kind=kind,
        asked=wanted.told(),
        **wanted._asdict() | statuses_asked(wanted.status),
        **{"after_key" if sort == "name" else "after_at": after[0] if after else None},
        after_id=after[1] if after else None,
        most=most + 1,
        shown=most,
    )
    (rows,) = flush_for(store, merchant, bound)
    found = [_membership(row) for row in rows]
    if len(found) <= most:
        return Page(found, None)
    last = rows[most - 1][column]
    key = last.isoformat() if isinstance(last, datetime) else nothing if last is None else last
    return Page(found[:most], (key, found[most - 1].id))


def count_tabs(store: Store, merchant: str, *, livemode: bool | None = None) -> list[Tab]:
    """Return the tabs with their counts: all first, the merchant's own categories by name, the cancellations last."""
    (rows,) = flush_for(store, merchant, sql.count_tabs(merchant=merchant, livemode=livemode))
    categories = sorted({row["category"] for row in rows}, key=lambda name: (name.lower(), name))
    return [
        _tab("All", None, rows),
        *(
            _tab(name, name, [row for row in rows if row["category"] == name and row["status"] != CANCELED])
            for name in categories
        ),
        _tab("Cancellations", None, [row for row in rows if row["status"] == CANCELED]),
    ]


def find_membership(store: Store, merchant: str, membership_id: int, *, reader: str) -> Membership:
    """Return one membership, or raise NotFound."""
    bound = sql.find_membership(merchant=merchant, id=membership_id, reader=reader, kind="membership")
    (rows,) = flush_for(store, merchant, bound)
    if not rows:
        raise NotFound("there is no such membership")
    return Membership(**rows[0])


def find_patient(store: Store, merchant: str, membership_id: int, *, reader: str) -> Patient:
    """Return all that is known of the patient that a membership is of, or raise NotFound."""
    one: dict[str, Any] = {"merchant": merchant, "id": membership_id}
    most = {"most": MOST_OF_A_PATIENT}
    found, memberships, payments, invoices, history = flush_for(
        store,
        merchant,
        sql.find_membership(**one, reader=reader, kind="patient"),
        sql.memberships_of_patient(**one),
        sql.payments_of_patient(**one, **most),
        sql.invoices_of_patient(**one, **most),
        sql.history_of_patient(**one, **most),
    )
    if not found:
        raise NotFound("there is no such membership")
    return Patient([Membership(**row) for row in memberships], payments, invoices, history)


def change_membership(
    store: Store,
    merchant: str,
    membership_id: int,
    changes: Mapping[str, Any],
    *,
    reason: str | None = None,
    expected_version: int | None = None,
    actor: str,
) -> Membership:
    """Write what a person says of a membership, and return it; raise NotFound, ChangedMeanwhile or ValidationError.

    A `status` stays, whatever the payments say, until it is released by None; it wants a reason.
    """
    checked = checked_changes(changes, reason)
    changed, rows = write_for(
        store,
        merchant,
        sql.change_membership(id=membership_id, changes=checked, expected_version=expected_version, reason=reason),
        sql.find_membership(merchant=merchant, id=membership_id, reader=actor, kind="membership"),
        actor=actor,
    )
    del changed
    return Membership(**rows[0])


def note_missed_renewals(database: Database, *, grace_days: int, most: int = MOST_AT_ONCE) -> int:
    """Note renewals of all merchants that were expected and did not come; return how many. It cancels nothing."""
    return int(database.query_one(sql.note_missed_renewals, grace_days=grace_days, most=most)["noted"])


def drop_old_reads(database: Database, *, days: int, most: int = MOST_AT_ONCE) -> int:
    """Drop notes of reads that are older than some days; return how many."""
    return int(database.query_one(sql.drop_old_reads, days=days, most=most)["dropped"])


def may_read_health_data(
    store: Store,
    merchant: str,
    key_id: str,
    *,
    kind: Literal["payments", "invoices", "membership", "products"] | None = None,
    ids: Sequence[int] = (),
) -> bool:
    """Tell whether a key may see health data; where it may and rows are named, note that it does."""
    bound = sql.reads_health_data(key_id=key_id, kind=kind, ids=list(ids))
    (rows,) = flush_for(store, merchant, bound)
    return bool(rows[0]["is_allowed"])


def list_reads(
    store: Store, merchant: str, *, membership_id: int | None = None, after_id: int | None = None, most: int = 100
) -> list[Read]:
    """Return who read what, the newest first: everything, or what showed one membership."""
    bound = sql.list_reads(merchant=merchant, membership=membership_id, after_id=after_id, most=most)
    (rows,) = flush_for(store, merchant, bound)
    return [Read(**row) for row in rows]


def statuses_asked(status: Sequence[str] | None) -> dict[str, Any]:
    """Return statuses as the statements take them: one alone by itself, as then an index has them in order."""
    one = status[0] if status and len(status) == 1 else None
    return {"one_status": one, "status": list(status) if status and not one else None}


def checked_status(status: object) -> str:
    """Return a status; raise ValidationError for what is none."""
    if status not in STATUSES:
        raise ValidationError.of_field("status", f"must be one of {', '.join(STATUSES)}")
    return str(status)


def checked_changes(changes: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    """Return changes as the database takes them; raise ValidationError that names the field."""
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "status":
            checked[name] = None if value is None else checked_status(value)
        elif name == "google_review_submitted":
            if not isinstance(value, bool):
                raise ValidationError.of_field(name, "must be true or false")
            checked[name] = value
        elif name in WORKFLOW:
            checked[name] = _text(name, value, WORKFLOW[name])
        else:
            raise ValidationError.of_field(name, "is no field of a membership that can be changed")
    if not checked:
        raise ValidationError("nothing to change was given")
    if checked.get("status") is not None and not (reason and reason.strip()):
        raise ValidationError.of_field("reason", "is needed with a status, for those who look later")
    if reason is not None and len(reason) > MOST_REASON_CHARACTERS:
        raise ValidationError.of_field("reason", f"has more than {MOST_REASON_CHARACTERS} characters")
    return checked


def checked_after(sort: Sort, after: tuple[object, object]) -> tuple[str, int]:
    """Return the place that a page's `next` names; raise ValidationError for anything else."""
    key, row_id = after
    wrong = ValidationError.of_field("after", "is not what a page gave as its next")
    if not isinstance(key, str) or type(row_id) is not int or abs(row_id) >= 2**63 or "\0" in key:
        raise wrong
    if sort != "name" and key != ORDERS[sort][2]:
        try:
            moment = datetime.fromisoformat(key)
        except ValueError:
            raise wrong from None
        if moment.tzinfo is None:
            raise wrong
    return key, row_id


def _text(name: str, value: object, most: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValidationError.of_field(name, "must be a text")
    text = value.strip()
    if len(text) > most:
        raise ValidationError.of_field(name, f"has more than {most} characters")
    return text or None


def _membership(row: Mapping[str, Any]) -> Membership:
    return Membership(**{name: value for name, value in row.items() if name != "name_key"})


def _tab(name: str, category: str | None, rows: list[dict[str, Any]]) -> Tab:
    by_status: dict[str, int] = {}
    for row in rows:
        by_status[row["status"]] = by_status.get(row["status"], 0) + row["memberships"]
    return Tab(name, category, sum(by_status.values()), by_status, sum(row["missed"] for row in rows))
