"""One small HTTP request to a server on this machine, without a client library."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit


def request(
    method: str, url: str, body: str, headers: Mapping[str, str], timeout_s: float
) -> tuple[int, str]:
    """Status and text of the answer.

    Raises:
        OSError: nobody answers there, or not in time.
        HTTPException: what answers does not speak HTTP.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    try:
        connection.request(method, path, body.encode(), dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


def is_ok(url: str, timeout_s: float) -> bool:
    """Does a GET of `url` give 200 within the time?"""
    try:
        return request("GET", url, "", {}, timeout_s)[0] == 200
    except (OSError, HTTPException):
        return False
