"""One ground for all fault tests of a process; each leaves it settled, with everything sent so far in order."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.ground import Ground

RECKONING = "reckoning"  # the name under which a test's report carries the line


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """The whole way of an event, in real parts."""
    with Ground() as standing:
        yield standing


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """Return a function that shows a reckoning at the end of the run, also when every test passes."""

    def show_at_the_end(reckoning: object) -> None:
        record_property(RECKONING, str(reckoning))

    return show_at_the_end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the faults have done, of each file the last."""
    shown = {}
    for report in (each for reports in terminalreporter.stats.values() for each in reports):
        for name, reckoning in getattr(report, "user_properties", ()):
            if name == RECKONING:
                shown[report.nodeid.partition("::")[0]] = reckoning
    for file, reckoning in shown.items():
        terminalreporter.write_line(f"{file}: {reckoning}")
