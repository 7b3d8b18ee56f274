"""The HTTP application: routes to handlers, nothing else."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from connectors.telemetry import get_logger
from ingest_gateway.handlers import HttpHandlers, metrics_response
from ingest_gateway.metrics import GatewayMetrics

GRPC_WEB_PATH = "/gosight.IngestService/SendBatch"
# A connection that is silent, or has not finished its headers, is closed after this long.
KEEPALIVE_TIMEOUT_S = 60.0
LINGERING_TIME_S = 2.0


def create_app(handlers: HttpHandlers, alias_path: str = "") -> web.Application:
    """The application. `alias_path` is a second path for POST /v1/events, such as `/e`."""
    app = web.Application()
    router = app.router
    posts = [("/v1/events", handlers.events), ("/v1/replay", handlers.replay)]
    if alias_path:
        posts.append(("/" + alias_path.strip("/"), handlers.events))
    posts.append((GRPC_WEB_PATH, handlers.grpc_web))
    for path, handler in posts:
        router.add_post(path, handler)
        router.add_post(path + "/", handler)
    for path, reader in (
        ("/v1/config", handlers.config),
        ("/health", handlers.health),
        ("/livez", handlers.health),
        ("/ready", handlers.ready),
        ("/readyz", handlers.ready),
        ("/metrics", handlers.metrics),
    ):
        router.add_get(path, reader)
        router.add_get(path + "/", reader)
    router.add_route("OPTIONS", "/{path:.*}", handlers.preflight)
    router.add_route("*", "/{path:.*}", handlers.not_found)
    return app


def create_metrics_app(metrics: GatewayMetrics) -> web.Application:
    """Only GET /metrics, for a port that is not public."""
    app = web.Application()

    async def render(_request: web.Request) -> web.Response:
        return metrics_response(metrics)

    app.router.add_get("/metrics", render)
    return app


class _ToOurLog(logging.Filter):
    """Says in our log what aiohttp says about a failed request, without what the client sent.

    The words hold its address; the error of a damaged request quotes the damaged line, which may be
    the one with the key, and anybody can send as many of them as they like.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the record over; it goes nowhere else."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            get_logger().debug("http_request_damaged", kind=type(error).__name__)
        else:
            get_logger().error("http_request_failed", exc_info=record.exc_info)
        return False


def make_runner(app: web.Application, drain_timeout_s: float) -> web.AppRunner:
    """A runner with our bounds; bodies stay packed as they came (see `unpack`)."""
    logger = logging.getLogger("ingest_gateway.http")
    logger.addFilter(_ToOurLog())
    return web.AppRunner(
        app,
        access_log=None,
        logger=logger,
        handle_signals=False,
        auto_decompress=False,
        keepalive_timeout=KEEPALIVE_TIMEOUT_S,
        lingering_time=LINGERING_TIME_S,
        shutdown_timeout=drain_timeout_s,
    )
