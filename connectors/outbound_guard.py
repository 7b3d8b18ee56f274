"""Where the process may connect to when a user of it names the target.

In: URLs that users write (webhooks). Out: a checked target, and connections to addresses that were
checked. Without this a webhook is a way into the network that the process runs in: cloud metadata,
databases, other tenants (server-side request forgery).

Guarantees, at registration (`check_url`, `check_names`) and again at each connection:

- https only, ports 443, 8443 and 80, no user and password in the URL;
- no address that is not public: loopback, private, link-local, carrier NAT, unique local,
  multicast, reserved, and any IPv6 address that stands for one of them (mapped, compatible,
  translated, 6to4, Teredo); one such address among several of a name refuses the name;
- numbers are addresses however they are written (`2130706433`, `0x7f.1`, `0177.0.0.1`);
- the connection goes to the address that was checked: it is looked at once more when the socket is
  made, so that a name that answers otherwise the second time (rebinding) gains nothing;
- redirects are not this module's: callers do not follow them.

An operator may allow networks of his own; to those http and any port are allowed, too.
Source: alerting.md, section 6; OWASP "Server-Side Request Forgery Prevention".
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = frozenset({443, 8443, 80})
URL_LENGTH_MAX = 2048
HOST_LENGTH_MAX = 253
# Names that a resolver answers from the machine itself.
LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")
LOOKUP_TIMEOUT_S = 5.0
# More than all senders wait for at once, several times over: a resolver goes on asking for some
# time when nobody waits any more, and names that nobody answers for must not hold up the others.
LOOKUPS_AT_ONCE = 256
CONNECTIONS_MAX = 64
# Each carries an IPv4 address in its last 32 bits: mapped, compatible, translated.
_EMBEDDING = tuple(IPv6Network(text) for text in ("::ffff:0:0/96", "::/96", "64:ff9b::/96"))
# Public by their registry and yet ways to somewhere else, and what versions of Python differ about.
_REFUSED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "100.64.0.0/10",  # Carrier NAT.
        "192.0.0.0/24",  # Protocol assignments.
        "192.88.99.0/24",  # 6to4 relays.
        "198.18.0.0/15",  # Benchmarks.
        "100::/64",  # Discarded.
        "3fff::/20",  # Documentation.
        "5f00::/16",  # Segment routing.
        "64:ff9b:1::/48",  # Local translation.
        "2001::/23",  # Protocol assignments; Teredo.
        "2002::/16",  # 6to4.
        "fec0::/10",  # Site local, of old.
        "::ffff:0:0:0/96",  # Translated, of old.
    )
)


class RefusedTargetError(ValueError):
    """A target that must not be connected to; the text says why, for whoever wrote it."""


class NoAddressError(RefusedTargetError):
    """Nobody says where the target is: what is refused today may be reached tomorrow."""


class RefusedAddressError(OSError):
    """The same at the moment of connecting."""


@dataclass(frozen=True, slots=True)
class OutboundGuard:
    """What may be connected to; `allowed` networks are so without any further condition."""

    allowed: tuple[Network, ...] = ()

    def check_url(self, text: str) -> URL:
        """The URL, if nothing that can be told without asking anybody speaks against it.

        Raises:
            RefusedTargetError: something does.
        """
        if len(text) > URL_LENGTH_MAX:
            raise RefusedTargetError(f"url is longer than {URL_LENGTH_MAX} characters")
        if any(ord(character) <= 32 or ord(character) == 127 for character in text):
            raise RefusedTargetError("url has spaces or control characters")
        try:
            url = URL(text)
            host, port = url.host, url.port
        except (ValueError, IndexError) as error:  # Brackets in odd places are an IndexError.
            raise RefusedTargetError("url cannot be read") from error
        if url.scheme not in {"https", "http"} or not host or port is None:
            raise RefusedTargetError("url must be https://host/...")
        if url.user is not None or url.password is not None:
            raise RefusedTargetError("url must not hold a user or a password")
        literal = literal_address(host)
        if literal is not None and self.is_allowed(literal):
            return url
        if literal is not None and is_refused(literal):
            raise RefusedTargetError(f"url leads to {literal}, which is not a public address")
        self._check_name(host if literal is None else "")
        # What a name of an allowed network resolves to is only known when it is asked.
        if not self.allowed or literal is not None:
            check_scheme(url)
        return url

    async def check_names(self, text: str) -> URL:
        """`check_url`, and the addresses of its host as they are now.

        Raises:
            RefusedTargetError: one of them is refused.
            NoAddressError: there is none, or nobody says so in time.
        """
        url = self.check_url(text)
        assert url.host is not None
        assert url.port is not None
        found = literal_address(url.host)
        try:
            addresses = [found] if found is not None else await _addresses(url.host, url.port)
        except OSError as error:
            raise NoAddressError(f"{url.host} has no address") from error
        self.check_addresses(addresses, url.host)
        if not all(map(self.is_allowed, addresses)):
            check_scheme(url)
        return url

    def check_addresses(self, addresses: Iterable[Address], host: str) -> None:
        """Refuse a name for one bad address, however many good ones it has.

        Raises:
            RefusedTargetError: there is one.
        """
        for address in addresses:
            if not self.is_allowed(address) and is_refused(address):
                raise RefusedTargetError(
                    f"{host} leads to {address}, which is not a public address"
                )

    def is_allowed(self, address: Address) -> bool:
        """Whether an operator has allowed this address, written as it may be."""
        inner = embedded_address(address)
        return any(
            address in network or (inner is not None and inner in network)
            for network in self.allowed
        )

    @staticmethod
    def _check_name(host: str) -> None:
        name = host.rstrip(".").lower()
        if len(name) > HOST_LENGTH_MAX:
            raise RefusedTargetError("the name of the host is too long")
        if name == "localhost" or name.endswith(LOCAL_SUFFIXES):
            raise RefusedTargetError(f"{host} is a name of this machine or network")

    def session(self, total_s: float, connect_s: float) -> ClientSession:
        """A client whose every connection is checked; the caller closes it."""
        return ClientSession(
            connector=TCPConnector(
                resolver=_GuardedResolver(self),
                use_dns_cache=False,
                socket_factory=self._checked_socket,
                # One message in minutes is not worth a connection that stays open.
                force_close=True,
                limit=CONNECTIONS_MAX,
            ),
            timeout=ClientTimeout(total=total_s, connect=connect_s),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=8_190,
            max_field_size=8_190,
        )

    def _checked_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The socket for one address: the last look before anything is sent."""
        family, kind, protocol, _, sockaddr = info
        address = ip_address(str(sockaddr[0]).partition("%")[0])
        if not self.is_allowed(address):
            if is_refused(address):
                raise RefusedAddressError(f"{address} is not a public address")
            if sockaddr[1] not in PORTS:
                raise RefusedAddressError(f"port {sockaddr[1]} is not open to webhooks")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def check_scheme(url: URL) -> None:
    """What a target must be that no operator has allowed.

    Raises:
        RefusedTargetError: it is not.
    """
    if url.scheme != "https":
        raise RefusedTargetError("url must begin with https://")
    if url.port not in PORTS:
        raise RefusedTargetError(f"port {url.port} is not one of {sorted(PORTS)}")


def is_refused(address: Address) -> bool:
    """Whether an address is not one of the public internet, or stands for one that is not."""
    inner = embedded_address(address)
    if inner is not None:
        return is_refused(inner)
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or any(address in network for network in _REFUSED)
    )


def embedded_address(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries; None if it carries none."""
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def literal_address(host: str) -> Address | None:
    """The address that a host is in itself, in any spelling that a resolver understands."""
    bare = host.strip("[]").partition("%")[0].rstrip(".")
    try:
        return ip_address(bare)
    except ValueError:
        pass
    # One to four numbers, decimal, octal or hexadecimal, as C libraries read them.
    parts = bare.lower().split(".")
    if not 1 <= len(parts) <= 4 or not all(map(_is_number, parts)):
        return None
    try:
        return IPv4Address(socket.inet_aton(bare))
    except OSError:
        return None


def _is_number(text: str) -> bool:
    digits = text.removeprefix("0x")
    return (
        bool(digits)
        and all(character in "0123456789abcdef" for character in digits)
        and (text.startswith("0x") or digits.isdigit())
    )


_lookups = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="lookups")


async def _addresses(host: str, port: int) -> list[Address]:
    """All addresses of a name, asked now.

    Raises:
        OSError: it has none, or nobody answers.
    """
    async with asyncio.timeout(LOOKUP_TIMEOUT_S):
        found = await _look_up(host, port)
    return [ip_address(info[4][0].partition("%")[0]) for info in found]


async def _look_up(host: str, port: int) -> Sequence[Any]:
    loop = asyncio.get_running_loop()
    try:
        # A pool of its own: names that take long must not hold other work up.
        return await loop.run_in_executor(
            _lookups,
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
        )
    except UnicodeError as error:
        raise OSError(f"{host[:60]!r} is not a name") from error


class _GuardedResolver(AbstractResolver):
    """Resolves names, and refuses those with an address that must not be connected to."""

    def __init__(self, guard: OutboundGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`.

        Raises:
            OSError: the name has no address.
            RefusedTargetError: it has one that is refused.
        """
        found = await _look_up(host, port)
        self._guard.check_addresses(
            (ip_address(info[4][0].partition("%")[0]) for info in found), host
        )
        return [
            ResolveResult(
                hostname=host,
                host=info[4][0],
                port=port,
                family=info[0],
                proto=info[2],
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for info in found
            if family in (socket.AF_UNSPEC, info[0])
        ]

    async def close(self) -> None:
        """Nothing is held."""
