"""What browsers are told about pages of other origins: dashboards that the operator has named.

Credentials are never sent along: tokens come in a header that the page sets itself. Nobody else is
told anything, so browsers keep other pages away. Source: api.md, section 1.
"""

from __future__ import annotations

from aiohttp import web
from multidict import MultiMapping

from api.accounts.services import ACCOUNTS

METHODS = "GET, POST, PATCH, PUT, DELETE"
HEADERS = "Authorization, Content-Type, X-GoSight-Key, X-Request-Id"
EXPOSED = (
    "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, "
    "X-Cache, Age"
)
MAX_AGE_S = "600"


def answer_preflight(request: web.Request) -> web.Response | None:
    """The answer to a preflight request; None if it is none."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    answer = web.Response(status=204)
    if _is_allowed(request.app, request.headers):
        answer.headers["Access-Control-Allow-Methods"] = METHODS
        answer.headers["Access-Control-Allow-Headers"] = HEADERS
        answer.headers["Access-Control-Max-Age"] = MAX_AGE_S
    return answer


def allow_origin(request: web.Request, answer: web.StreamResponse) -> None:
    """Let a dashboard's page read the answer."""
    if not _origins(request.app):
        return
    answer.headers.add("Vary", "Origin")
    if _is_allowed(request.app, request.headers):
        answer.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        answer.headers["Access-Control-Expose-Headers"] = EXPOSED


def is_own_page(request: web.Request) -> bool:
    """Whether a WebSocket may be opened: browsers do not ask before, so the server has to look.

    By pages that the operator has named, by those of this very host, and by what is no browser.
    """
    origin = request.headers.get("Origin", "")
    if not origin or _is_allowed(request.app, request.headers):
        return True
    return origin.lower().partition("://")[2] == request.headers.get("Host", "").lower()


def _is_allowed(app: web.Application, headers: MultiMapping[str]) -> bool:
    return headers.get("Origin", "").lower() in _origins(app)


def _origins(app: web.Application) -> frozenset[str]:
    accounts = app.get(ACCOUNTS)
    return frozenset() if accounts is None else accounts.options.cors_origins
