"""From which address a request comes."""

from __future__ import annotations

from aiohttp import web

from schemas.client_address import client_address


def address_of(request: web.Request, trusted_proxy_count: int) -> str:
    """The client's address; empty if it cannot be told."""
    return client_address(
        request.remote or "",
        request.headers.getall("X-Forwarded-For", ()),
        request.headers.get("X-Real-IP"),
        trusted_proxy_count,
    )
