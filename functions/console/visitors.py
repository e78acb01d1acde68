"""Who looks at the console, which merchants he may see, and what he may change.

Pages take one of these as a parameter, and have thereby checked all of it:

    async def show(visitor: SignedIn): …      anybody with a session
    async def show(place: Here): …            the merchant in the path, which must be the visitor's own
    async def show(place: HereHealth): …      the same, where health data is shown
    async def show(visitor: Operator): …      somebody who looks after all merchants
    async def ask(place: Here, form: Sent): …           a form that changes nothing: its token is right
    async def change(place: Here, form: Changing): …    a change: the form's token is right, and he is no viewer
    async def change(place: Here, form: AdminChanging): …   the same, for admins and ops alone
"""

import hmac
import math
import time
from typing import Annotated, NamedTuple
from urllib.parse import quote, urlsplit

from fastapi import Depends, Path, Request

from console import sessions
from console.desk import desk_of
from console.forms import Form, read_form
from gatehouse.backup.reads import read_from_either
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError, GatehouseError, NotFound, RequestRefused, TimeoutError, TooManyRequests
from gatehouse.http_api.callers import REFUSED
from gatehouse.models.accounts import find_merchant
from gatehouse.models.api_keys import ROLES, use_key_by_hash
from gatehouse.models.memberships import may_read_health_data
from gatehouse.observability import log

COOKIE = "gatehouse_session"
SECURE_COOKIE = "__Host-gatehouse_session"
CSRF_FIELD = "csrf"


class SignInNeeded(GatehouseError):
    """There is no session, or it is over."""

    code = "SIGN_IN_NEEDED"
    http_status = 401

    def __init__(self, where_to: str, reason: str = "") -> None:
        super().__init__()
        self.where_to = where_to
        self.reason = reason


class Visitor(NamedTuple):
    """Somebody who has signed in."""

    key_id: str
    merchant: str | None  # None: every merchant
    role: str
    csrf: str
    subject: str = ""  # of the token that he signed in with; the key is then that of his session

    @property
    def actor(self) -> str:
        """Return what the audit calls him: the same as when the key is used with the API; addresses stay out of it."""
        is_named = self.subject and "@" not in self.subject
        return f"key {self.key_id} ({self.subject})" if is_named else f"key {self.key_id}"

    @property
    def is_operator(self) -> bool:
        """Tell whether he looks after Gatehouse as a whole: role ops, and not held to one merchant."""
        return self.role == "ops" and self.merchant is None

    def may(self, role: str) -> bool:
        """Tell whether he may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def may_change(self) -> bool:
        """Tell whether he may change anything."""
        return self.may("developer")

    @property
    def home(self) -> str:
        """Return the path of the page to begin with."""
        return f"/console/m/{quote(self.merchant)}" if self.merchant else "/console/ops"


class Place(NamedTuple):
    """A merchant, looked at by somebody who may."""

    visitor: Visitor
    merchant: str
    name: str
    database: Database  # of the role gatehouse_api
    backup: Database | None

    @property
    def actor(self) -> str:
        """Return what the audit calls the visitor."""
        return self.visitor.actor

    def path(self, rest: str = "") -> str:
        """Return the path of one of this merchant's pages."""
        return f"/console/m/{quote(self.merchant)}{'/' if rest else ''}{rest}"


async def visitor_of(request: Request) -> Visitor:
    """Return who has signed in; raise SignInNeeded where nobody has, or the key works no longer."""
    desk = desk_of(request)
    cookie = request.cookies.get(cookie_name(request), "")
    session = sessions.open_session(desk.keyring(), cookie, time.time()) if cookie else None
    if session is None:
        raise SignInNeeded(_asked_for(request), "over" if cookie else "")
    use = read_from_either(
        desk.database(),
        desk.backup(),
        lambda database: use_key_by_hash(database, session.key_id, session.hashed),
    ).found
    if use.answer in REFUSED:
        raise SignInNeeded(_asked_for(request), use.answer)
    log.add(key_id=use.key_id)
    if use.answer == "limited":
        raise TooManyRequests(wait_seconds=math.ceil(use.wait_seconds))
    visitor = Visitor(use.key_id, use.merchant, use.role, session.csrf, session.subject)
    request.state.visitor = visitor
    return visitor


SignedIn = Annotated[Visitor, Depends(visitor_of)]


async def place_of(
    request: Request, visitor: SignedIn, merchant: Annotated[str, Path(min_length=1, max_length=200)]
) -> Place:
    """Return the merchant of the path; one that the visitor may not see is as if it were not there."""
    missing = NotFound("There is no such merchant, or your key is for another one.")
    if visitor.merchant not in (None, merchant) or "\0" in merchant:
        raise missing
    desk = desk_of(request)
    try:
        name = str(find_merchant(desk.database(), merchant)["name"])
    except NotFound:
        raise missing from None
    except (ConnectionError, TimeoutError):
        if desk.backup() is None:
            raise
        name = merchant  # the backup knows merchants by their ids
    log.add(merchant=merchant)
    place = Place(visitor, merchant, name, desk.database(), desk.backup())
    request.state.place = place
    return place


Here = Annotated[Place, Depends(place_of)]


async def place_with_health_data(place: Here) -> Place:
    """Return the merchant of the path, if the visitor may see products, memberships and patients."""
    if not may_read_health_data(place.database, place.merchant, place.visitor.key_id):
        raise RequestRefused(
            "Your key may not see health data. Ask an operator for one that may.",
            code="HEALTH_DATA_NOT_ALLOWED",
            status=403,
        )
    return place


HereHealth = Annotated[Place, Depends(place_with_health_data)]


async def operator_of(visitor: SignedIn) -> Visitor:
    """Return who has signed in, if he looks after all merchants."""
    if not visitor.is_operator:
        raise NotFound("There is no such page, or your key is for one merchant.")
    return visitor


Operator = Annotated[Visitor, Depends(operator_of)]


async def sent(request: Request, visitor: SignedIn) -> Form:
    """Return the form that was sent, if it is from a page of ours; also a viewer's."""
    require_same_origin(request)
    form = await read_form(request)
    if not hmac.compare_digest(form.text(CSRF_FIELD).encode(), visitor.csrf.encode()):
        raise RequestRefused(
            "This form is of another session. Go back, load the page again, and send it once more.",
            code="FORM_NOT_OURS",
            status=403,
        )
    return form


Sent = Annotated[Form, Depends(sent)]


async def changing(visitor: SignedIn, form: Sent) -> Form:
    """Return the form that was sent, if it is from a page of ours and the visitor may change something."""
    if not visitor.may_change:
        raise RequestRefused("A viewer's key changes nothing.", code="ROLE_TOO_LOW", status=403)
    return form


Changing = Annotated[Form, Depends(changing)]


async def admin_changing(visitor: SignedIn, form: Changing) -> Form:
    """Return the form that was sent, if the visitor may do what admins do."""
    if not visitor.may("admin"):
        raise RequestRefused("Only an admin's key may do this.", code="ROLE_TOO_LOW", status=403)
    return form


AdminChanging = Annotated[Form, Depends(admin_changing)]


def require_same_origin(request: Request) -> None:
    """Raise RequestRefused for a form that a page of somebody else has sent."""
    site, origin = request.headers.get("sec-fetch-site", ""), request.headers.get("origin", "")
    foreign = site not in ("", "same-origin", "none")
    if not site and origin:
        foreign = urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign:
        raise RequestRefused("This form was sent by another site.", code="FORM_NOT_OURS", status=403)


def cookie_name(request: Request) -> str:
    """Return the name of the session's cookie; with its prefix, browsers take it from this very host only."""
    return SECURE_COOKIE if desk_of(request).is_secure else COOKIE


def _asked_for(request: Request) -> str:
    """Return the page to come back to: what was asked for, where it can simply be asked for again."""
    if request.method != "GET":
        return ""
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
