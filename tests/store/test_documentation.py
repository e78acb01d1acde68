"""The examples of docs/using_the_store.md run as they stand, and every function of the models has one."""

import inspect
import re
from pathlib import Path

import pytest

from gatehouse.database.connection import Database
from gatehouse.intake.record import record
from gatehouse.models import audit, customers, order_items, orders, payments, privacy, refunds
from gatehouse.sealing import Keyring
from tests.store.store import paid, told

DOCUMENT = Path(__file__).parents[2] / "docs" / "using_the_store.md"
PIECES = re.compile(r"```python\n(.*?)```|<!-- here the test lets (.*?) -->", re.DOTALL)
MODELS = (audit, customers, order_items, orders, payments, privacy, refunds)


@pytest.mark.req("P2", "P3", "P5", "P6", "P14")
def test_the_examples_run(ops: Database, intake: Database, keyring: Keyring) -> None:
    names: dict[str, object] = {"database": ops, "keyring": keyring}
    text = DOCUMENT.read_text()
    pieces = list(PIECES.finditer(text))
    assert sum(piece[2] is not None for piece in pieces) == 1
    for piece in pieces:
        if piece[1]:
            above = "\n" * text.count("\n", 0, piece.start(1))  # so that an error tells its line of the document
            exec(compile(above + piece[1], str(DOCUMENT), "exec"), names)  # noqa: S102 - the document is ours
        else:
            record(intake, told("evt_1", paid("pi_1", reference="web-1001")), keyring)


@pytest.mark.req("P3")
def test_every_function_has_an_example() -> None:
    text = DOCUMENT.read_text()
    public = [
        f"{model.__name__.rpartition('.')[2]}.{name}"
        for model in MODELS
        for name, value in inspect.getmembers(model, inspect.isfunction)
        if value.__module__ == model.__name__ and not name.startswith(("_", "checked_"))
    ]
    assert [name for name in public if name not in text] == []
