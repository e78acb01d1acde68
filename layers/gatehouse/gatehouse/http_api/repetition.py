"""Writes that may be sent twice: the same Idempotency-Key gets the same answer, and the deed is done once.

The answer is kept in the transaction that does the deed. So there is never one without the other, and a twin that
comes at the same moment waits for the first and then gets its answer.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse

from gatehouse.database.connection import Database, Transaction
from gatehouse.database.sql import load_statements
from gatehouse.errors import RequestRefused
from gatehouse.http_api.callers import Caller, desk_of

sql = load_statements(Path(__file__).with_name("repetition.sql"))

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Made by the caller for one deed, such as a UUID; kept for a day.",
    ),
]


class Answer(NamedTuple):
    """What a write is answered with."""

    status: int
    body: Any  # as JSON has it


def request_hash(request: Request, body: bytes) -> bytes:
    """Return what tells one request from another."""
    return hashlib.sha256(b"\0".join((request.method.encode(), request.url.path.encode(), body))).digest()


async def written_once(
    request: Request, caller: Caller, key: str | None, work: Callable[[Transaction], Answer]
) -> Response:
    """Answer a write, once for each Idempotency-Key."""
    asked = request_hash(request, await request.body())
    answer = answer_once(desk_of(request).database(), caller, key, asked, work)
    return JSONResponse(answer.body, answer.status)


def answer_once(
    database: Database, caller: Caller, key: str | None, asked: bytes, work: Callable[[Transaction], Answer]
) -> Answer:
    """Do the work in a transaction and return its answer, or the answer of the first time; without a key, do it."""
    with database.transaction(merchant=caller.merchant) as transaction:
        if key is None:
            return work(transaction)
        name = {"key_id": caller.key_id, "idempotency_key": key}
        *_, kept = transaction.flush(
            [
                sql.wait_a_little(),
                sql.lock_answer(**name, merchant=caller.merchant),
                sql.find_answer(**name, merchant=caller.merchant),
            ]
        )
        if kept.rows:
            return _repeated(kept.rows[0], asked)
        answer = work(transaction)
        transaction.query(
            sql.keep_answer,
            **name,
            merchant=caller.merchant,
            request_hash=asked,
            status=answer.status,
            body=answer.body,
        )
        return answer


def _repeated(kept: dict[str, Any], asked: bytes) -> Answer:
    if kept["request_hash"] != asked:
        raise RequestRefused(
            "This Idempotency-Key was sent with another request.", code="IDEMPOTENCY_KEY_REUSED", status=422
        )
    if kept["body"] is None:
        raise RequestRefused(
            "This was done; its answer held the data of a person who was erased since.",
            code="ANSWER_ERASED",
            status=409,
        )
    return Answer(kept["status"], kept["body"])
