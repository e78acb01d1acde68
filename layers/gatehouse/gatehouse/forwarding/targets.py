"""Which addresses may be written to. A merchant chooses them, and must not reach through us what only we can reach.

    target = check_url("https://hooks.example.com/paystack")    when an app is set up, and again at each delivery
    resolve(target)                                             before each connection: ("93.184.216.34",)

Two doors are watched. `check_url` refuses what can never be right: another scheme than https, somebody's password, an
address in disguise. `resolve` refuses a name of which any address is not public. Whoever connects then takes the
addresses that `resolve` returned and looks nothing up again: the answer to a second question may be another one.

In the local stage, pairs such as "127.0.0.1:9100" can be allowed. They may be on this machine and may speak plain HTTP,
and nothing else is opened by them.
"""

import re
import socket
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from gatehouse.errors import TargetRefused

MOST_URL_CHARACTERS = 2048
MOST_HOST_CHARACTERS = 253  # of a name in DNS
DEFAULT_PORTS = {"https": 443, "http": 80}

type Lookup = Callable[[str], Sequence[str]]

# The registries of special addresses, https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-, and the
# ranges for multicast. Written down here and not left to `ipaddress`, whose lists change with the version of Python.
NOT_PUBLIC_IPV4 = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this network, and 0.0.0.0 is this machine
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",  # this machine
        "168.63.129.16/32",  # Azure's 169.254.169.254
        "169.254.0.0/16",  # this link; 169.254.169.254 gives out credentials
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# Only 2000::/3 has been given out as unicast. Outside of it are loopback, fc00::/7 with fd00:ec2::254, fe80::/10,
# fec0::/10, multicast, and the IPv4 addresses in disguise: ::ffff:0:0/96, ::/96 and NAT64's 64:ff9b::/96.
GIVEN_OUT_IPV6 = IPv6Network("2000::/3")
NOT_PUBLIC_IPV6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocols; among them Teredo, 2001::/32, with an IPv4 address inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, with an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

# Names that never lead to a public host: https://www.iana.org/assignments/special-use-domain-names
SPECIAL_NAMES = ("alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test")

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^#]*)(?P<fragment>#.*)?", re.DOTALL
)
# What RFC 3986 lets stand in path and query; everything else has to be written as %XX by whoever gives the URL.
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@%\\]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class Target(NamedTuple):
    """An address that passed `check_url`."""

    host: str  # lower case, in ASCII, without the brackets of an IPv6 address
    port: int
    path: str  # with the query, as it stands in the request line; it may hold a token, so it is for no log
    is_tls: bool
    is_local: bool

    @property
    def authority(self) -> str:
        """Return host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the address in the one form that all its spellings have in common."""
        return f"{'https' if self.is_tls else 'http'}://{self.authority}{self.path}"

    def __repr__(self) -> str:
        return f"<Target {self.authority}>"


def check_url(url: str, allowed_local: Collection[str] = ()) -> Target:
    """Return where a URL leads; raise TargetRefused with a reason when nothing may be sent there."""
    if len(url) > MOST_URL_CHARACTERS:
        raise TargetRefused(f"the URL has more than {MOST_URL_CHARACTERS} characters")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise TargetRefused("that is no URL such as https://hooks.example.com/path")
    scheme = parts["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise TargetRefused("the URL does not begin with https://")
    if "@" in parts["authority"]:
        raise TargetRefused("the URL holds a user or password; give a header instead")
    if parts["fragment"] is not None:
        raise TargetRefused("the URL has a fragment (#), which is never sent")
    if not _PATH.fullmatch(parts["path"]):
        raise TargetRefused("path and query may hold the characters of RFC 3986; write all others as %XX")
    host, port = _host_and_port(parts["authority"], DEFAULT_PORTS[scheme])
    is_local = _pair(host, port) in allowed_local
    if not is_local:
        if scheme != "https":
            raise TargetRefused("the URL does not begin with https://")
        _refuse_unless_public(host)
    path = parts["path"] if parts["path"].startswith("/") else "/" + parts["path"]
    return Target(host, port, path, is_tls=scheme == "https", is_local=is_local)


def resolve(target: Target, lookup: Lookup | None = None) -> tuple[str, ...]:
    """Return the addresses to connect to; raise TargetRefused when any is not public, OSError when none is known.

    All must be public, and not just one: who mixes in a private one is up to something.
    """
    addresses = [target.host] if _is_address(target.host) else (lookup or system_lookup)(target.host)
    for each in addresses:
        if reason := _not_public(each, loopback_allowed=target.is_local):
            raise TargetRefused(f"{target.host} leads to {each}, which is {reason}", retry_helps=True)
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, f"{target.host} has no address")
    return tuple(dict.fromkeys(addresses))


def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver for the addresses of a name, in the order in which it would use them."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _host_and_port(authority: str, default_port: int) -> tuple[str, int]:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise TargetRefused("the URL has no host, or a host or port that cannot be one")
    port = default_port if parts["port"] is None else int(parts["port"])
    if not 0 < port <= 65_535:
        raise TargetRefused("the port is not between 1 and 65535")
    if parts["host"].startswith("["):
        try:
            return IPv6Address(parts["host"][1:-1]).compressed, port
        except ValueError:
            raise TargetRefused("what stands in brackets is no IPv6 address") from None
    return _host_name(parts["host"]), port


def _host_name(said: str) -> str:
    """Return a name or IPv4 address in lower-case ASCII, as DNS and certificates have it."""
    host = said.lower() if said.isascii() else _in_ascii(said)
    if host.endswith("."):
        raise TargetRefused("the host ends with a dot")
    labels = host.split(".")
    if len(host) > MOST_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise TargetRefused("the host is no name that DNS can have")
    # inet_aton reads 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1: what ends in a number is four plain ones or none.
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise TargetRefused("the host is an IPv4 address in an unusual form; write it as four numbers") from None
    return host


def _in_ascii(said: str) -> str:
    """Return an international name in its ASCII form, after IDNA 2008; that of 2003 takes faß.de to another owner."""
    import idna  # only here, as few names need it

    if len(said) > MOST_HOST_CHARACTERS:
        raise TargetRefused("the host is no name that DNS can have")
    try:
        return idna.encode(said, uts46=True).decode()
    except idna.IDNAError:
        raise TargetRefused("the host has characters that no international name may have") from None


def _refuse_unless_public(host: str) -> None:
    if _is_address(host):
        if reason := _not_public(host):
            raise TargetRefused(f"the address {host} is {reason}")
    elif "." not in host or host.rpartition(".")[2] in SPECIAL_NAMES:
        raise TargetRefused(f"{host} is no name of the public Internet")


def _not_public(address: str, *, loopback_allowed: bool = False) -> str:
    """Say what an address is instead of public; "" when it is public."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "no address"
    if loopback_allowed and parsed.is_loopback:
        return ""
    if isinstance(parsed, IPv4Address):
        return "not public" if any(parsed in each for each in NOT_PUBLIC_IPV4) else ""
    if parsed.scope_id is not None or parsed not in GIVEN_OUT_IPV6:
        return "not public"
    return "not public" if any(parsed in each for each in NOT_PUBLIC_IPV6) else ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _pair(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
