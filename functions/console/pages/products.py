"""Products: those that nobody has reviewed, with what is suggested for them; given categories one by one or many."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.desk import desk_of
from console.forms import query_of
from console.views import go, page
from console.visitors import Changing, HereHealth
from gatehouse.errors import InputRefused, ValidationError
from gatehouse.http_api.fields import RowId, Word
from gatehouse.http_api.pages import Filters, after_text, page_cursor
from gatehouse.models import products

NAVIGATION = (("Products", "merchant", "products"),)

RECLASSIFY = "reclassify"
MOST_AT_ONCE = 100
MOST_SHOWN_UNDER_WAY = 5

router = APIRouter()


class ProductFilters(Filters):
    """What products can be looked for by; `show` is `review` for those that nobody has reviewed."""

    limit: int = Field(50, ge=1, le=MOST_AT_ONCE)
    show: Word = "review"
    category: Word | None = None
    begins: Word | None = None


class Choice(BaseModel):
    """The category that one product is given."""

    model_config = ConfigDict(extra="ignore")

    category: Word
    version: RowId


@router.get("/console/m/{merchant}/products")
async def show_list(request: Request, place: HereHealth) -> Response:
    """List products by name: those to review, or all."""
    filters = query_of(request, ProductFilters)
    after = after_text(filters)
    found = products.list_products(
        place.database,
        place.merchant,
        reader=place.actor,
        category=filters.category,
        to_review=True if filters.show == "review" and filters.category is None else None,
        begins=filters.begins,
        after=None if after is None else _position(after),
        most=filters.limit,
    )
    begun = products.list_reclassifications(place.database, place.merchant, most=MOST_SHOWN_UNDER_WAY)
    return page(
        request,
        "products.html",
        "Products",
        rows=found.rows,
        categories=products.list_categories(place.database, place.merchant),
        under_way=[each for each in begun if each.finished_at is None],
        next=None if found.next is None else page_cursor((f"{found.next[1]}/{found.next[0]}",), filters),
        filters=filters,
        asked=filters.model_dump(mode="json", exclude={"cursor"}, exclude_defaults=True),
        path=place.path("products"),
    )


@router.post("/console/m/{merchant}/products/bulk")
async def set_many(request: Request, place: HereHealth, form: Changing) -> Response:
    """Give all products that were ticked one category, or each the one that its name suggests; all or none of them."""
    ids = form.texts("product")
    if not 1 <= len(ids) <= MOST_AT_ONCE or not all(each.isascii() and each.isdigit() for each in ids):
        raise InputRefused(f"product: tick from 1 to {MOST_AT_ONCE} products.", field="product", place="form")
    ticked = products.find_products(place.database, place.merchant, [_id(each) for each in ids], reader=place.actor)
    category = form.text("category")
    said = [
        {"product_name": each.product_name, "category": category or each.suggested_category or ""} for each in ticked
    ]
    if nameless := [each["product_name"] for each in said if not each["category"]]:
        words = f"category: nothing is suggested for {nameless[0]}. Say a category, or take its tick away."
        raise InputRefused(words, field="category", place="form")
    done, begun = products.put_products(place.database, place.merchant, said, actor=place.actor)
    desk_of(request).bell().ring([(each.job_id, RECLASSIFY) for each in begun if each.job_id])
    words = f"{len(done)} products have their categories; past payments and memberships follow."
    return go(request, place.path("products"), words)


@router.post("/console/m/{merchant}/products/{product_id}")
async def set_one(request: Request, place: HereHealth, product_id: RowId, form: Changing) -> Response:
    """Give one product its category, unless somebody has changed it since it was shown."""
    said = form.read(Choice)
    product, begun = products.set_category(
        place.database, place.merchant, product_id, said.category, expected_version=said.version, actor=place.actor
    )
    if begun and begun.job_id:
        desk_of(request).bell().ring([(begun.job_id, RECLASSIFY)])
    words = f"{product.product_name} is under {product.category} now."
    if begun:
        words += f" {begun.payments_planned} past payments and their memberships follow."
    return go(request, place.path("products"), words)


def _id(text: str) -> int:
    if len(text) > 18:
        raise InputRefused("product: is none of this list.", field="product", place="form")
    return int(text)


def _position(after: str) -> tuple[str, int]:
    row_id, _, key = after.partition("/")
    if not row_id.isascii() or not row_id.isdigit() or len(row_id) > 18:
        raise ValidationError.of_field("cursor", "is none that a page gave")
    return key, int(row_id)
