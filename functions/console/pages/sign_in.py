"""The way in and out: a key, a link that somebody with the key was given, or a token where such are taken."""

import math
import time
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request, Response

from console import sessions, tokens
from console.desk import ConsoleDesk, desk_of
from console.forms import Form, read_form
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


class Way(NamedTuple):
    """A key by which somebody comes in, by its id and hash; of a token also its subject, and until when it lasts."""

    key_id: str
    hashed: bytes
    subject: str = ""
    ends_at: float = math.inf


@router.get("/console/sign-in")
async def ask(request: Request, next: Asked = "", why: Asked = "", ticket: Asked = "") -> Response:
    """Ask for a key, or a token where such are taken; with the ticket of a link, for no more than a click."""
    found = sessions.open_link(desk_of(request).keyring(), ticket, time.time()) if ticket else None
    reason = WHY.get(why, "")
    if ticket and found is None:
        reason = "This link is too old, or it is not whole. Sign in with your key."
    return _page(request, next, reason=reason, ticket=ticket if found else "", key_id=found[0] if found else "")


@router.post("/console/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session, if the key or token is good."""
    require_same_origin(request)
    form, desk, now = await read_form(request), desk_of(request), time.time()
    try:
        way = _way_in(desk, form, now)
        use = use_key_by_hash(desk.database(), way.key_id, way.hashed)
        if use.answer in REFUSED:
            raise RequestRefused(REFUSED[use.answer][2], code=REFUSED[use.answer][1], status=401)
    except RequestRefused as refused:
        log.info("sign-in refused", answer=refused.code)
        return _page(request, form.text("next"), status=401, wrong=str(refused))
    session = sessions.begin(way.key_id, way.hashed, now, subject=way.subject, ends_at=way.ends_at)
    log.info("signed in", key_id=use.key_id, role=use.role)
    response = go(request, _own_path(form.text("next")) or "/console")
    sealed = sessions.seal_session(desk.keyring(), session)
    set_cookie(request, response, cookie_name(request), sealed, max(session.expires_at - int(now), 0))
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


def _way_in(desk: ConsoleDesk, form: Form, now: float) -> Way:
    """Return the key by which somebody comes in; raise RequestRefused where he shows none, or no good token."""
    ticket, shown = form.text("ticket"), form.text("key")
    if ticket:
        if (found := sessions.open_link(desk.keyring(), ticket, now)) is None:
            raise RequestRefused(REFUSED["unknown"][2], code="KEY_UNKNOWN", status=401)
        return Way(*found)
    if shaped := KEY.fullmatch(shown):
        return Way(shaped[1], key_hash(shown))
    issuers = desk.tokens()
    if issuers.names and tokens.looks_like_one(shown):
        return Way(*tokens.enter(desk.ops_database(), issuers, shown, now))
    words = "A key looks like gh_…, with 52 characters more."
    raise RequestRefused(words, code="KEY_UNKNOWN", status=401)


def _page(
    request: Request,
    next: str,
    *,
    status: int = 200,
    reason: str = "",
    wrong: str = "",
    ticket: str = "",
    key_id: str = "",
) -> Response:
    return page(
        request,
        "sign_in.html",
        "Sign in",
        status=status,
        reason=reason,
        wrong=wrong,
        next=_own_path(next),
        ticket=ticket,
        key_id=key_id,
        issuers=desk_of(request).tokens().names,
    )


def _own_path(path: str) -> str:
    """Return a path of the console to go on to; anything else is none: no link leads elsewhere after signing in."""
    is_ours = path == "/console" or path.startswith(("/console/", "/dashboard/"))
    return path if is_ours and not any(each in path for each in ("\\", "//", "\n", "\r")) else ""
