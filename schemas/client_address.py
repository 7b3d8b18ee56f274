"""The address of the one who sends, behind a known number of proxies.

Every proxy appends the address that it saw to X-Forwarded-For; what stands further left was
written by the client and is worth nothing. With N trusted proxies the N-th entry from the right is
the client. Source: events.md, section 1 (Request headers).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Network, ip_address


def client_address(
    peer: str, forwarded_for: Sequence[str], real_ip: str | None, trusted_proxy_count: int
) -> str:
    """The client's address as text, empty if it cannot be told.

    `forwarded_for` are the X-Forwarded-For header lines in order. Fewer entries than proxies means
    that a proxy does not append: its X-Real-IP is taken if it sends one, else the left-most entry.
    """
    if trusted_proxy_count == 0:
        return peer
    hops = [hop.strip() for line in forwarded_for for hop in line.split(",") if hop.strip()]
    if hops:
        return _plain(hops[-min(trusted_proxy_count, len(hops))])
    if real_ip:
        return _plain(real_ip.strip())
    return peer


def network_of(address: str) -> str:
    """What one client holds: an IPv4 address, or 2**64 IPv6 ones.

    IPv4 comes through sockets and proxies of both kinds as ::ffff:203.0.113.9, and is no network of
    its own there: all clients would be one.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), 64), strict=False))


def _plain(text: str) -> str:
    """An address without brackets and port; empty if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return ""
