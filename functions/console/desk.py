"""What the console works with; tests hand in their own."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from gatehouse.backup.connection import backup_or_none
from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import Database, database, ops_database
from gatehouse.jobs.bell import Bell, bell
from gatehouse.jobs.depths import Depth, queue_depths
from gatehouse.sealing import Keyring
from gatehouse.settings import settings
from gatehouse.tenants import factory
from gatehouse.tenants.links import Links
from gatehouse.tenants.tokens import Tokens, console_tokens


@dataclass(frozen=True)
class ConsoleDesk:
    """The databases by role, the bell, and the keys that seal sessions.

    `database` is of the role gatehouse_api, which row-level security holds to one merchant; pages of a merchant use
    nothing else. `ops_database` sees all merchants and is opened for operators only, and to keep what a token lets in.
    """

    database: Callable[[], Database]
    ops_database: Callable[[], Database]
    keyring: Callable[[], Keyring]
    bell: Callable[[], Bell] = bell
    backup: Callable[[], Database | None] = lambda: None
    depths: Callable[[], list[Depth]] = queue_depths
    tenant_links: Callable[[], Links] = factory.links
    tenant_engine_for: Callable[[str, str | None], str] = factory.engine_for
    tenant_grace_days: Callable[[], int] = lambda: settings().tenant_grace_days
    tenant_statement_milliseconds: Callable[[], int] = lambda: settings().tenant_statement_milliseconds
    tokens: Callable[[], Tokens] = console_tokens  # of which issuers they are taken at the sign-in; perhaps of none
    is_secure: bool = True  # whether browsers reach it by HTTPS only


def process_desk() -> ConsoleDesk:
    """Return the desk of this process."""
    return ConsoleDesk(
        database, ops_database, process_keyring, backup=backup_or_none, is_secure=settings().stage != "local"
    )


def desk_of(request: Request) -> ConsoleDesk:
    """Return what the application of this request works with."""
    desk: ConsoleDesk = request.app.state.desk
    return desk
