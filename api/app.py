"""The application: the route table, and around every handler what all calls share.

Each answer carries `X-Request-Id`; every failure becomes one JSON shape; every call is timed by its
route's template, never by its path.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import Histogram

from api.access import Access
from api.accounts.public_handlers import PUBLIC_TOTALS, PublicTotalsCache
from api.accounts.services import ACCOUNTS, AccountServices
from api.auth import ALLOWANCE, CALLER, authorize, take_for_address
from api.connections import CONNECTIONS, Connections, note_use
from api.cors import allow_origin, answer_preflight
from api.errors import ApiError, ErrorCode, error_answer, from_http_error
from api.openapi import build_document
from api.openapi_handlers import OPENAPI, encode_document
from api.parameters import NoParameters, parse_parameters
from api.realtime.service import REALTIME, Realtime
from api.routes import BASE, DATA_ROUTES, ROUTES, Route
from api.service_handlers import watch_dependencies
from api.services import SERVICES, Services
from connectors.errors import RetryableError
from connectors.telemetry import get_logger, gosight_version

BODY_BYTES_MAX = 1024 * 1024  # Source: api.md, section 1.
DURATION = Histogram(
    "gosight_api_request_duration_seconds",
    "Time to answer, by route template and status class.",
    ["method", "route", "status"],
)
# Answers are data: no browser may show them as a page, frame them or guess what they are.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
_REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{8,64}")


def create_app(
    services: Services, accounts: AccountServices | None = None, realtime: Realtime | None = None
) -> web.Application:
    """An application on the given services; it opens and closes nothing itself.

    Without `accounts` it has no accounts and no limits: only projects' keys get in. Without
    `realtime` nobody gets a WebSocket.
    """
    app = web.Application(
        middlewares=[note_use, _observe, _answer_errors], client_max_size=BODY_BYTES_MAX
    )
    app[CONNECTIONS] = Connections()
    app[SERVICES] = services
    if accounts is not None:
        app[ACCOUNTS] = accounts
    if realtime is not None:
        app[REALTIME] = realtime
        app.on_shutdown.append(realtime.say_goodbye)
    app[PUBLIC_TOTALS] = PublicTotalsCache()
    app.on_response_prepare.append(_put_headers)
    app.cleanup_ctx.append(watch_dependencies)
    routes = ROUTES if accounts is not None else DATA_ROUTES
    app[OPENAPI] = encode_document(build_document(routes, gosight_version()))
    paths = [route.path.split("/") for route in routes]
    for route, path in zip(routes, paths, strict=True):
        app.router.add_route(route.method, _pattern(path, paths), _guarded(route))
    return app


def _pattern(path: Sequence[str], paths: Sequence[Sequence[str]]) -> str:
    """The path for the router: a parameter is any text but a word that another path has there.

    Else `/alerts/history` would be an alert for the methods that it has not itself. Ids of visitors
    and sessions are their sender's, so braces must do, which aiohttp takes for none by itself.
    """
    segments = list(path)
    for place, segment in enumerate(path):
        if segment.startswith("{"):
            besides = {each[place] for each in paths if each[:place] == path[:place] != each}
            words = "|".join(sorted(re.escape(word) for word in besides if word[:1] != "{"))
            but = f"(?!(?:{words})(?:/|$))" if words else ""
            segments[place] = f"{segment[:-1]}:{but}[^/]+}}"
    return "/".join(segments)


def _guarded(route: Route) -> Handler:
    """The route's handler behind the role and the limit that the table names."""
    if not route.path.startswith(BASE):
        return route.handler  # For the machines that watch this process.

    async def handle(request: web.Request) -> web.StreamResponse:
        if route.access is Access.PUBLIC:
            await take_for_address(request, route.rate)
        else:
            request[CALLER] = await authorize(request, route)
        if route.parameters in (None, NoParameters):
            parse_parameters(NoParameters, request.query)
        return await route.handler(request)

    return handle


@web.middleware
async def _observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.perf_counter()
    with structlog.contextvars.bound_contextvars(request_id=_id_of(request)):
        preflight = answer_preflight(request)
        answer = await handler(request) if preflight is None else preflight
    if answer.status == 101:
        return answer  # How long a WebSocket was open is no time to answer.
    resource = request.match_info.route.resource
    DURATION.labels(
        method=request.method if resource else "other",
        route=resource.canonical if resource else "unknown",
        status=f"{answer.status // 100}xx",
    ).observe(time.perf_counter() - started)
    return answer


def _id_of(request: web.Request) -> str:
    """What the client calls it, if that is an id, else one of our own; the same each time."""
    if REQUEST_ID not in request:
        offered = request.headers.get("X-Request-Id", "")
        request[REQUEST_ID] = offered if _REQUEST_ID.fullmatch(offered) else uuid4().hex
    return request[REQUEST_ID]


async def _put_headers(request: web.Request, answer: web.StreamResponse) -> None:
    """What every answer says; here, because a stream is begun before its handler ends."""
    answer.headers["X-Request-Id"] = _id_of(request)
    for name, value in SECURITY_HEADERS.items():
        answer.headers.setdefault(name, value)
    if ALLOWANCE in request:
        answer.headers.update(request[ALLOWANCE].headers(request.app[SERVICES].now_ms()))
    allow_origin(request, answer)


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into the one JSON shape; a bug is logged and answered without details."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_answer(error)
    except web.HTTPException as error:
        return error_answer(from_http_error(error))
    except RetryableError as error:
        get_logger().warning("store_unavailable", route=_route(request), error=str(error))
        return error_answer(
            ApiError(ErrorCode.UNAVAILABLE, "a store is down; try again in a few seconds")
        )
    except Exception:
        get_logger().exception("request_failed", route=_route(request))
        return error_answer(ApiError(ErrorCode.INTERNAL_ERROR, "the request could not be answered"))


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"
