"""Where somebody begins: at his merchant, or where all merchants are."""

from fastapi import APIRouter, Request, Response

from console.views import go
from console.visitors import SignedIn

router = APIRouter()


@router.get("/console")
async def begin(request: Request, visitor: SignedIn) -> Response:
    """Send the visitor to the page that he begins with."""
    return go(request, visitor.home)
