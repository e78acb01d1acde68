"""The ids that tests name are those of docs/requirements.md, and the report counts them."""

from pathlib import Path

import pytest

from local.requirements_report import proofs, report, requirements

SOURCE = """
import pytest
pytestmark = pytest.mark.req("G8")
@pytest.mark.req("P9", "P10")
def test_one(): ...
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.req("P11"))])
def test_two(x): ...
@pytest.mark.req("P12")
class TestThree:
    def test_four(self): ...
    def neither(self): ...
"""


def test_every_id_of_a_test_is_a_requirement() -> None:
    unknown = {
        (str(file), name) for id_, tests in proofs().items() if id_ not in requirements() for file, name in tests
    }
    assert unknown == set()


def test_each_group_of_requirements_is_numbered_without_gaps() -> None:
    last = {"D": 5, "G": 18, "P": 14, "M": 9, "R": 7, "B": 7, "T": 6, "O": 5}
    assert list(requirements()) == [
        f"{letter}{number}" for letter, most in last.items() for number in range(1, most + 1)
    ]


def test_marks_are_found_on_tests_classes_parameters_and_files(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SOURCE)
    found = {requirement: [name for _, name in tests] for requirement, tests in proofs(tmp_path).items()}
    assert found == {
        "G8": ["test_one", "test_two", "test_four"],
        "P9": ["test_one"],
        "P10": ["test_one"],
        "P11": ["test_two"],
        "P12": ["test_four"],
    }


def test_the_report_ends_with_what_no_test_names() -> None:
    file = Path(__file__).parents[1] / "unit" / "test_money.py"
    lines = list(report({"D1": "One.", "D2": "Two."}, {"D1": [(file, "test_a"), (file, "test_b")]}))
    assert lines == [
        "D1     2 tests  unit/test_money.py",
        "",
        "1 of 2 requirements are named by a test.",
        "Not yet: D2",
    ]


@pytest.mark.parametrize("sentence", requirements().values())
def test_each_requirement_is_one_short_line(sentence: str) -> None:
    assert sentence.endswith(".")
    assert len(sentence) < 200
