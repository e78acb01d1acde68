"""`gatehouse backup`: what it says where it cannot work. With two real servers: tests/backup/test_two_servers.py."""

from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.mark.req("B4", "O5")
def test_without_a_backup_it_says_what_is_missing(gatehouse: Command) -> None:
    done = gatehouse("backup", "status")
    assert done.returncode == 1
    assert "BACKUP_DATABASE_SECRET_ARN" in done.stderr


@pytest.mark.req("B4", "O5")
def test_status_and_compare_tell_how_it_stands(gatehouse: Command, backup_database: GatehouseDatabase) -> None:
    second = backup_database.url("backup_writer")
    told = gatehouse("backup", "status", BACKUP_POSTGRES_URL=second)
    assert told.returncode == 3
    assert "and changes are not noted" in told.stdout
    assert gatehouse("backup", "compare", BACKUP_POSTGRES_URL=second).stdout == "no differences in 0 payments\n"


@pytest.mark.req("B5", "O5")
def test_a_restore_names_what_is_wrong(gatehouse: Command, backup_database: GatehouseDatabase, tmp_path: Path) -> None:
    second = backup_database.url("backup_writer")
    done = gatehouse("backup", "restore", "--into", f"@{tmp_path}/nowhere", BACKUP_POSTGRES_URL=second)
    assert done.returncode == 1
    assert "DATA_KEYS_SECRET_ARN" in done.stderr
