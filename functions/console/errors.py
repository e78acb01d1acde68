"""Every error as a page: what happened, what to try, and the number under which the log has it."""

from typing import NamedTuple

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from console.views import go, page, with_query
from console.visitors import SignInNeeded
from gatehouse.errors import GatehouseError, InputRefused, TooManyRequests
from gatehouse.http_api.problems import noted_and_told


class Advice(NamedTuple):
    """A title for what happened, and what somebody can try."""

    title: str
    to_try: str


AGAIN = "Load the page again in a moment. Nothing was lost: what the gateways send is taken in all the same."
ADVICE = {
    400: Advice("The request cannot be read", "Go back, and send it once more."),
    403: Advice("You may not do this", "Sign in with a key that may, or ask somebody who looks after Gatehouse."),
    404: Advice("There is nothing here", "Look at the address, or begin at the overview."),
    405: Advice("There is nothing here", "Begin at the overview."),
    409: Advice("This cannot be done as things are", "Load the page again to see how things are now."),
    412: Advice("Somebody else was faster", "Load the page again: it shows what was changed meanwhile."),
    413: Advice("That is too much at once", "Send less of it."),
    415: Advice("The request cannot be read", "Go back, and send the form once more."),
    422: Advice("Something in it is not as it must be", "Go back, correct it, and send it once more."),
    423: Advice("This is closed", "Load the page again to see how things are now."),
    429: Advice("Too many requests", "Wait a minute, then load the page again."),
    502: Advice("The other side does not answer", AGAIN),
    503: Advice("The database does not answer", AGAIN),
}
FAULT = Advice("A fault of our own", "Load the page again. If it stays, tell somebody the number below.")


async def of_our_error(request: Request, error: Exception) -> Response:
    """Show an error that Gatehouse raised on purpose."""
    if isinstance(error, SignInNeeded):
        asked = {"next": error.where_to if error.where_to != "/console" else "", "why": error.reason}
        return go(request, with_query("/console/sign-in", asked))
    if not isinstance(error, GatehouseError):
        raise error
    detail, _is_inside = noted_and_told(error)
    response = _page(request, error.http_status, error.code, detail)
    if isinstance(error, TooManyRequests):
        response.headers["retry-after"] = "60"
    return response


async def of_wrong_input(request: Request, error: Exception) -> Response:
    """Show which part of an address does not fit; never repeats what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    named = ", ".join(dict.fromkeys(str(each["loc"][-1]) for each in error.errors()))
    return _page(request, 404, InputRefused.code, f"The address is not as it must be: {named}.")


async def of_http(request: Request, error: Exception) -> Response:
    """Show that there is no such page."""
    if not isinstance(error, HTTPException):
        raise error
    return _page(request, error.status_code, "NO_SUCH_PAGE", "There is no such page.")


async def of_a_fault(request: Request, _: Exception) -> Response:
    """Show a fault of our own; what it was goes to the log alone."""
    return _page(request, 500, GatehouseError.code, "Something went wrong in Gatehouse.")


def _page(request: Request, status: int, code: str, detail: str) -> Response:
    advice = ADVICE.get(status, FAULT)
    sentence = detail[:1].upper() + detail[1:]
    return page(
        request,
        "error.html",
        advice.title,
        status=status,
        detail=sentence if sentence.endswith((".", "!", "?")) else f"{sentence}.",
        to_try=advice.to_try,
        code=code,
        request_id=request.state.request_id,
    )
