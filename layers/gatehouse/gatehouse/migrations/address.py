"""Finds the direct address of each database in the settings."""

from gatehouse.database.connection import configured_address
from gatehouse.errors import SettingError
from gatehouse.migrations.sessions import Target
from gatehouse.secrets import secret
from gatehouse.settings import settings


def configured_target(database: str, address: str = "") -> Target:
    """Return the database to migrate; where no address is handed in, the settings must give one."""
    chosen = settings()
    if not address:
        address = configured_address(direct=True) if database == "primary" else _backup_address()
    return Target(database, address, tls=chosen.database_tls, tls_root_file=chosen.database_tls_root_file)


def is_configured(database: str) -> bool:
    """Tell whether the settings name this database at all, be it only by its pooled address."""
    chosen = settings()
    if database == "primary":
        return bool(chosen.database_secret_arn or chosen.postgres_url_non_pooling or chosen.postgres_url)
    return bool(chosen.backup_database_secret_arn or chosen.backup_postgres_url_non_pooling)


def _backup_address() -> str:
    chosen = settings()
    address = chosen.backup_postgres_url_non_pooling
    if chosen.backup_database_secret_arn:
        address = str(secret(chosen.backup_database_secret_arn).get("direct_url", ""))
    if not address:
        raise SettingError(
            "no address of the backup database: give BACKUP_DATABASE_SECRET_ARN with direct_url, or"
            " BACKUP_POSTGRES_URL_NON_POOLING"
        )
    return address
