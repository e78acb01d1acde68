"""One ground for all fault tests; each leaves it settled, with everything sent so far in order."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.ground import Ground

RECKONINGS = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """The whole way of an event, in real parts."""
    with Ground() as standing:
        yield standing


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Return a function that shows this file's reckoning at the end of the run; the last one counts."""
    shown = request.config.stash.setdefault(RECKONINGS, {})

    def show_at_the_end(reckoning: object) -> None:
        shown[request.path.stem.removeprefix("test_")] = str(reckoning)

    return show_at_the_end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what the faults have done, also where every test passed."""
    for name, reckoning in config.stash.get(RECKONINGS, {}).items():
        terminalreporter.write_line(f"faults, {name.replace('_', ' ')}: {reckoning}")
