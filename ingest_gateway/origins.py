"""Which web pages may send for a project, and what the browser is told about it.

Pure functions over header texts. A request without an Origin header does not come from a page of
another site and is not held back: the list protects a public key against use on other sites, it
is no secret. Source: events.md, section 1; privacy.md, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

ALLOW_METHODS = "GET, POST, OPTIONS"
# Every header of `bodies` and `grpc_web` that a page may set, and what gRPC-Web clients add: a
# browser does not send a request with one that is not here.
ALLOW_HEADERS = (
    "Content-Type, Content-Encoding, X-GoSight-Key, X-Project-Key, X-Grpc-Web, X-User-Agent, "
    "Grpc-Encoding, Grpc-Accept-Encoding, Grpc-Timeout"
)
EXPOSE_HEADERS = "grpc-status, grpc-message, Retry-After"
MAX_AGE_S = "86400"


def origin_host(origin: str) -> str:
    """The host of an Origin header in lower case, without port; empty if there is none."""
    try:
        return (urlsplit(origin).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_origin_allowed(origin: str | None, allowed_domains: Sequence[str]) -> bool:
    """Whether a page of this origin may send; an empty list allows every page.

    `example.com` means this host alone, `*.example.com` its sub-domains but not itself; a full
    origin such as `https://example.com:8443` means exactly that origin.
    """
    if not allowed_domains or origin is None:
        return True
    host = origin_host(origin)
    if not host:
        return False
    for entry in allowed_domains:
        domain = entry.strip().lower().rstrip(".")
        if "://" in domain:
            if origin.lower().rstrip("/") == domain.rstrip("/"):
                return True
        elif domain.startswith("*."):
            if host.endswith(domain[1:]) and len(host) > len(domain) - 1:
                return True
        elif host == domain:
            return True
    return False


def cors_headers(origin: str | None) -> dict[str, str]:
    """Headers of an answer to this origin; none if the request names no origin."""
    if not origin:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSE_HEADERS,
        "Vary": "Origin",
    }


def preflight_headers(origin: str | None) -> dict[str, str]:
    """Headers of the answer to a preflight request of this origin."""
    if not origin:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": ALLOW_METHODS,
        "Access-Control-Allow-Headers": ALLOW_HEADERS,
        "Access-Control-Max-Age": MAX_AGE_S,
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }
