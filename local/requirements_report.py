"""Which tests prove which requirement: reads docs/requirements.md and the `req` marks of the tests."""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"^- \*\*([A-Z]\d+)\*\* (.+)$", re.MULTILINE)

type Proofs = dict[str, list[tuple[Path, str]]]


def requirements(document: Path = PROJECT / "docs" / "requirements.md") -> dict[str, str]:
    """Return id and sentence of every requirement, in the order of the document."""
    return dict(REQUIREMENT.findall(document.read_text()))


def proofs(tests: Path = PROJECT / "tests") -> Proofs:
    """Return the (file, test) pairs that name each requirement, read from the source without running it."""
    found: Proofs = defaultdict(list)
    for file in sorted(tests.rglob("test_*.py")):
        for test, requirement in _marks(ast.parse(file.read_text())):
            found[requirement].append((file, test))
    return found


def report(sentences: Mapping[str, str], proved: Proofs) -> Iterator[str]:
    """Give the report line by line: a line a proved requirement, and the ids without a test at the end."""
    for requirement in sentences:
        if tests := proved.get(requirement):
            files = sorted({str(file.relative_to(PROJECT / "tests")) for file, _ in tests})
            yield f"{requirement:4} {len(tests):3} {'test ' if len(tests) == 1 else 'tests'}  {', '.join(files)}"
    missing = [each for each in sentences if not proved.get(each)]
    yield ""
    yield f"{len(sentences) - len(missing)} of {len(sentences)} requirements are named by a test."
    if missing:
        yield f"Not yet: {' '.join(missing)}"


def _marks(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Give (test, requirement id); a mark on a class or a whole file counts for each of its tests."""
    whole_file = [
        requirement
        for statement in module.body
        if isinstance(statement, ast.Assign) and any(_name(target) == "pytestmark" for target in statement.targets)
        for requirement in _named_in(statement.value)
    ]
    yield from _marked_tests(module.body, whole_file)


def _marked_tests(body: list[ast.stmt], inherited: list[str]) -> Iterator[tuple[str, str]]:
    for each in body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            named = inherited + [requirement for mark in each.decorator_list for requirement in _named_in(mark)]
            if isinstance(each, ast.ClassDef):
                yield from _marked_tests(each.body, named)
            elif each.name.startswith("test"):
                yield from ((each.name, requirement) for requirement in named)


def _named_in(mark: ast.expr) -> list[str]:
    """Return the ids in every `pytest.mark.req(…)` inside an expression."""
    return [
        str(argument.value)
        for call in ast.walk(mark)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "req"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]


def _name(target: ast.expr) -> str:
    return target.id if isinstance(target, ast.Name) else ""


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in report(requirements(), proofs()))
