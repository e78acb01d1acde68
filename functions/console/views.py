"""Turns what a page has found into HTML; the only importer of Jinja.

    return page(request, "payments.html", "Payments", place=place, rows=rows)

Everything that a template prints is escaped. Templates get `visitor`, `place`, `zone`, `csrf` and `navigation` besides
what the page gives them, and the filters and macros that docs/console.md lists.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from console import charts
from console.desk import desk_of
from gatehouse.money import EXPONENTS, to_decimal

FOLDER = Path(__file__).parent
ZONE_COOKIE, THEME_COOKIE, FLASH_COOKIE = "gatehouse_zone", "gatehouse_theme", "gatehouse_flash"
THEMES = ("light", "dark")
FLASH_SECONDS = 60
DASH = "\N{EN DASH}"  # for what is not known, which is never a zero
FLASH_KINDS = ("good", "bad")

POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("style", "script", "img", "connect")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",  # nothing to other sites; our own forms need to say where they are from
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class StaticFile(NamedTuple):
    """A file that does not change between deployments."""

    content: bytes
    media_type: str
    version: str


class Link(NamedTuple):
    """One entry of the navigation."""

    title: str
    path: str
    is_current: bool


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Return the style sheet, the script and the icon by name."""
    found = {}
    for file in sorted((FOLDER / "static").iterdir()):
        content = file.read_bytes()
        version = hashlib.sha256(content).hexdigest()[:12]
        found[file.name] = StaticFile(content, STATIC_TYPES[file.suffix], version)
    return found


def page(request: Request, template: str, title: str, *, status: int = 200, **context: Any) -> Response:
    """Return a whole page; its title tells the tab what it shows, and of which merchant."""
    place = getattr(request.state, "place", None)
    text = _rendered(
        request,
        template,
        page_title=" · ".join([title, *([place.name] if place else []), "Gatehouse"]),
        title=title,
        theme=theme_of(request),
        flash=_flash_of(request),
        navigation=_navigation(request),
        **context,
    )
    response = Response(text, status, HEADERS, "text/html; charset=utf-8")
    if FLASH_COOKIE in request.cookies:
        response.delete_cookie(FLASH_COOKIE, path="/console")
    return response


def fragment(request: Request, template: str, **context: Any) -> Response:
    """Return a piece of a page, which the script puts in the place of an older one."""
    text = _rendered(request, template, **context)
    return Response(text, 200, HEADERS, "text/html; charset=utf-8")


def go(request: Request, path: str, said: str = "", *, kind: str = "good") -> Response:
    """Send the browser to another page, which then says what was done: the answer to a form that was sent."""
    response = Response(status_code=303, headers={**HEADERS, "location": path})
    if said:
        set_cookie(request, response, FLASH_COOKIE, _packed([kind, said[:500]]), FLASH_SECONDS, http_only=True)
    return response


def set_cookie(
    request: Request, response: Response, name: str, value: str, seconds: int, *, http_only: bool = True
) -> None:
    """Set a cookie for the pages of the console."""
    path = "/" if name.startswith("__Host-") else "/console"
    is_secure = desk_of(request).is_secure
    response.set_cookie(
        name, value, max_age=seconds, path=path, secure=is_secure, httponly=http_only, samesite="strict"
    )


def zone_of(request: Request) -> ZoneInfo:
    """Return the zone that the visitor has chosen; UTC where he has not."""
    name = request.cookies.get(ZONE_COOKIE, "UTC")
    return ZoneInfo(name) if name in zones() else ZoneInfo("UTC")


def theme_of(request: Request) -> str:
    """Return light or dark where the visitor has chosen; else nothing, and the browser's own wish holds."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


@cache
def zones() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(available_timezones())


@cache
def environment() -> Environment:
    """Return the templates; what a template does not get is an error and not a blank."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        money=money,
        when=when,
        day=day,
        words=words,
        count=count,
        percent=percent,
        seconds=seconds,
        ticked=ticked,
        with_query=with_query,
    )
    made.globals.update(static=_static_path, bars=charts.bars, lines=charts.lines)
    return made


def read_templates() -> None:
    """Compile all templates."""
    made = environment()
    for name in made.list_templates():
        made.get_template(name)


# ── Filters ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def money(minor: int | None, currency: str | None) -> Markup:
    """Show an amount in its currency, with as many decimals as that has; a dash where it is not known."""
    if minor is None:
        return Markup('<span class="unknown" title="not known">&ndash;</span>')
    if currency not in EXPONENTS:
        return Markup('<span class="money">{} <small>{}, minor units</small></span>').format(
            f"{minor:,}", currency or "no currency"
        )
    amount = f"{to_decimal(minor, currency):,f}"
    return Markup(f'<span class="money">{amount} <small>{currency}</small></span>')  # noqa: S704 - digits, and a code of ours


LENGTHS = {"day": 10, "minute": 16, "second": 19}  # of a moment as ISO 8601 writes it


@pass_context
def when(context: Context, moment: datetime | str | None, to_the: str = "minute") -> Markup:
    """Show a moment in the visitor's zone, with UTC where the mouse rests; a dash where there is none."""
    if moment is None or moment == "":
        return Markup('<span class="unknown">&ndash;</span>')
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    exact = moment.astimezone(UTC).isoformat()
    day, time = exact[:10], exact[11:19]
    # A list has hundreds of moments: strftime takes three times as long.
    shown = moment.astimezone(context["zone"]).isoformat(" ")[: LENGTHS[to_the]]
    return Markup(f'<time datetime="{day}T{time}Z" title="{day} {time} UTC">{shown}</time>')  # noqa: S704 - digits


def day(value: date | None) -> str:
    """Show a day."""
    return value.isoformat() if value else DASH


def words(value: str | None) -> str:
    """Show a word of ours, such as partially_refunded, as people write it; a dash for none."""
    return value.replace("_", " ") if value else DASH


def ticked(text: str) -> Markup:
    """Show what stands between two backticks as code, as in the documents."""
    parts = str(escape(text)).split("`")
    return Markup("".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts)))  # noqa: S704 - escaped above


def count(value: int | None) -> str:
    """Show a number with its thousands apart; a dash for none."""
    return DASH if value is None else f"{value:,}"


def percent(value: Any) -> str:
    """Show a share, 0 to 1, as percent; a dash for none."""
    return DASH if value is None else f"{float(value) * 100:.1f} %"


def seconds(value: Any) -> str:
    """Show how long something took or waits; a dash where nobody knows."""
    if value is None:
        return DASH
    whole = float(value)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole / size:.1f} {unit}"
    return f"{whole:.1f} s"


def with_query(path: str, asked: Mapping[str, Any], **more: Any) -> str:
    """Return an address with a query; what is None or empty is left out."""
    pairs = [(name, value) for name, value in {**asked, **more}.items() if value not in (None, "", [])]
    return f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path


def _rendered(request: Request, template: str, **context: Any) -> str:
    visitor = getattr(request.state, "visitor", None)
    shared = {
        "visitor": visitor,
        "place": getattr(request.state, "place", None),
        "zone": zone_of(request),
        "csrf": visitor.csrf if visitor else "",
    }
    made = environment()
    macros = made.get_template("macros.html").make_module(shared)
    return made.get_template(template).render(**shared, ui=macros, **context)


def _static_path(name: str) -> str:
    return f"/console/static/{name}?v={static_files()[name].version}"


def _navigation(request: Request) -> list[Link]:
    place, visitor = getattr(request.state, "place", None), getattr(request.state, "visitor", None)
    if visitor is None:
        return []
    here = request.url.path
    links = []
    for title, scope, rest in request.app.state.navigation:
        if scope == "merchant" and place:
            path = place.path(rest)
        elif scope == "ops" and visitor.is_operator and not place:
            path = f"/console/ops{'/' if rest else ''}{rest}"
        else:
            continue
        links.append(Link(title, path, here == path or (bool(rest) and here.startswith(f"{path}/"))))
    return links


def _packed(content: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _flash_of(request: Request) -> tuple[str, str] | None:
    """Return (kind, words) of what the page before has done."""
    packed = request.cookies.get(FLASH_COOKIE, "")
    try:
        found = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    except ValueError:
        return None
    match found:
        case [str(kind), str(said)] if kind in FLASH_KINDS:
            return kind, said
    return None
