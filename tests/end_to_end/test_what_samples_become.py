"""Every sample of every gateway through the front door; all rows that they come to are those that were reviewed.

The queue's worker is switched off: what it fetches is told by the clock of the day.
`python -m tests.end_to_end.test_what_samples_become` writes the expectations anew, to be reviewed with `git diff`.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatehouse.gateways import NAMES
from local import send
from tests.support.gateway_rows import PROJECT, reviewed, rows_of
from tests.support.gateway_samples import samples
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, own_options, started

MAPPING = "  InvoiceEnricherMapping:\n    Type: AWS::Lambda::EventSourceMapping\n    Properties:\n"

pytestmark = pytest.mark.req("G1", "G2", "G3", "G4", "G5", "G9", "P6", "R1")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own whose worker never takes a job."""
    yield from _without_worker(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("gateway", NAMES)
def test_all_samples_come_to_the_reviewed_rows(stack: RunningStack, gateway: str) -> None:
    _send_all(stack, gateway)
    _send_all(stack, gateway)  # each a second time: nothing changes
    found, wanted = _rows(stack, gateway), reviewed(gateway)
    assert found.keys() == wanted.keys()
    for table in wanted:
        assert found[table] == wanted[table], table


def _without_worker(folder: Path) -> Iterator[RunningStack]:
    source = (PROJECT / "template.yaml").read_text()
    assert MAPPING in source
    template = folder / "template.yaml"
    for each in ("functions", "layers"):
        (folder / each).symlink_to(PROJECT / each)
    template.write_text(source.replace(MAPPING, f"{MAPPING}      Enabled: false\n"))
    with started(replace(own_options(), template=template)) as running:
        yield running


def _send_all(stack: RunningStack, gateway: str) -> None:
    for name, file in samples(gateway).items():
        status, answer = send.send(gateway, file.read_bytes(), stack.facts)
        assert (status, json.loads(answer)["status"] in ("applied", "duplicate")) == (200, True), (name, answer)


def _rows(stack: RunningStack, gateway: str) -> dict[str, Any]:
    # As JSON and back: what is compared is what can be written down.
    found = rows_of(lambda text: run_sql(stack.facts["database_url"], text), gateway)
    result: dict[str, Any] = json.loads(json.dumps(found))
    return result


if __name__ == "__main__":
    import tempfile

    for running in _without_worker(Path(tempfile.mkdtemp())):
        for each in NAMES:
            _send_all(running, each)
            file = PROJECT / "tests" / "gateways" / each / "expected_rows.json"
            file.write_text(json.dumps(_rows(running, each), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
