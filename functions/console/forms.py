"""What forms and addresses say, read into models; a blank field is one that was not filled in."""

from collections.abc import Iterable
from typing import Any, get_origin
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel
from pydantic import ValidationError as NotAsModelled

from gatehouse.errors import InputRefused, RequestRefused

MOST_FIELDS = 500


class Form:
    """A form that was sent: its fields by name, each perhaps several times."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = list(pairs)

    def text(self, name: str) -> str:
        """Return a field without the blanks around it; empty where it was not sent."""
        return next((value.strip() for field, value in self._pairs if field == name), "")

    def texts(self, name: str) -> list[str]:
        """Return all values of a field that is there several times, such as boxes that were ticked."""
        return [value.strip() for field, value in self._pairs if field == name and value.strip()]

    def has(self, name: str) -> bool:
        """Tell whether a field was filled in, or a box ticked."""
        return bool(self.text(name))

    def read[Model: BaseModel](self, model: type[Model]) -> Model:
        """Return the fields as the model has them; raise InputRefused that names the first that does not fit."""
        return read_pairs([pair for pair in self._pairs if pair[0] in model.model_fields], model, "form")


async def read_form(request: Request) -> Form:
    """Return the form that a browser has sent; raise RequestRefused for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RequestRefused("That is no form.", code="NO_FORM", status=415)
    try:
        sent = (await request.body()).decode()
        pairs = parse_qsl(sent, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise RequestRefused("The form cannot be read.", code="NO_FORM") from None
    # A text area sends lines as CR LF, which nobody typed.
    return Form((name, value.replace("\r\n", "\n")) for name, value in pairs)


def query_of[Model: BaseModel](request: Request, model: type[Model], *, besides: tuple[str, ...] = ()) -> Model:
    """Return what the address asks for, as the model has it; `besides` are names that something else reads."""
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] not in besides]
    return read_pairs(pairs, model, "query")


def read_pairs[Model: BaseModel](pairs: Iterable[tuple[str, str]], model: type[Model], place: str) -> Model:
    """Return names and values as the model has them; blank ones are as if they were not there."""
    many = {name for name, field in model.model_fields.items() if _is_list(field.annotation)}
    values: dict[str, Any] = {}
    for name, value in pairs:
        if not value.strip():
            continue
        if name in many:
            values.setdefault(name, []).append(value.strip())
        else:
            values[name] = value.strip()
    try:
        return model.model_validate(values)
    except NotAsModelled as reason:
        first = reason.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "the form"
        words = str(first["msg"]).removeprefix("Value error, ")
        raise InputRefused(f"{field.replace('_', ' ')}: {words}", field=field, place=place) from None


def _is_list(annotation: Any) -> bool:
    inner = getattr(annotation, "__args__", ())
    return get_origin(annotation) is list or any(get_origin(each) is list for each in inner)
