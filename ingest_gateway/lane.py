"""A short way for the requests that a gateway mostly gets, in front of the HTTP application.

In: connections. Out: answers to plain `POST /v1/events` requests; a connection that brings anything
else (another path or method, a query, a chunked body, `Expect`, requests sent without waiting for
answers, a head or body that is slow or too large) is handed to aiohttp with all that it sent, and
stays there. So there is one implementation of everything unusual, and it is not here.
Guarantees: the first head of a connection is read by aiohttp's own parser; a later one is known
only if it repeats that head but for the digits of its length. Answers are those of `handlers`.

Measured with keep-alive connections and batches of ten events: 9 microseconds a request against
about 60 through the application, of a total of 230 (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from connectors.telemetry import get_logger
from ingest_gateway.answers import CONTENT_TYPE, response_bytes, retry_after_text
from ingest_gateway.app import KEEPALIVE_TIMEOUT_S
from ingest_gateway.bodies import body_encoding, body_form, sender_of
from ingest_gateway.errors import STATUS, ErrorKind, RefusedError
from ingest_gateway.handlers import Gate, HttpOptions
from ingest_gateway.ingest import Ingestor
from ingest_gateway.metrics import GatewayMetrics
from ingest_gateway.origins import cors_headers
from ingest_gateway.request import BodyForm, IngestRequest, IngestResult, Sender

ROUTE = "/v1/events"
HEAD_BYTES_MAX = 8 * 1024
HEAD_END = b"\r\n\r\n"
LENGTH_NAME = b"content-length:"
LENGTH_DIGITS_MAX = 9
# A request that is not there by then is aiohttp's, which has the time limits.
PATIENCE_S = 1.0
SWEEP_S = 0.5
# Headers that ask for what only aiohttp does.
UNUSUAL = frozenset({"transfer-encoding", "expect", "upgrade", "connection", "trailer", "te"})

MakeHandler = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class Head:
    """One request's head, known by its bytes before and after the digits of its length."""

    before: bytes
    after: bytes  # With the empty line.
    sender: Sender
    form: BodyForm
    encoding: str

    def stands_in(self, buffer: bytes, end: int) -> bool:
        """Whether the head up to `end` is this one but for the digits of its length."""
        after = end - len(self.after)
        digits = buffer[len(self.before) : after]
        return (
            buffer.startswith(self.before)
            and buffer.startswith(self.after, after)
            and digits.isdigit()
            and len(digits) <= LENGTH_DIGITS_MAX
        )


class Lanes:
    """All connections of a process that are not aiohttp's (yet); `connect` makes one."""

    def __init__(
        self,
        ingestor: Ingestor,
        metrics: GatewayMetrics,
        options: HttpOptions,
        gate: Gate,
        make_handler: MakeHandler,
    ) -> None:
        """`make_handler` makes the aiohttp protocol that a connection is handed to."""
        self.ingestor = ingestor
        self.metrics = metrics
        self.options = options
        self.gate = gate
        self.make_handler = make_handler
        self.loop = asyncio.get_running_loop()
        self.open: set[Lane] = set()
        self.tasks: set[asyncio.Task[None]] = set()  # Keeps them alive.
        self.is_closing = False
        self._sweep_timer = self.loop.call_later(SWEEP_S, self._sweep)

    def connect(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return Lane(self)

    async def close(self, timeout_s: float) -> None:
        """Answer what is being worked on, close the rest."""
        self.is_closing = True
        self._sweep_timer.cancel()
        for lane in list(self.open):
            lane.close_if_idle()
        deadline = time.monotonic() + timeout_s
        while self.open and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for lane in list(self.open):
            lane.abort()

    def _sweep(self) -> None:
        now_s = self.loop.time()
        for lane in list(self.open):
            lane.check_time(now_s)
        self._sweep_timer = self.loop.call_later(SWEEP_S, self._sweep)


class Lane(asyncio.Protocol):
    """One connection. `_is_busy` from a whole request to its answer; nothing is read meanwhile."""

    __slots__ = (
        "_buffer",
        "_head",
        "_is_busy",
        "_lanes",
        "_since_s",
        "_started_s",
        "_transport",
    )

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._buffer = b""
        self._head: Head | None = None
        self._is_busy = False
        self._since_s = lanes.loop.time()
        self._started_s = 0.0
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._lanes.open.add(self)
        if self._lanes.is_closing:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """The client is gone; what it sent in whole goes its way."""
        self._lanes.open.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of several."""
        if self._buffer:
            self._buffer += data
        else:
            self._buffer = bytes(data)
            self._since_s = self._lanes.loop.time()
        if not self._is_busy:
            self._read()
        elif len(self._buffer) > HEAD_BYTES_MAX:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client does not read its answers: it need not send more."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._transport.resume_reading()

    def check_time(self, now_s: float) -> None:
        """Hand over a request that is slow to come, close a connection that is silent for long."""
        if self._is_busy:
            return
        if self._buffer:
            if now_s - self._since_s > PATIENCE_S:
                self._hand_over()
        elif now_s - self._since_s > KEEPALIVE_TIMEOUT_S:
            self._transport.close()

    def close_if_idle(self) -> None:
        """Close unless a request is being worked on; then its answer closes."""
        if not self._is_busy:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _read(self) -> None:
        """Serve the request in the buffer if it is whole and plain."""
        buffer = self._buffer
        end = buffer.find(HEAD_END, 0, HEAD_BYTES_MAX)
        if end < 0:
            if len(buffer) >= HEAD_BYTES_MAX:
                self._hand_over()
            return
        end += len(HEAD_END)
        head = self._head
        if head is None or not head.stands_in(buffer, end):
            head = self._head = self._parse(buffer[:end])
            if head is None:
                self._hand_over()
                return
        whole = end + int(buffer[len(head.before) : end - len(head.after)])
        if whole - end > self._lanes.options.body_bytes_max or len(buffer) > whole:
            self._hand_over()
        elif len(buffer) == whole:
            self._buffer = b""
            self._serve(head, buffer[end:])

    def _parse(self, data: bytes) -> Head | None:
        """The head in these bytes; None if the request is not for the lane."""
        lowered = data.lower()
        at = lowered.find(LENGTH_NAME)
        if at < 0 or lowered.find(LENGTH_NAME, at + 1) >= 0:
            return None
        start = at + len(LENGTH_NAME)
        start += data[start : start + 1] == b" "
        stop = data.index(b"\r\n", start)
        if not data[start:stop].isdigit() or stop - start > LENGTH_DIGITS_MAX:
            return None
        parsed = _parse_head(data, self._lanes.loop)
        if parsed is None or parsed.method != "POST" or parsed.path != ROUTE:
            return None
        if parsed.headers.get("Content-Length") != data[start:stop].decode():
            return None  # The digits stand in another header, such as X-Content-Length.
        if parsed.should_close or parsed.chunked or parsed.upgrade or parsed.version < (1, 1):
            return None
        names = [name.lower() for name in parsed.headers]
        if not UNUSUAL.isdisjoint(names) and not _is_keep_alive_only(parsed.headers, names):
            return None
        peer = self._transport.get_extra_info("peername")
        request = _HeadOfRequest(parsed.headers, peer[0] if peer else "")
        try:
            form = body_form(cast(web.Request, request))
            encoding = body_encoding(cast(web.Request, request))
        except RefusedError:
            return None
        sender = sender_of(cast(web.Request, request), self._lanes.options.trusted_proxy_count)
        if not sender.presented_key or (
            form is not BodyForm.PROTOBUF and form is not BodyForm.JSON
        ):
            return None
        return Head(data[:start], data[stop:], sender, form, encoding)

    def _serve(self, head: Head, body: bytes) -> None:
        lanes = self._lanes
        self._is_busy = True
        self._started_s = time.perf_counter()
        try:
            lanes.gate.enter()
        except RefusedError as error:
            lanes.metrics.batches[error.kind.value.lower()] += 1
            self._write(IngestResult(head.form, error.kind, error.retry_after_s))
            return
        request = IngestRequest(
            body, head.form, head.encoding, head.sender, time.time_ns() // 1_000_000
        )
        try:
            if not lanes.ingestor.ingest_now(request, self._answer):
                task = lanes.loop.create_task(self._serve_later(request))
                lanes.tasks.add(task)
                task.add_done_callback(lanes.tasks.discard)
        except Exception:
            # The answer may be repeated; the trace holds no bodies.
            get_logger().exception("request_failed")
            self._answer(IngestResult(head.form, ErrorKind.INTERNAL))

    async def _serve_later(self, request: IngestRequest) -> None:
        try:
            result = await self._lanes.ingestor.ingest(request)
        except Exception:
            get_logger().exception("request_failed")
            result = IngestResult(request.form, ErrorKind.INTERNAL)
        self._answer(result)

    def _answer(self, result: IngestResult) -> None:
        self._lanes.gate.leave()
        self._write(result)

    def _write(self, result: IngestResult) -> None:
        lanes = self._lanes
        lanes.metrics.observe_duration(ROUTE, time.perf_counter() - self._started_s)
        transport = self._transport
        self._is_busy = False
        if transport.is_closing():
            return
        origin = self._head.sender.origin if self._head is not None else None
        transport.write(answer_bytes(result, origin, is_last=lanes.is_closing))
        if lanes.is_closing:
            transport.close()
            return
        self._since_s = lanes.loop.time()
        if self._buffer:
            # It did not wait for its answer.
            self._transport.resume_reading()
            self._hand_over()

    def _hand_over(self) -> None:
        """Let aiohttp have the connection, from the first byte that was not answered."""
        self._lanes.open.discard(self)
        if self._lanes.is_closing:
            self._transport.close()
            return
        handler = self._lanes.make_handler()
        transport, buffer = self._transport, self._buffer
        self._buffer = b""
        handler.connection_made(transport)
        transport.set_protocol(handler)
        if buffer:
            handler.data_received(buffer)


@dataclass(frozen=True, slots=True)
class _HeadOfRequest:
    """What the functions of `bodies` look at; there is no query."""

    headers: Any
    remote: str
    query_string: str = ""


class _NoStream(BaseProtocol):
    """What the parser wants behind it; no body is ever fed."""


def _parse_head(data: bytes, loop: asyncio.AbstractEventLoop) -> Any:
    """aiohttp's reading of a head; None if it is none."""
    parser = HttpRequestParser(_NoStream(loop), loop, 2**16)
    try:
        messages, _is_upgraded, _tail = parser.feed_data(data)
    except HttpProcessingError:
        return None
    return messages[0][0] if len(messages) == 1 else None


def _is_keep_alive_only(headers: Any, names: list[str]) -> bool:
    unusual = UNUSUAL.intersection(names)
    return unusual == {"connection"} and headers.get("Connection", "").lower() == "keep-alive"


def answer_bytes(result: IngestResult, origin: str | None, *, is_last: bool) -> bytes:
    """The whole answer to a request of the lane."""
    body = response_bytes(result)
    status = 202 if result.error is None else STATUS[result.error].http
    head = _answer_head(status, result.form, is_last) + b"%d\r\n" % len(body)
    if origin is not None and result.error is not ErrorKind.ORIGIN_NOT_ALLOWED:
        for name, value in cors_headers(origin).items():
            head += f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")
    retry_after = retry_after_text(result)
    if retry_after is not None:
        head += b"Retry-After: " + retry_after.encode() + b"\r\n"
    return head + b"\r\n" + body


_heads: dict[tuple[int, BodyForm, bool], bytes] = {}


def _answer_head(status: int, form: BodyForm, is_last: bool) -> bytes:
    head = _heads.get((status, form, is_last))
    if head is None:
        close = "Connection: close\r\n" if is_last else ""
        head = _heads[status, form, is_last] = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"Content-Type: {CONTENT_TYPE[form]}\r\n{close}Content-Length: "
        ).encode()
    return head
