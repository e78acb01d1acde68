"""Where tenants' databases are made: Neon, a plain Postgres cluster, or DigitalOcean; one small interface for all."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.names import Names

ENGINES = ("plain", "neon", "digitalocean")

type State = Mapping[str, Any]
type Save = Callable[[dict[str, Any]], None]


class Wanted(NamedTuple):
    """One tenant as an engine sees it."""

    id: str
    names: Names
    region: str | None
    state: dict[str, Any]  # what the engine has noted so far
    credentials: Credentials
    save: Save  # notes more, at once: whoever takes the work up after us finds it


class Inventory(NamedTuple):
    """What there is on an engine that carries our names, by the id of the tenant or branch."""

    things: Mapping[str, tuple[str, ...]]  # what it is, in words


class Engine(Protocol):
    """Makes and removes tenants' databases. Every verb may be called again after it was cut off anywhere."""

    name: str
    can_branch: bool

    def make(self, wanted: Wanted) -> Credentials:
        """Make database and roles, or go on with it; return the credentials with their place. Raises EngineError."""
        ...

    def remove(self, wanted: Wanted, branches: Mapping[str, State]) -> None:
        """Remove all there is of a tenant and its branches; nothing being there is no error."""
        ...

    def storage_bytes(self, wanted: Wanted) -> int:
        """Return how large the tenant's database is."""
        ...

    def make_branch(self, wanted: Wanted, branch_id: str, state: dict[str, Any], save: Save) -> Credentials:
        """Copy the tenant's database, or go on with it; return the credentials of the copy."""
        ...

    def remove_branch(self, wanted: Wanted, branch_id: str, state: State) -> None:
        """Remove a copy; its not being there is no error."""
        ...

    def inventory(self) -> Inventory:
        """Return everything there is, for the doctor."""
        ...

    def remove_orphan(self, thing_id: str) -> None:
        """Remove what belongs to no tenant that we know."""
        ...
