"""In which zone times are shown, and whether pages are light or dark: kept in this browser."""

import hmac

from fastapi import APIRouter, Request, Response

from console.forms import read_form
from console.views import THEME_COOKIE, THEMES, ZONE_COOKIE, go, page, set_cookie, zones
from console.visitors import CSRF_FIELD, SignedIn, require_same_origin
from gatehouse.errors import InputRefused, RequestRefused

KEPT_SECONDS = 400 * 86_400

router = APIRouter()


@router.get("/console/preferences")
async def show(request: Request, visitor: SignedIn) -> Response:  # noqa: ARG001 - somebody must have signed in
    """Show what can be chosen."""
    names = sorted(name for name in zones() if "/" in name and not name.startswith(("Etc/", "posix/", "right/")))
    return page(request, "preferences.html", "Preferences", zones=["UTC", *names], themes=THEMES)


@router.post("/console/preferences")
async def choose(request: Request, visitor: SignedIn) -> Response:
    """Keep what was chosen; it changes nothing but how pages look, so viewers may too."""
    require_same_origin(request)
    form = await read_form(request)
    if not hmac.compare_digest(form.text(CSRF_FIELD).encode(), visitor.csrf.encode()):
        raise RequestRefused("This form is of another session.", code="FORM_NOT_OURS", status=403)
    zone, theme = form.text("zone") or "UTC", form.text("theme")
    if zone not in zones():
        raise InputRefused("There is no such time zone.", field="zone", place="form")
    response = go(request, "/console/preferences", f"Times are shown in {zone}.")
    set_cookie(request, response, ZONE_COOKIE, zone, KEPT_SECONDS)
    set_cookie(request, response, THEME_COOKIE, theme if theme in THEMES else "", KEPT_SECONDS if theme else 0)
    return response
