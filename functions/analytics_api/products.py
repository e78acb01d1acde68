"""Products: what the merchant sells, by product line; what nobody has looked at yet, and files in and out."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gatehouse.database.connection import Transaction
from gatehouse.errors import InputRefused, ValidationError
from gatehouse.http_api.application import CHANGE, MISSING, ONE
from gatehouse.http_api.callers import HealthReader, HealthWriter, desk_of
from gatehouse.http_api.fields import RowId, Word
from gatehouse.http_api.pages import Filters, Page, after_text, stored_page
from gatehouse.http_api.repetition import Answer, IdempotencyKey, written_once
from gatehouse.http_api.resources import expected_version, resource
from gatehouse.models import products

TOPIC = "reclassify"
CSV = "text/csv; charset=utf-8"
CSV_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "A file.", "content": {CSV: {"schema": {"type": "string"}}}}
}
CSV_BODY = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string", "minLength": 1}}}}}

type CategoryName = Annotated[
    str, Field(min_length=1, max_length=products.MOST_CATEGORY_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]+$")
]
type ProductName = Annotated[
    str, Field(min_length=1, max_length=products.MOST_NAME_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class ProductFilters(Filters):
    """What products can be looked for by."""

    category: Word | None = None
    to_review: bool | None = Field(None, description="Those that nobody has reviewed, or those that somebody has.")
    begins: Word | None = Field(None, description="How the name begins; capital letters and spaces aside.")


class Product(BaseModel):
    """One product."""

    id: int
    merchant: str
    product_name: str = Field(description="As it was seen, or as it was given.")
    category: str
    suggested_category: str | None
    suggested_because: str | None = Field(description="The rule that suggested it.")
    reviewed_by: str | None
    reviewed_at: datetime | None
    version: int = Field(description="Grows with every change; the ETag is made of it.")
    created_at: datetime
    updated_at: datetime


class Category(BaseModel):
    """One of the merchant's categories."""

    category: str
    products: int
    to_review: int = Field(description="How many of them nobody has reviewed.")


class Reclassification(BaseModel):
    """How far past payments have been given a product's category."""

    id: int
    product_id: int
    category: str
    actor: str
    payments_planned: int = Field(description="How many had another category when it began.")
    payments_changed: int
    memberships_changed: int = Field(description="Of how many patients the memberships followed.")
    started_at: datetime
    finished_at: datetime | None = Field(description="Null while it goes on.")


class ProductSet(Product):
    """A product, and what giving it its category has begun."""

    reclassification: Reclassification | None = Field(description="Null where the category is the same as before.")


class Given(BaseModel):
    """What is given in a body; a name that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")


class CategoryOfProduct(Given):
    """The category that a product is to have."""

    category: CategoryName


class NewProduct(CategoryOfProduct):
    """A product with its category, which may be there already."""

    product_name: ProductName


class Put(BaseModel):
    """What became of one product of a list."""

    product_id: int
    outcome: Literal["added", "changed", "reviewed", "same"]


class Imported(BaseModel):
    """What became of a list of products."""

    added: int
    changed: int
    reviewed: int
    same: int
    products: list[Put] = Field(description="In the order of the file.")
    reclassifications: list[Reclassification]


router = APIRouter(tags=["products"])


@router.get("/products")
async def list_products(
    request: Request, caller: HealthReader, filters: Annotated[ProductFilters, Query()]
) -> Page[Product]:
    """List products by name."""
    return _page(request, caller, filters, **filters.wanted())


@router.get("/products/review")
async def list_to_review(request: Request, caller: HealthReader, filters: Annotated[Filters, Query()]) -> Page[Product]:
    """List products that nobody has reviewed, each with what its name suggests."""
    return _page(request, caller, filters, to_review=True)


@router.get("/products/categories")
async def list_categories(request: Request, caller: HealthReader) -> list[Category]:
    """List the merchant's own categories."""
    found = products.list_categories(desk_of(request).database(), caller.merchant)
    return [Category.model_validate(each._asdict()) for each in found]


@router.get("/products/export", response_class=Response, responses=CSV_ANSWER)
async def export_products(request: Request, caller: HealthReader) -> Response:
    """Give all products as a file, which can be filled in and imported again."""
    rows: list[products.Product] = []
    after = None
    while len(rows) < products.MOST_PRODUCTS:
        page = products.list_products(
            desk_of(request).database(), caller.merchant, reader=caller.actor, after=after, most=1000
        )
        rows += page.rows
        after = page.next
        if after is None:
            break
    return Response(products.as_csv(rows), media_type=CSV)


@router.get("/products/reclassifications")
async def list_reclassifications(request: Request, caller: HealthReader) -> list[Reclassification]:
    """List the newest reclassifications, and how far each has come."""
    found = products.list_reclassifications(desk_of(request).database(), caller.merchant)
    return [_reclassification(each) for each in found]


@router.get("/products/reclassifications/{reclassification_id}", responses=MISSING)
async def show_reclassification(request: Request, caller: HealthReader, reclassification_id: RowId) -> Reclassification:
    """Show how far one reclassification has come."""
    return _reclassification(
        products.find_reclassification(desk_of(request).database(), caller.merchant, reclassification_id)
    )


@router.post("/products", status_code=200, response_model=Imported, responses=CHANGE)
async def put_product(
    request: Request, caller: HealthWriter, product: NewProduct, key: IdempotencyKey = None
) -> Response:
    """Put a product with its category into the list; past payments follow."""
    return await _put(request, caller, key, [product.model_dump()])


@router.post("/products/import", status_code=200, response_model=Imported, responses=CHANGE, openapi_extra=CSV_BODY)
async def import_products(request: Request, caller: HealthWriter, key: IdempotencyKey = None) -> Response:
    """Put the products of a CSV file into the list, all or none; its columns product_name and category are read."""
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError:
        raise InputRefused("The file is no UTF-8.", field="file", place="body") from None
    return await _put(request, caller, key, products.read_csv(text))


@router.get("/products/{product_id}", response_model=Product, responses=ONE)
async def show_product(request: Request, caller: HealthReader, product_id: RowId) -> Response:
    """Show one product."""
    found = products.find_product(desk_of(request).database(), caller.merchant, product_id, reader=caller.actor)
    return resource(request, _product(found), found.version)


@router.patch("/products/{product_id}", response_model=ProductSet, responses=CHANGE)
async def set_category(request: Request, caller: HealthWriter, product_id: RowId, given: CategoryOfProduct) -> Response:
    """Give a product that you have seen as it is its category: send its ETag in If-Match. Past payments follow."""
    desk = desk_of(request)
    product, begun = products.set_category(
        desk.database(),
        caller.merchant,
        product_id,
        given.category,
        expected_version=expected_version(request),
        actor=caller.actor,
    )
    if begun and begun.job_id:
        desk.bell().ring([(begun.job_id, TOPIC)])
    shown = ProductSet(**_product(product).model_dump(), reclassification=_reclassification(begun) if begun else None)
    return resource(request, shown, product.version)


async def _put(request: Request, caller: HealthWriter, key: str | None, said: list[dict[str, Any]]) -> Response:
    jobs: list[int] = []

    def put(transaction: Transaction) -> Answer:
        done, begun = products.put_products(transaction, caller.merchant, said, actor=caller.actor)
        jobs.extend(each.job_id for each in begun if each.job_id)
        counted = {outcome: sum(each.outcome == outcome for each in done) for outcome in OUTCOMES}
        shown = Imported(
            **counted,
            products=[Put.model_validate(each._asdict()) for each in done],
            reclassifications=[_reclassification(each) for each in begun],
        )
        return Answer(200, shown.model_dump(mode="json"))

    answer = await written_once(request, caller, key, put)
    desk_of(request).bell().ring([(job, TOPIC) for job in jobs])
    return answer


OUTCOMES = ("added", "changed", "reviewed", "same")


def _page(request: Request, caller: HealthReader, filters: Filters, **wanted: Any) -> Page[Product]:
    after = after_text(filters)
    found = products.list_products(
        desk_of(request).database(),
        caller.merchant,
        reader=caller.actor,
        after=None if after is None else _place(after),
        most=filters.limit,
        **wanted,
    )
    following = None if found.next is None else f"{found.next[1]}/{found.next[0]}"
    return stored_page(found.rows, following, filters, _product)


def _place(after: str) -> tuple[str, int]:
    row_id, _, key = after.partition("/")
    if not row_id.isascii() or not row_id.isdigit() or len(row_id) > 18:
        raise ValidationError.of_field("cursor", "is none that a page gave")
    return key, int(row_id)


def _product(product: products.Product) -> Product:
    return Product.model_validate(product._asdict())


def _reclassification(found: products.Reclassification) -> Reclassification:
    return Reclassification.model_validate(found._asdict())
