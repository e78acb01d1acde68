"""The benchmark of the console at a size at which its numbers mean nothing: every page is there, and is looked at."""

import pytest

from bench import console

pytestmark = pytest.mark.req("O4")


def test_every_page_is_looked_at_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PAYMENTS", "1000,2000")
    monkeypatch.setenv("BENCH_RUNS", "2")
    monkeypatch.delenv("BENCH_KEPT", raising=False)
    figures = console.run()
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    for asked in console.pages():
        assert any(name.startswith(f"{asked.who}: {asked.name} (") for name in names), asked
    assert all(figure.value > 0 for figure in figures)
    of_bytes = next(figure for figure in figures if figure.name.startswith("the largest page"))
    assert 10_000 < of_bytes.value < 100_000
