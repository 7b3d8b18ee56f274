"""HTTP: each route translates its request, asks the handler behind all transports, and answers.

Routes and their meaning: events.md, section 1; statuses: `errors.STATUS` and `answers`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from connectors.telemetry import get_logger
from ingest_gateway import grpc_web
from ingest_gateway.answers import CONTENT_TYPE, response_bytes, retry_after_text
from ingest_gateway.bodies import (
    body_encoding,
    body_form,
    is_beacon,
    media_type,
    read_body,
    sender_of,
)
from ingest_gateway.errors import STATUS, ErrorKind, RefusedError
from ingest_gateway.health import Readiness
from ingest_gateway.ingest import Ingestor
from ingest_gateway.metrics import GatewayMetrics
from ingest_gateway.origins import cors_headers, is_origin_allowed, preflight_headers
from ingest_gateway.request import BodyForm, IngestRequest, IngestResult, Sender
from schemas.project_settings import public_config

CONFIG_MAX_AGE_S = 300
RETRY_AFTER_BUSY_S = 1.0
CLOSING = frozenset({ErrorKind.TIMEOUT, ErrorKind.TOO_LARGE})

Ingest = Callable[[IngestRequest], Awaitable[IngestResult]]


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Bounds of the HTTP transport."""

    body_bytes_max: int = 256 * 1024
    replay_body_bytes_max: int = 2 * 1024 * 1024
    request_timeout_s: float = 10.0
    requests_in_flight_max: int = 2_000
    trusted_proxy_count: int = 0
    has_own_metrics_port: bool = False


class Gate:
    """Bounds how many requests of a process are worked on at once."""

    __slots__ = ("_inside", "_inside_max")

    def __init__(self, inside_max: int) -> None:
        self._inside = 0
        self._inside_max = inside_max

    def enter(self, *, is_whole: bool = True) -> None:
        """Let one more in.

        Those whose bodies are still on their way may take half of the places: a crowd of slow
        clients leaves the others to requests that came whole, as nearly all do.

        Raises:
            RefusedError: UNAVAILABLE, there are too many.
        """
        places = self._inside_max if is_whole else (self._inside_max + 1) // 2
        if self._inside >= places:
            raise RefusedError(ErrorKind.UNAVAILABLE, RETRY_AFTER_BUSY_S)
        self._inside += 1

    def leave(self) -> None:
        """One is finished."""
        self._inside -= 1


class HttpHandlers:
    """The routes' methods; one object a process."""

    def __init__(
        self,
        ingestor: Ingestor,
        readiness: Readiness,
        metrics: GatewayMetrics,
        options: HttpOptions,
    ) -> None:
        self._ingestor = ingestor
        self._readiness = readiness
        self._metrics = metrics
        self._options = options
        self.gate = Gate(options.requests_in_flight_max)

    async def events(self, request: web.Request) -> web.Response:
        """POST /v1/events."""
        limit = self._options.body_bytes_max
        return await self._ingest(request, "/v1/events", limit, self._ingestor.ingest)

    async def replay(self, request: web.Request) -> web.Response:
        """POST /v1/replay."""
        limit = self._options.replay_body_bytes_max
        return await self._ingest(request, "/v1/replay", limit, self._ingestor.ingest_replay)

    async def _ingest(
        self, request: web.Request, route: str, limit: int, ingest: Ingest
    ) -> web.Response:
        started_s = time.perf_counter()
        try:
            form = body_form(request)
            result = await self._read_and_ingest(
                request, limit, form, body_encoding(request), ingest
            )
        except RefusedError as error:
            self._metrics.batches[error.kind.value.lower()] += 1
            result = IngestResult(_form_of_error(request), error.kind, error.retry_after_s)
        response = _http_response(request, result)
        self._metrics.observe_duration(route, time.perf_counter() - started_s)
        return response

    async def _read_and_ingest(
        self, request: web.Request, limit: int, form: BodyForm, encoding: str, ingest: Ingest
    ) -> IngestResult:
        self.gate.enter(is_whole=request.content.is_eof())
        try:
            body = await read_body(request, limit, self._options.request_timeout_s)
            sender = sender_of(request, self._options.trusted_proxy_count)
            return await ingest(
                IngestRequest(body, form, encoding, sender, time.time_ns() // 1_000_000)
            )
        except RefusedError:
            raise
        except Exception:
            # One of the two places that may catch everything: the client gets an answer that it
            # may repeat, the log gets the trace, which holds no bodies.
            get_logger().exception("request_failed")
            return IngestResult(form, ErrorKind.INTERNAL)
        finally:
            self.gate.leave()

    async def grpc_web(self, request: web.Request) -> web.Response:
        """POST /gosight.IngestService/SendBatch: gRPC-Web, unary. HTTP says 200 to everything."""
        started_s = time.perf_counter()
        content_type = media_type(request)
        is_text = grpc_web.CONTENT_TYPES.get(content_type)
        origin = request.headers.get("Origin")
        if is_text is None:
            return web.Response(status=415, headers=cors_headers(origin))
        try:
            result = await self._grpc_web_call(request, is_text)
        except RefusedError as error:
            self._metrics.batches[error.kind.value.lower()] += 1
            result = IngestResult(BodyForm.PROTOBUF, error.kind, error.retry_after_s)
        is_foreign = result.error is ErrorKind.ORIGIN_NOT_ALLOWED
        headers = {} if is_foreign else cors_headers(origin)
        retry_after = retry_after_text(result)
        if retry_after is not None:
            headers["Retry-After"] = retry_after
        if result.error is None:
            message, status, text = response_bytes(result), 0, ""
        else:
            message, status, text = None, STATUS[result.error].grpc, result.error.value
        response = web.Response(
            body=grpc_web.write_answer(message, status, text, is_text=is_text),
            content_type=content_type,
            headers=headers,
        )
        self._metrics.observe_duration("SendBatch (grpc-web)", time.perf_counter() - started_s)
        return response

    async def _grpc_web_call(self, request: web.Request, is_text: bool) -> IngestResult:
        async def ingest(outer: IngestRequest) -> IngestResult:
            call = grpc_web.read_call(
                outer.body,
                is_text=is_text,
                grpc_encoding=request.headers.get("grpc-encoding", ""),
                http_encoding=request.headers.get("Content-Encoding", ""),
            )
            outer.body, outer.encoding = call.message, call.encoding
            result = await self._ingestor.ingest(outer)
            result.form = BodyForm.PROTOBUF
            return result

        # Base64 is a third longer than what it stands for.
        limit = self._options.body_bytes_max * (4 if is_text else 3) // 3 + 64
        return await self._read_and_ingest(request, limit, BodyForm.PROTOBUF, "identity", ingest)

    async def config(self, request: web.Request) -> web.Response:
        """GET /v1/config: the project's settings for its SDK."""
        sender = sender_of(request, self._options.trusted_proxy_count)
        try:
            key = await self._ingestor.find_project(sender)
        except RefusedError as error:
            refused = IngestResult(BodyForm.JSON, error.kind, error.retry_after_s)
            return _http_response(request, refused)
        return web.Response(
            body=msgspec.json.encode(public_config(key.settings)),
            content_type="application/json",
            headers={
                **cors_headers(sender.origin),
                "Cache-Control": f"private, max-age={CONFIG_MAX_AGE_S}",
                "Vary": "Origin, X-GoSight-Key",
            },
        )

    async def preflight(self, request: web.Request) -> web.Response:
        """OPTIONS of any path: 204. The real check is made on the request itself.

        A preflight carries no key but in the query (`?key=`); with one, the project's list decides.
        """
        origin = request.headers.get("Origin")
        presented = request.query.get("key") if request.query_string else None
        if presented:
            try:
                address = sender_of(request, self._options.trusted_proxy_count).address
                key = await self._ingestor.find_project(Sender(presented, address=address))
            except RefusedError:
                return web.Response(status=204)
            if not is_origin_allowed(origin, key.allowed_domains):
                return web.Response(status=204)
        return web.Response(status=204, headers=preflight_headers(origin))

    async def not_found(self, _request: web.Request) -> web.Response:
        """Any other path or method."""
        return web.json_response({"error": "NOT_FOUND"}, status=404)

    async def health(self, _request: web.Request) -> web.Response:
        """GET /health: the process lives; nothing else is asked."""
        return web.json_response({"status": "ok"})

    async def ready(self, _request: web.Request) -> web.Response:
        """GET /ready: 200 if records can be taken, else 503; one entry a dependency."""
        lines = await self._readiness.lines()
        is_ready = self._readiness.is_ready(lines)
        return web.json_response(
            {"status": "ready" if is_ready else "not ready", "dependencies": lines},
            status=200 if is_ready else 503,
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        """GET /metrics: this process's figures, or where to find those of each process."""
        if self._options.has_own_metrics_port:
            text = "several processes share this port; each has its own at METRICS_PORT + number\n"
            return web.Response(status=404, text=text)
        return metrics_response(self._metrics)


def metrics_response(metrics: GatewayMetrics) -> web.Response:
    """The Prometheus text as an answer."""
    return web.Response(
        body=metrics.render(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


def _form_of_error(request: web.Request) -> BodyForm:
    """The form of an answer to a request whose body was not looked at."""
    is_protobuf = "protobuf" in request.headers.get("Content-Type", "")
    return BodyForm.PROTOBUF if is_protobuf else BodyForm.JSON


def _http_response(request: web.Request, result: IngestResult) -> web.Response:
    headers: dict[str, str] = {}
    origin = request.headers.get("Origin")
    if origin is not None and result.error is not ErrorKind.ORIGIN_NOT_ALLOWED:
        headers = cors_headers(origin)
    if result.error is None:
        if is_beacon(request):
            return web.Response(status=204, headers=headers)
        headers["Content-Type"] = CONTENT_TYPE[result.form]
        return web.Response(body=response_bytes(result), status=202, headers=headers)
    retry_after = retry_after_text(result)
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    headers["Content-Type"] = CONTENT_TYPE[result.form]
    response = web.Response(
        body=response_bytes(result), status=STATUS[result.error].http, headers=headers
    )
    if result.error in CLOSING:
        response.force_close()  # Part of the body may still be on its way.
    return response
