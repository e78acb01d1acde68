"""Connections to tenants' databases: kept from request to request, so many and no more."""

import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from gatehouse.database.login import Address, LoggedIn, authorities, cancel, log_in, parse_address

MOST_IDLE_SECONDS = 60.0
CONNECT_SECONDS = 5.0  # a database that sleeps when idle needs a moment to wake up
CANCEL_SECONDS = 1.0


@dataclass(frozen=True)
class Safety:
    """How a connection is encrypted."""

    tls: str = "verify"
    root_file: str = ""

    def context(self, authority: str = "") -> ssl.SSLContext | None:
        """Return what checks the server; None where TLS is off, as on a machine of one's own."""
        if self.tls == "off":
            return None
        return ssl.create_default_context(cadata=authority) if authority else authorities(self.root_file)


@dataclass
class Link:
    """One open connection, and how it was made."""

    connection: LoggedIn
    address: Address
    context: ssl.SSLContext | None
    used_at: float

    def cancel(self) -> None:
        """Stop what the server does for us, and hang up."""
        cancel(self.address, self.connection.cancel_key, seconds=CANCEL_SECONDS, tls_context=self.context)
        self.connection.drop()


@dataclass
class Links:
    """At most so many connections, of which the longest unused gives way to a new one."""

    safety: Safety
    most: int
    clock: Callable[[], float] = time.time  # the wall clock, as a frozen Lambda stops the other one
    opened: int = 0
    _kept: OrderedDict[tuple[str, str], Link] = field(default_factory=OrderedDict)

    def take(self, key: tuple[str, str], url: str, authority: str = "") -> Link:
        """Return a connection for (place, role): a kept one that is whole, or a new one; the caller's until `keep`."""
        address = parse_address(url)
        kept = self._kept.pop(key, None)
        if kept is not None:
            young = self.clock() - kept.used_at < MOST_IDLE_SECONDS
            if young and kept.address == address and kept.connection.is_quiet():
                return kept
            kept.connection.drop()
        while len(self._kept) >= self.most:
            _, oldest = self._kept.popitem(last=False)
            oldest.connection.say_goodbye()
            oldest.connection.drop()
        context = self.safety.context(authority)
        connection = log_in(
            address,
            deadline=time.monotonic() + CONNECT_SECONDS,
            answer_seconds=CONNECT_SECONDS,
            tls_context=context,
            application="gatehouse tenants",
        )
        self.opened += 1
        return Link(connection, address, context, self.clock())

    def keep(self, key: tuple[str, str], link: Link) -> None:
        """Give a connection back for the next request."""
        link.used_at = self.clock()
        self._kept[key] = link

    def forget(self, place: str) -> None:
        """Hang up on one tenant or branch, whose database goes away."""
        for key in [each for each in self._kept if each[0] == place]:
            link = self._kept.pop(key)
            link.connection.say_goodbye()
            link.connection.drop()

    def close(self) -> None:
        """Hang up on all."""
        for place in {key[0] for key in self._kept}:
            self.forget(place)

    def __len__(self) -> int:
        return len(self._kept)
