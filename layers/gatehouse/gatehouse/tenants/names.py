"""What a tenant's database and its roles are called, and how names and texts stand in SQL that takes no parameters.

A tenant's id is random and says nothing: on a shared cluster, others may come to see which databases and roles there
are. All that is made for a tenant is named by its id, so whatever belongs to nobody can be found.
"""

import re
import secrets
import string
from typing import NamedTuple

LETTERS = string.ascii_lowercase + string.digits
RANDOM_LETTERS = 15
TENANT_ID = re.compile(r"t[a-z0-9]{15}", re.ASCII)
BRANCH_ID = re.compile(r"b[a-z0-9]{15}", re.ASCII)
PREFIX = "gh_"
OURS = re.compile(r"gh_([tb][a-z0-9]{15})(?:_(?:keeper|owner|developer|viewer))?", re.ASCII)

# Who works in a tenant's database. The keeper is ours: it owns the database and runs its migrations. The others are
# those of callers: owner and admin work as the first.
KEEPER = "keeper"
CALLERS = ("owner", "developer", "viewer")
MOST_NAME_BYTES = 63


class Names(NamedTuple):
    """The names of one tenant's database and roles."""

    database: str
    keeper: str
    owner: str
    developer: str
    viewer: str

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles, the keeper first."""
        return self[1:]


def names_of(tenant_id: str) -> Names:
    """Return the names of a tenant; raise ValueError for what is no tenant's id."""
    if not TENANT_ID.fullmatch(tenant_id):
        raise ValueError(f"{tenant_id!r} is no tenant's id")
    database = PREFIX + tenant_id
    return Names(database, *(f"{database}_{role}" for role in (KEEPER, *CALLERS)))


def branch_database(branch_id: str) -> str:
    """Return the name of a branch's database on a plain cluster."""
    if not BRANCH_ID.fullmatch(branch_id):
        raise ValueError(f"{branch_id!r} is no branch's id")
    return PREFIX + branch_id


def new_id(kind: str) -> str:
    """Return a new id: of a tenant (`t`) or a branch (`b`)."""
    return kind + "".join(secrets.choice(LETTERS) for _ in range(RANDOM_LETTERS))


def quoted(name: str) -> str:
    """Return a name as it stands in SQL; raise ValueError for one that Postgres would cut or cannot hold."""
    if not name or "\0" in name or len(name.encode()) > MOST_NAME_BYTES:
        raise ValueError("a name has from 1 to 63 bytes, and no zero among them")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as it stands in SQL, whatever standard_conforming_strings says."""
    if "\0" in text:
        raise ValueError("Postgres holds no zero character")
    escaped = text.replace("'", "''")
    return " E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in text else f"'{escaped}'"
