"""What must not stand in any file of the project: paths of one machine, registries, left-overs, blanket silencing."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.template.expansion import PROJECT

SOURCES = {".py", ".sql", ".sh", ".yaml", ".yml", ".toml", ".md", ".json", ".in", ".lock", ".txt", ".cfg", ""}

# Written in pieces, so that this file does not hold what it looks for. (what, pattern, which files)
FORBIDDEN = [
    ("the path of one machine", r"(?<![\w./])/(root|work|Users|home/\w+)/", r".*"),
    (
        "the address of a package registry",
        r"index-" r"url\s*=|https?://[\w.-]*(pypi|pythonhosted|artifact)[\w./-]*",
        r".*\.(lock|txt|in|toml)",
    ),
    ("work that was left for later", r"\b(TO" r"DO|FIX" r"ME|HA" r"CK)\b", r".*"),
    ("a silenced type error without its code", r"type:\s*ignore(?!\[)", r".*\.py"),
    # import-untyped says its reason itself: the library ships no types.
    ("a silenced type error without a reason", r"type:\s*ignore\[(?!import-untyped\])[\w, -]+\](?!.*#)", r".*\.py"),
    ("a silenced lint without its code", r"noqa(?!:\s*[A-Z]+\d)", r".*\.py"),
    ("a silenced lint without a reason", r"noqa:\s*[A-Z]+\d+(, *[A-Z]+\d+)*\s*$", r".*\.py"),
    ("an error that is swallowed without a reason", r"except[^\n#]*:\n\s+pass *$", r".*\.py"),
]
VAGUE_NAMES = re.compile(r"(^|_)(utils?|helpers?|manager|misc|common|base)($|_)")


@pytest.mark.parametrize(("what", "pattern", "where"), FORBIDDEN, ids=[what for what, *_ in FORBIDDEN])
def test_no_file_has(what: str, pattern: str, where: str) -> None:
    found = [
        f"{file}: {match[0]!r}"
        for file in tracked_files()
        if re.fullmatch(where, str(file)) and file != Path("tests/rules/test_words.py")
        for match in re.finditer(pattern, (PROJECT / file).read_text(), re.MULTILINE)
    ]
    assert found == [], what


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("the path of one machine", "see /root/notes.md"),
        ("the address of a package registry", "--index-url=https://mirror"),
        ("work that was left for later", "# TODO: later"),
        ("a silenced type error without its code", "x = 1  # type: ignore"),
        ("a silenced type error without a reason", "x = 1  # type: ignore[misc]"),
        ("a silenced lint without its code", "x = 1  # noqa"),
        ("a silenced lint without a reason", "x = 1  # noqa: E501"),
        ("an error that is swallowed without a reason", "try: f()\nexcept OSError:\n    pass"),
    ],
)
def test_the_pattern_notices(what: str, text: str) -> None:
    assert re.search(next(pattern for name, pattern, _ in FORBIDDEN if name == what), text, re.MULTILINE)


def test_no_module_has_a_vague_name() -> None:
    assert [str(file) for file in tracked_files() if VAGUE_NAMES.search(file.stem) and file.suffix == ".py"] == []


def tracked_files() -> list[Path]:
    """Return the text files that git knows or would add, as paths from the project's folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    files = [Path(line) for line in listed if Path(line).suffix in SOURCES]
    return [file for file in files if (PROJECT / file).is_file()]
