"""gRPC on its own port: SendBatch, SendEvents and SendReplay, without generated service code.

Messages are handed on as bytes: the handler behind all transports reads them itself, within its
limits. Packed gRPC messages are refused by the library (UNIMPLEMENTED, with what is accepted):
it would unpack them whole before anybody could look at their size.
Source: events.md, sections 1 and 7.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

from connectors.telemetry import get_logger
from ingest_gateway.answers import response_message, retry_after_text
from ingest_gateway.errors import STATUS, ErrorKind
from ingest_gateway.ingest import Ingestor
from ingest_gateway.metrics import GatewayMetrics
from ingest_gateway.request import BodyForm, IngestRequest, IngestResult, Refused, Sender

SERVICE = "gosight.IngestService"
IDENTITY_ONLY = 1  # Bit 0 of gRPC's set of packings.
STATUS_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

Ingest = Callable[[IngestRequest], Awaitable[IngestResult]]


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """Bounds of the gRPC transport. Limits of messages are those of HTTP bodies."""

    body_bytes_max: int = 256 * 1024
    replay_body_bytes_max: int = 2 * 1024 * 1024
    request_timeout_s: float = 10.0
    streams_max: int = 1_000
    is_port_shared: bool = True


class GrpcHandlers:
    """The service's methods; one object a process."""

    def __init__(self, ingestor: Ingestor, metrics: GatewayMetrics, options: GrpcOptions) -> None:
        self._ingestor = ingestor
        self._metrics = metrics
        self._options = options

    def generic_handler(self) -> grpc.GenericRpcHandler:
        """The methods by name, with bytes in and bytes out."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "SendBatch": grpc.unary_unary_rpc_method_handler(self.send_batch),
                "SendEvents": grpc.stream_unary_rpc_method_handler(self.send_events),
                "SendReplay": grpc.stream_unary_rpc_method_handler(self.send_replay),
            },
        )

    async def send_batch(self, body: bytes, context: Any) -> bytes:
        """SendBatch: one batch, one answer."""
        started_s = time.perf_counter()
        limit = self._options.body_bytes_max
        result = await self._ingest(body, _sender(context), limit, self._ingestor.ingest)
        self._metrics.observe_duration("SendBatch", time.perf_counter() - started_s)
        return await _answer(result, context)

    async def send_events(self, bodies: AsyncIterator[bytes], context: Any) -> bytes:
        """SendEvents: a stream of batches, one answer with totals when it ends."""
        limit = self._options.body_bytes_max
        total = await self._ingest_all(bodies, context, limit, self._ingestor.ingest)
        return await _answer(total, context)

    async def send_replay(self, bodies: AsyncIterator[bytes], context: Any) -> bytes:
        """SendReplay: a stream of replay chunks, one answer with totals when it ends."""
        limit = self._options.replay_body_bytes_max
        total = await self._ingest_all(bodies, context, limit, self._ingestor.ingest_replay)
        return await _answer(total, context)

    async def _ingest_all(
        self, bodies: AsyncIterator[bytes], context: Any, limit: int, ingest: Ingest
    ) -> IngestResult:
        """Take the messages one after the other; the first error ends the stream.

        Indexes of refused events count through the whole stream. What was acknowledged before an
        error stays taken: the totals in the error's answer are lost, and a repeat is filtered by
        the events' ids.
        """
        sender = _sender(context)
        total = IngestResult(BodyForm.PROTOBUF)
        is_empty = True
        while True:
            try:
                async with asyncio.timeout(self._options.request_timeout_s):
                    body = await anext(bodies, None)
            except TimeoutError:
                # A stream that says nothing holds one of the places that all clients share.
                self._metrics.batches[ErrorKind.TIMEOUT.value.lower()] += 1
                return IngestResult(BodyForm.PROTOBUF, ErrorKind.TIMEOUT)
            if body is None:
                break
            is_empty = False
            result = await self._ingest(body, sender, limit, ingest)
            if result.error is not None:
                return result
            first_index = total.accepted + total.refused_count
            total.accepted += result.accepted
            total.refused_count += result.refused_count
            total.refused += [
                Refused(first_index + index, event_id, reason)
                for index, event_id, reason in result.refused
            ]
            del total.refused[20:]
        if is_empty:
            total.error = ErrorKind.INVALID_BODY
        return total

    async def _ingest(
        self, body: bytes, sender: Sender, limit: int, ingest: Ingest
    ) -> IngestResult:
        if len(body) > limit:
            self._metrics.batches[ErrorKind.TOO_LARGE.value.lower()] += 1
            return IngestResult(BodyForm.PROTOBUF, ErrorKind.TOO_LARGE)
        received_at_ms = time.time_ns() // 1_000_000
        request = IngestRequest(body, BodyForm.PROTOBUF, "identity", sender, received_at_ms)
        try:
            return await ingest(request)
        except Exception:
            # The other place that may catch everything: see `handlers`.
            get_logger().exception("request_failed")
            return IngestResult(BodyForm.PROTOBUF, ErrorKind.INTERNAL)


async def start_grpc(handlers: GrpcHandlers, address: str, options: GrpcOptions) -> Any:
    """Listen on `address` (host:port, port 0 for any); gives (server, port).

    Several processes may share the port if the options say so.

    Raises:
        OSError: the port cannot be had.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", int(options.is_port_shared)),
            ("grpc.max_receive_message_length", options.replay_body_bytes_max + 1024),
            ("grpc.compression_enabled_algorithms_bitset", IDENTITY_ONLY),
            ("grpc.max_metadata_size", 16 * 1024),
            ("grpc.max_concurrent_streams", options.streams_max),
            # A connection that says nothing is not kept for ever.
            ("grpc.max_connection_idle_ms", 300_000),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ],
        maximum_concurrent_rpcs=options.streams_max,
    )
    server.add_generic_rpc_handlers((handlers.generic_handler(),))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen for gRPC on {address}") from error
    await server.start()
    return server, port


async def _answer(result: IngestResult, context: Any) -> bytes:
    """The answer's bytes; an error ends the call with its status instead."""
    if result.error is None:
        return response_message(result).SerializeToString()
    retry_after = retry_after_text(result)
    if retry_after is not None:
        context.set_trailing_metadata((("retry-after", retry_after),))
    code = STATUS_BY_NUMBER[STATUS[result.error].grpc]
    await context.abort(code, result.error.value)
    raise AssertionError("abort always raises")


def _sender(context: Any) -> Sender:
    metadata = dict(context.invocation_metadata() or ())

    def text(name: str) -> str:
        value = metadata.get(name, "")
        return value if isinstance(value, str) else ""

    return Sender(
        presented_key=text("x-gosight-key"),
        origin=text("origin") or None,
        address=_peer_address(context.peer()),
        user_agent=text("user-agent"),
        dnt=text("dnt"),
        gpc=text("sec-gpc"),
    )


def _peer_address(peer: str) -> str:
    """The address in gRPC's `ipv4:1.2.3.4:5` or `ipv6:%5B::1%5D:5`; empty for other kinds."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return unquote(rest).rpartition(":")[0].strip("[]")
