"""docs/settings.md tells every setting, with the words and the default that the code has."""

from dataclasses import fields

import pytest

from gatehouse.settings import Settings
from tests.template.expansion import PROJECT

DOCUMENT = PROJECT / "docs" / "settings.md"


@pytest.mark.req("P11")
def test_each_setting_is_documented_as_it_is() -> None:
    table = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert table == documented(), "docs/settings.md should have:\n" + "\n".join(documented())


def test_each_setting_is_told_in_one_sentence() -> None:
    for each in fields(Settings):
        sentence = each.metadata["doc"]
        assert sentence.endswith("."), each.name
        assert len(sentence) < 160, each.name


def documented() -> list[str]:
    """Return the rows that the document must have, in the order of the code."""
    rows = [(each.name.upper(), str(each.default), each.metadata["doc"]) for each in fields(Settings)]
    return [f"| `{name}` | {f'`{default}`' if default else ''} | {sentence} |" for name, default, sentence in rows]
