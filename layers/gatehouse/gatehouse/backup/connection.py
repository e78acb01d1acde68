"""The backup database of this process."""

from functools import cache

from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.secrets import secret
from gatehouse.settings import settings

NOT_CONFIGURED = (
    "no backup database: give BACKUP_DATABASE_SECRET_ARN with {pooled_url, direct_url}, or BACKUP_POSTGRES_URL"
)


def is_configured() -> bool:
    """Tell whether the settings name a backup database."""
    return bool(settings().backup_database_secret_arn or settings().backup_postgres_url)


@cache
def backup_database() -> Database:
    """Return the backup database of this process; raise SettingError where none is configured."""
    chosen = settings()
    if not is_configured():
        raise SettingError(NOT_CONFIGURED)
    return Database(
        lambda renewed: _address(refresh=renewed),
        connect_milliseconds=chosen.database_connect_milliseconds,
        statement_milliseconds=chosen.database_statement_milliseconds,
        away_seconds=chosen.database_away_seconds,
        tls=chosen.database_tls,
        tls_root_file=chosen.database_tls_root_file,
    )


def backup_or_none() -> Database | None:
    """Return the backup database of this process, or None where there is none."""
    return backup_database() if is_configured() else None


def _address(*, refresh: bool) -> str:
    chosen = settings()
    if chosen.backup_database_secret_arn:
        return str(secret(chosen.backup_database_secret_arn, refresh=refresh).get("pooled_url", ""))
    return chosen.backup_postgres_url
