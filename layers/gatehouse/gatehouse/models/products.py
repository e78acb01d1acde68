"""What a merchant sells, by product line: listed, reviewed, given a category by hand or from a file.

A category that changes is given to past payments and their memberships too, in steps, by the job `reclassify`.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json, load_statements
from gatehouse.errors import NotFound, TransactionConflict, ValidationError
from gatehouse.models.scope import MOST_ATTEMPTS, Store, flush_for, write_for

sql = load_statements(Path(__file__).with_name("products.sql"))

UNCATEGORIZED = "Uncategorized"
TABS_OF_THEIR_OWN = ("all", "cancellations")
MOST_NAME_CHARACTERS = 300
MOST_CATEGORY_CHARACTERS = 60
MOST_PRODUCTS = 5000  # of one file
STEP = 200  # payments of one transaction, well within the time for one flush
COLUMNS = ("product_name", "category", "suggested_category", "suggested_because", "reviewed_by", "reviewed_at")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Product(NamedTuple):
    """A row of `product_categories`."""

    id: int
    merchant: str
    product_name: str
    category: str
    suggested_category: str | None
    suggested_because: str | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    product_key: str


class Category(NamedTuple):
    """One of a merchant's categories."""

    category: str
    products: int
    to_review: int


class Reclassification(NamedTuple):
    """How far past payments have been given a product's category."""

    id: int
    product_id: int
    category: str
    actor: str
    payments_planned: int
    payments_changed: int
    memberships_changed: int
    job_id: int | None
    started_at: datetime
    finished_at: datetime | None


class Put(NamedTuple):
    """What became of one product of a list: added, changed, reviewed or same."""

    place: int
    product_id: int
    outcome: str
    reclassification: int | None


class Page(NamedTuple):
    """Some products by name, and where the next page begins."""

    rows: list[Product]
    next: tuple[str, int] | None


def list_products(
    store: Store,
    merchant: str,
    *,
    reader: str,
    category: str | None = None,
    to_review: bool | None = None,
    begins: str | None = None,
    after: tuple[str, int] | None = None,
    most: int = 100,
) -> Page:
    """Return a page of products by name: all, those of a category, to be reviewed, or that begin with some letters."""
    asked = {"category": category, "to_review": to_review, "begins": begins is not None or None}
    bound = sql.list_products(
        merchant=merchant,
        reader=reader,
        category=category,
        to_review=to_review,
        begins=begins,
        after_key=after[0] if after else None,
        after_id=after[1] if after else None,
        most=most + 1,
        asked={name: value for name, value in asked.items() if value is not None},
    )
    (rows,) = flush_for(store, merchant, bound)
    found = [Product(**row) for row in rows]
    following = (found[most - 1].product_key, found[most - 1].id) if len(found) > most else None
    return Page(found[:most], following)


def find_product(store: Store, merchant: str, product_id: int, *, reader: str) -> Product:
    """Return one product, or raise NotFound."""
    (rows,) = flush_for(store, merchant, sql.find_product(merchant=merchant, id=product_id, reader=reader))
    if not rows:
        raise NotFound("there is no such product")
    return Product(**rows[0])


def find_products(store: Store, merchant: str, ids: Sequence[int], *, reader: str) -> list[Product]:
    """Return products by their ids, or raise NotFound where one of them is none."""
    wanted = sorted(set(ids))
    (rows,) = flush_for(store, merchant, sql.find_products(merchant=merchant, ids=wanted, reader=reader))
    if len(rows) != len(wanted):
        raise NotFound("one of these products is no longer there")
    return [Product(**row) for row in rows]


def product_named(store: Store, merchant: str, name: str) -> int:
    """Return the id of the product of a name, capital letters and spaces aside; raise NotFound."""
    (rows,) = flush_for(store, merchant, sql.product_named(merchant=merchant, name=name.strip()))
    if not rows:
        raise NotFound("no product of the merchant has this name")
    return int(rows[0]["id"])


def list_categories(store: Store, merchant: str) -> list[Category]:
    """Return the merchant's categories."""
    (rows,) = flush_for(store, merchant, sql.list_categories(merchant=merchant))
    return [Category(**row) for row in rows]


def set_category(
    store: Store,
    merchant: str,
    product_id: int,
    category: str,
    *,
    expected_version: int | None = None,
    actor: str,
) -> tuple[Product, Reclassification | None]:
    """Give a product its category and return it, with the reclassification that begins where it is another one."""
    set_ = sql.set_product_category(
        id=product_id, category=checked_category(category), expected_version=expected_version
    )
    find = sql.find_product(merchant=merchant, id=product_id, reader=actor)
    done, rows = write_for(store, merchant, set_, find, actor=actor)
    begun = done[0]["reclassification"]
    return Product(**rows[0]), find_reclassification(store, merchant, begun) if begun else None


def put_products(
    store: Store, merchant: str, products: Iterable[Mapping[str, str]], *, actor: str
) -> tuple[list[Put], list[Reclassification]]:
    """Put products with their categories into the list, all of them or none; return what became of each."""
    checked = [
        {"product_name": checked_name(each["product_name"]), "category": checked_category(each["category"])}
        for each in products
    ]
    if not 1 <= len(checked) <= MOST_PRODUCTS:
        raise ValidationError.of_field("products", f"must be from 1 to {MOST_PRODUCTS}")
    (rows,) = write_for(store, merchant, sql.put_products(products=Json(checked)), actor=actor)
    put = [Put(**row) for row in rows]
    begun = [each.reclassification for each in put if each.reclassification]
    return put, _reclassifications(store, merchant, begun)


def find_reclassification(store: Store, merchant: str, reclassification_id: int) -> Reclassification:
    """Return how far a reclassification has come, or raise NotFound."""
    found = _reclassifications(store, merchant, [reclassification_id])
    if not found:
        raise NotFound("there is no such reclassification")
    return found[0]


def list_reclassifications(store: Store, merchant: str, *, most: int = 20) -> list[Reclassification]:
    """Return the newest reclassifications of a merchant."""
    (rows,) = flush_for(store, merchant, sql.list_reclassifications(merchant=merchant, most=most))
    return [Reclassification(**row) for row in rows]


def step_reclassification(database: Database, reclassification_id: int, *, most: int = STEP) -> dict[str, Any]:
    """Take one step of a reclassification and return how far it is; again after a deadlock, which has undone the step.

    A reclassification that there is not comes back without a merchant.
    """
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            return dict(database.query_one(sql.step_reclassification, id=reclassification_id, most=most))
        except TransactionConflict:
            if attempt == MOST_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def classify_again(database: Database, merchant: str, *, most: int = STEP) -> Iterator[dict[str, Any]]:
    """Give all payments of a merchant product, category and membership anew, step by step; yield what each step did."""
    after_at, after_id = None, None
    while True:
        bound = sql.classify_again(after_at=after_at, after_id=after_id, most=most)
        (rows,) = write_for(database, merchant, bound)
        step = dict(rows[0])
        yield step
        if step["payments"] < most:
            return
        after_at, after_id = step["last_at"], step["last_id"]


def checked_name(name: object) -> str:
    """Return a product's name without spaces around it; raise ValidationError for what cannot be one."""
    found = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(found) <= MOST_NAME_CHARACTERS or "\0" in found:
        raise ValidationError.of_field("product_name", f"must have 1 to {MOST_NAME_CHARACTERS} characters")
    return found


def checked_category(category: object) -> str:
    """Return a category without spaces around it; raise ValidationError for what cannot be one."""
    found = category.strip() if isinstance(category, str) else ""
    if not 1 <= len(found) <= MOST_CATEGORY_CHARACTERS or not found.isprintable():
        raise ValidationError.of_field("category", f"must have 1 to {MOST_CATEGORY_CHARACTERS} printable characters")
    if found.lower() in TABS_OF_THEIR_OWN:
        raise ValidationError.of_field("category", f"{found} is a tab of its own")
    return found


def as_csv(products: Iterable[Product]) -> str:
    """Return products as a file that `read_csv` and spreadsheets read."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(COLUMNS)
    for product in products:
        row = product._asdict()
        writer.writerow([csv_cell(row[column]) for column in COLUMNS])
    return written.getvalue()


def csv_cell(value: object) -> object:
    """Return a value as a cell: what a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the products of a file with the columns product_name and category; raise ValidationError naming the line.

    A line without a category is passed over, as is one that says Uncategorized: nobody has decided there yet.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    found: list[dict[str, str]] = []
    try:
        missing = {"product_name", "category"} - set(reader.fieldnames or ())
        if missing:
            raise ValidationError.of_field("file", f"has no column {', '.join(sorted(missing))}")
        for row in reader:
            category = _plain_cell(row["category"]).strip()
            if not category or category == UNCATEGORIZED:
                continue
            try:
                found.append(
                    {
                        "product_name": checked_name(_plain_cell(row["product_name"])),
                        "category": checked_category(category),
                    }
                )
            except ValidationError as wrong:
                raise ValidationError.of_field("file", f"line {reader.line_num}: {wrong}") from None
    except csv.Error as reason:
        raise ValidationError.of_field("file", f"line {reader.line_num}: {reason}") from None
    if not found:
        raise ValidationError.of_field("file", "says no category")
    if len(found) > MOST_PRODUCTS:
        raise ValidationError.of_field("file", f"has more than {MOST_PRODUCTS} products")
    return found


def _plain_cell(cell: str | None) -> str:
    text = cell or ""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text


def _reclassifications(store: Store, merchant: str, ids: list[int]) -> list[Reclassification]:
    (rows,) = flush_for(store, merchant, sql.find_reclassifications(merchant=merchant, ids=ids))
    return [Reclassification(**row) for row in rows]
