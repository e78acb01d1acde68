"""The API's own description: the OpenAPI document, and the same as a page that needs no script and no other server."""

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from gatehouse.http_api.problems import MEDIA_TYPE

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
h2 { margin-top: 2.5rem; border-top: 1px solid #ccd3dd; padding-top: 1rem }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em }
pre { background: #f3f5f8; padding: 0.75rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0; border-bottom: 1px solid #e4e8ee }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"


def add(app: FastAPI, place: str) -> None:
    """Let the application tell about itself at a place; for everybody, as the document holds no data."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    async def page() -> Response:
        return HTMLResponse(_page(described(), place), headers={"content-security-policy": PAGE_POLICY})

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way to change it
    app.add_api_route(f"{place}/docs", page, include_in_schema=False)


def _described(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for _, _, operation in _operations(document):
        for status, answer in operation["responses"].items():
            # FastAPI knows one media type for all answers with a model; errors are of another.
            if status >= "400" and "content" in answer:
                answer["content"] = {MEDIA_TYPE: next(iter(answer["content"].values()))}
    schemas = document.get("components", {}).get("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document.get("paths", {}).items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _page(document: dict[str, Any], place: str) -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{_text(document['info']['title'])}</title><style>{STYLE}</style>",
        f"<h1>{_text(document['info']['title'])}</h1><p>{_text(document['info'].get('description', ''))}</p>",
        f"<p>For programs: <a href={place}/openapi.json>{place}/openapi.json</a></p>",
    ]
    for method, path, operation in _operations(document):
        parts.append(f"<h2><code>{method} {_text(path)}</code></h2><p>{_text(operation.get('description', ''))}</p>")
        parts += _table("Give", ("Name", "Where", "What"), map(_parameter, operation.get("parameters", [])))
        if body := operation.get("requestBody"):
            parts.append(f"<p>Body</p><pre>{_text(json.dumps(body, indent=1))}</pre>")
        parts += _table("Get", ("Status", "What", "As"), map(_answer, operation["responses"].items()))
    parts.append("<h2>Words</h2>")
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        parts.append(
            f"<h3 id={json.dumps(_text(name))}>{_text(name)}</h3><p>{_text(schema.get('description', ''))}</p>"
        )
        parts += _table("", ("Field", "Form", "What"), map(_property, schema.get("properties", {}).items()))
    return "".join(parts)


def _table(title: str, heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = ["".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{each}</th>" for each in heads)
    return (
        [f"<p>{title}</p><table><tr>{head}</tr>", *(f"<tr>{line}</tr>" for line in lines), "</table>"] if lines else []
    )


def _parameter(each: dict[str, Any]) -> tuple[str, str, str]:
    return each["name"], each["in"], each.get("description") or _form(each.get("schema", {}))


def _answer(each: tuple[str, dict[str, Any]]) -> tuple[str, str, str]:
    status, answer = each
    contents = answer.get("content", {}).values()
    return status, answer.get("description", ""), ", ".join(_form(content.get("schema", {})) for content in contents)


def _property(each: tuple[str, dict[str, Any]]) -> tuple[str, str, str]:
    name, schema = each
    return name, _form(schema), schema.get("description", "")


def _form(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_form, schema["anyOf"])))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_form(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _text(words: object) -> str:
    return html.escape(str(words))
