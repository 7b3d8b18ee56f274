"""From which address a request comes."""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web

from schemas.client_address import client_address


def address_of(request: web.Request, trusted_proxy_count: int) -> str:
    """The client's address; empty if it cannot be told."""
    address = client_address(
        request.remote or "",
        request.headers.getall("X-Forwarded-For", ()),
        request.headers.get("X-Real-IP"),
        trusted_proxy_count,
    ).partition("%")[0]
    try:
        return str(ip_address(address))
    except ValueError:
        return ""  # A socket of this machine has none.
