"""The overview: of one merchant, and of all."""

from fastapi import APIRouter, Request, Response

from console.desk import desk_of
from console.views import page
from console.visitors import Here, Operator
from gatehouse.models.accounts import list_merchants

NAVIGATION = (("Overview", "merchant", ""), ("Merchants", "ops", ""))

router = APIRouter()


@router.get("/console/m/{merchant}")
async def show(request: Request, place: Here) -> Response:
    """Show one merchant's money."""
    return page(request, "overview.html", "Overview", merchant=place.merchant)


@router.get("/console/ops")
async def show_all(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Show all merchants."""
    return page(request, "merchants.html", "Merchants", merchants=list_merchants(desk_of(request).ops_database()))
