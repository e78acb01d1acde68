"""The way in and out: a key, or a link that somebody with the key was given."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from console import sessions
from console.desk import desk_of
from console.forms import read_form
from console.views import go, page, set_cookie
from console.visitors import CSRF_FIELD, SignedIn, cookie_name, require_same_origin, visitor_of
from gatehouse.errors import GatehouseError, RequestRefused
from gatehouse.http_api.callers import REFUSED
from gatehouse.models.api_keys import KEY, key_hash, use_key_by_hash
from gatehouse.observability import log

WHY = {
    "over": "Your session is over. Sign in again to go on.",
    "bye": "You have signed out.",
    "unknown": "Your key is not known any more.",
    "revoked": "Your key was revoked.",
    "expired": "Your key has expired.",
    "merchant_off": "The merchant of your key is switched off.",
}
Asked = Annotated[str, Query(max_length=2000)]

router = APIRouter()


@router.get("/console/sign-in")
async def ask(request: Request, next: Asked = "", why: Asked = "", ticket: Asked = "") -> Response:
    """Ask for a key; with the ticket of a link, ask for no more than a click."""
    found = sessions.open_link(desk_of(request).keyring(), ticket, time.time()) if ticket else None
    reason = WHY.get(why, "")
    if ticket and found is None:
        reason = "This link is too old, or it is not whole. Sign in with your key."
    return page(
        request,
        "sign_in.html",
        "Sign in",
        reason=reason,
        wrong="",
        next=_own_path(next),
        ticket=ticket if found else "",
        key_id=found[0] if found else "",
    )


@router.post("/console/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session, if the key works."""
    require_same_origin(request)
    form, desk, now = await read_form(request), desk_of(request), time.time()
    ticket, key = form.text("ticket"), form.text("key")
    shown: tuple[str, bytes] | None = None
    if ticket:
        shown = sessions.open_link(desk.keyring(), ticket, now)
    elif shaped := KEY.fullmatch(key):
        shown = shaped[1], key_hash(key)
    use = use_key_by_hash(desk.database(), *shown) if shown else None
    if use is None or use.answer in REFUSED:
        answer = use.answer if use else "unknown"
        log.info("sign-in refused", answer=answer)
        words = "A key looks like gh_…, with 52 characters more." if not shown and not ticket else REFUSED[answer][2]
        return page(
            request,
            "sign_in.html",
            "Sign in",
            status=401,
            reason="",
            wrong=words,
            next=_own_path(form.text("next")),
            ticket="",
            key_id="",
        )
    session = sessions.begin(use.key_id, shown[1] if shown else b"", now)
    log.info("signed in", key_id=use.key_id, role=use.role)
    response = go(request, _own_path(form.text("next")) or "/console")
    sealed = sessions.seal_session(desk.keyring(), session)
    set_cookie(request, response, cookie_name(request), sealed, sessions.SESSION_SECONDS)
    return response


@router.post("/console/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session of this browser; a viewer may do this too."""
    require_same_origin(request)
    form = await read_form(request)
    try:
        visitor: SignedIn = await visitor_of(request)
    except GatehouseError:
        visitor = None  # type: ignore[assignment]  # a session that is over needs no token to be ended
    if visitor is not None and form.text(CSRF_FIELD) != visitor.csrf:
        raise RequestRefused("This form is of another session.", code="FORM_NOT_OURS", status=403)
    response = go(request, "/console/sign-in?why=bye")
    set_cookie(request, response, cookie_name(request), "", 0)
    return response


def _own_path(path: str) -> str:
    """Return a path of the console to go on to; anything else is none: no link leads elsewhere after signing in."""
    is_ours = path == "/console" or path.startswith(("/console/", "/dashboard/"))
    return path if is_ours and not any(each in path for each in ("\\", "//", "\n", "\r")) else ""
