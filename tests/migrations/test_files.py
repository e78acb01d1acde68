"""A migration file that could not be trusted later is refused at once, by name and line."""

from pathlib import Path

import pytest

from gatehouse.errors import MigrationRefused
from gatehouse.migrations.files import migrations_folder, read_migration, read_migrations
from tests.migrations.conftest import MigrationFolder

pytestmark = pytest.mark.req("P13")

GOOD = "-- migrate: up\nselect 1;\n-- migrate: down\nselect 2;\n"


def refusal_of(path: Path) -> str:
    with pytest.raises(MigrationRefused) as refused:
        read_migrations(path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("select 1;", "no `-- migrate: up` line"),
        ("-- migrate: up\nselect 1;\n", "no `-- migrate: down` section"),
        ("-- migrate: up\n-- nothing\n-- migrate: down\nselect 1;", "the up section has no statement"),
        ("-- migrate: up\nselect 1;\n-- migrate: down\n\n", "the down section is empty"),
        ("select 0;\n" + GOOD, "line 1: SQL before `-- migrate: up`"),
        ("-- migrate: sideways\n" + GOOD, "line 1: unknown marker `-- migrate: sideways`"),
        (GOOD + "-- migrate: up\n", "line 5: a second `-- migrate: up`"),
        ("-- migrate: down\nselect 1;\n-- migrate: up\nselect 1;\n", "and after the up section"),
        (GOOD + "-- migrate: no way back because of reasons\n", "one way back, or `no way back`"),
        ("-- migrate: up\nselect 1;\n-- migrate: no way back\n", "unknown marker `-- migrate: no way back`"),
        ("-- migrate: up\nselect 1;\n-- migrate: no way back because x\nselect 2;", "line 4: SQL after `no way back`"),
        (
            "-- migrate: up\nselect 1;\n-- migrate: no-transaction\n-- migrate: down\n--",
            "belongs above `-- migrate: up`",
        ),
        ("-- migrate: up\nselect 1;\nselect 'x;\n-- migrate: down\n--", "line 3: a quote is never closed"),
        ("-- migrate: up\nselect 1;\ncommit;\n-- migrate: down\n--", "line 3: COMMIT is not for migration files"),
        ("-- migrate: up\nstart transaction;\n-- migrate: down\n--", "line 2: START is not for migration files"),
        ("-- migrate: up\nrollback;\n-- migrate: down\n--", "line 2: ROLLBACK is not for migration files"),
        (
            "-- migrate: up\ncreate index concurrently i on t (a);\n-- migrate: down\n--",
            "line 2: CREATE INDEX CONCURRENTLY cannot run inside a transaction",
        ),
        (
            "-- migrate: no-transaction\n-- migrate: up\ncreate index concurrently on t (a);\n-- migrate: down\n--",
            "line 3: give the index a name",
        ),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_by_name_and_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "0001_first.sql").write_text(text)
    refusal = refusal_of(tmp_path)
    assert refusal.startswith("0001_first.sql")
    assert reason in refusal


def test_a_savepoint_stays_inside_the_transaction(tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text(
        "-- migrate: up\nsavepoint s;\nrollback to savepoint s;\n-- migrate: down\n-- nothing was done\n"
    )
    assert len(read_migrations(tmp_path)[0].up) == 2


@pytest.mark.parametrize(
    "name", ["1_first.sql", "0001-first.sql", "0001_First.sql", "0001_.sql", "first.sql", "0000_a.sql"]
)
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(GOOD)
    assert f"{name}: the name must be like 0001_what_it_does.sql" in refusal_of(tmp_path)


def test_a_gap_and_a_number_used_twice_are_refused(folder: MigrationFolder) -> None:
    for name in ("0001_one", "0003_three", "0003_other", "0004_four"):
        folder.write(name, "select 1;")
    assert refusal_of(folder.path).split("\n") == [
        "0003_other.sql: the number before it is missing (expected 0002)",
        "0003_three.sql: 0003_other.sql has the same number",
    ]


def test_every_bad_file_gets_a_line(tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("select 1;")
    (tmp_path / "0002_second.sql").write_bytes(b"\xff")
    assert refusal_of(tmp_path).split("\n") == [
        "0001_first.sql: no `-- migrate: up` line",
        "0002_second.sql: not UTF-8 text (byte 0)",
    ]


def test_other_files_may_lie_beside_the_migrations(folder: MigrationFolder) -> None:
    folder.write("0001_one", "select 1;")
    (folder.path / "schema.sql").write_text("anything")
    (folder.path / "README.md").write_text("anything")
    assert [each.name for each in read_migrations(folder.path)] == ["0001_one"]


def test_the_checksum_sees_every_change_but_not_what_an_editor_or_git_changes_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "0001_first.sql"

    def checksum(data: bytes) -> str:
        file.write_bytes(data)
        return read_migration(file).checksum

    original = checksum(GOOD.encode())
    assert checksum(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode() + b"\r\n\r\n") == original
    assert checksum(GOOD.rstrip("\n").encode()) == original
    assert checksum(GOOD.encode() + b"-- a word\n") != original
    assert checksum(GOOD.replace("select 1", "select  1").encode()) != original


def test_the_reason_why_there_is_no_way_back_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "0001_first.sql"
    file.write_text("-- migrate: up\ndrop table t;\n-- migrate: no way back because the rows are gone\n")
    assert read_migration(file).no_way_back == "the rows are gone"


def test_the_migrations_of_a_checkout_are_found() -> None:
    found = migrations_folder("primary")
    assert found is not None
    assert (found / "0001_roles.sql").is_file()
