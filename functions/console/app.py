"""Which pages there are, and what holds for all of them: errors that people can read, static files, the way in.

A page is a module in pages/ with a `router` and, where it stands in the navigation, `NAVIGATION`: entries of
(title, scope, path) with the scope `merchant` or `ops`. Its routes are `async def` and block all the same, as those
of the API do.
"""

from collections.abc import Iterable
from typing import Protocol

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from console import errors, views
from console.desk import ConsoleDesk
from console.pages import (
    customers,
    events,
    forwards,
    health,
    home,
    memberships,
    orders,
    overview,
    payments,
    preferences,
    products,
    settings,
    sign_in,
    subscriptions,
    sync,
    tenants,
)
from gatehouse.errors import GatehouseError, NotFound
from gatehouse.http_api.front import Front


class Page(Protocol):
    """A module of pages/."""

    router: APIRouter


PAGES: tuple[Page, ...] = (
    *(sign_in, home, preferences, overview, payments, orders, customers, events, health, settings),
    *(memberships, products, forwards, subscriptions),
    *(sync, tenants),
)
STATIC_SECONDS = 31_536_000  # the address holds a hash of the content

static = APIRouter()


@static.get("/console/static/{name}")
async def show_static(request: Request, name: str) -> Response:
    """Show the style sheet, the script or the icon."""
    file = views.static_files().get(name)
    if file is None:
        raise NotFound("there is no such file")
    named = request.query_params.get("v") == file.version
    kept = f"public, max-age={STATIC_SECONDS}, immutable" if named else "no-cache"
    return Response(file.content, 200, {"cache-control": kept}, f"{file.media_type}; charset=utf-8")


def build(desk: ConsoleDesk, pages: Iterable[Page] = PAGES) -> Front:
    """Return the console, working with this desk."""
    app = FastAPI(title="Gatehouse console", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.desk = desk
    views.read_templates()  # before a snapshot is taken of the process, and not when somebody waits
    app.state.navigation = [entry for page in pages for entry in getattr(page, "NAVIGATION", ())]
    app.include_router(static)
    for page in pages:
        app.include_router(page.router)
    app.add_exception_handler(GatehouseError, errors.of_our_error)
    app.add_exception_handler(RequestValidationError, errors.of_wrong_input)
    app.add_exception_handler(HTTPException, errors.of_http)
    app.add_exception_handler(Exception, errors.of_a_fault)
    return Front(app, ())
