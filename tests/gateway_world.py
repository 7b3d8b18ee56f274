"""A gateway on in-memory twins: its HTTP port on loopback, what it wrote, and its keys.

Shared by the unit tests of the gateway and by contract tests of its stores.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse, ClientSession

from connectors.kafka_log import OutRecord
from connectors.keys import KeyStore, hash_key
from connectors.memory import MemoryKeyCache, MemoryKeySource, MemoryTokenBuckets
from ingest_gateway.app import create_app, make_runner
from ingest_gateway.auth import Authenticator
from ingest_gateway.handlers import HttpHandlers, HttpOptions
from ingest_gateway.health import Readiness
from ingest_gateway.ingest import IngestOptions, Ingestor
from ingest_gateway.lane import Lanes
from ingest_gateway.limits import RateGuard
from ingest_gateway.metrics import GatewayMetrics
from ingest_gateway.producer import OnSettled, SinkFullError
from schemas.project_settings import parse_settings
from schemas.records import ProjectKey
from schemas.topics import EVENTS_ERRORS, EVENTS_RAW, EVENTS_REJECTED, REPLAY_CHUNKS
from schemas.v1.common_pb2 import DeviceType
from schemas.v1.events_pb2 import Event, EventType
from schemas.v1.ingest_pb2 import EventBatch, IngestResponse
from schemas.v1.pipeline_pb2 import ErrorEvent, RawBatch, RejectedRecord
from schemas.v1.replay_pb2 import ReplayChunk
from tests.factories import WINDOWS, make_event

WRITE_KEY = "gs_live_" + "a1B2" * 8
READ_KEY = "gs_api_" + "c3D4" * 8
PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"
PROTOBUF = "application/x-protobuf"


class MemorySink:
    """A `RecordSink` that keeps what it is given; can be full, or fail, or hold back its answer."""

    def __init__(self) -> None:
        self.records: list[OutRecord] = []
        self.is_full = False
        self.is_failing = False
        self.may_acknowledge = asyncio.Event()
        self.may_acknowledge.set()
        self._waiting: list[asyncio.Task[None]] = []

    def submit(self, records: Sequence[OutRecord], on_settled: OnSettled) -> None:
        """See `RecordSink.submit`."""
        if self.is_full:
            raise SinkFullError("told so")
        if self.may_acknowledge.is_set():
            self._settle(records, on_settled)
        else:
            self._waiting.append(asyncio.create_task(self._settle_later(records, on_settled)))

    async def _settle_later(self, records: Sequence[OutRecord], on_settled: OnSettled) -> None:
        await self.may_acknowledge.wait()
        self._settle(records, on_settled)

    def _settle(self, records: Sequence[OutRecord], on_settled: OnSettled) -> None:
        if self.is_failing:
            on_settled("told so")
            return
        self.records += records
        on_settled(None)

    async def check(self) -> str | None:
        """See `RecordSink.check`."""
        return "told so" if self.is_full or self.is_failing else None

    def raw(self) -> list[RawBatch]:
        """What went to the topic of raw events."""
        return [RawBatch.FromString(record.value) for record in self._of(EVENTS_RAW.name)]

    def errors(self) -> list[ErrorEvent]:
        """What went to the topic of errors."""
        return [ErrorEvent.FromString(record.value) for record in self._of(EVENTS_ERRORS.name)]

    def rejected(self) -> list[RejectedRecord]:
        """What went to the topic of refused events."""
        found = self._of(EVENTS_REJECTED.name)
        return [RejectedRecord.FromString(record.value) for record in found]

    def chunks(self) -> list[ReplayChunk]:
        """What went to the topic of replay chunks."""
        return [ReplayChunk.FromString(record.value) for record in self._of(REPLAY_CHUNKS.name)]

    def _of(self, topic: str) -> list[OutRecord]:
        return [record for record in self.records if record.topic == topic]


def make_key(
    text: str = WRITE_KEY,
    *,
    project_id: str = PROJECT,
    permissions: Sequence[str] = ("write",),
    rate_limit_per_s: int = 1000,
    burst: int = 5000,
    is_active: bool = True,
    expires_at_ms: int | None = None,
    allowed_domains: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> ProjectKey:
    """The row of a key with this text."""
    return ProjectKey(
        key_hash=hash_key(text),
        project_id=project_id,
        permissions=frozenset(permissions),
        rate_limit_per_s=rate_limit_per_s,
        burst=burst,
        is_active=is_active,
        expires_at_ms=expires_at_ms,
        allowed_domains=tuple(allowed_domains),
        settings=parse_settings(settings or {}),
    )


@dataclass
class World:
    """A running gateway and everything it touches."""

    url: str
    session: ClientSession
    sink: MemorySink
    source: MemoryKeySource
    cache: MemoryKeyCache
    buckets: MemoryTokenBuckets
    metrics: GatewayMetrics
    ingestor: Ingestor
    lanes: Lanes
    headers: dict[str, str] = field(
        default_factory=lambda: {"X-GoSight-Key": WRITE_KEY, "Content-Type": PROTOBUF}
    )

    async def post(
        self,
        body: bytes,
        path: str = "/v1/events",
        headers: Mapping[str, str | None] | None = None,
    ) -> ClientResponse:
        """POST; headers of None take one of the usual ones away. The body is read."""
        sent = {**self.headers, **(headers or {})}
        response = await self.session.post(
            self.url + path,
            data=body,
            headers={name: value for name, value in sent.items() if value is not None},
            skip_auto_headers=("Content-Type", "User-Agent"),
        )
        await response.read()
        return response

    async def send(self, batch: EventBatch, **headers: str) -> IngestResponse:
        """POST a batch that is taken; the answer's message."""
        response = await self.post(batch.SerializeToString(), headers=headers)
        assert response.status == 202, await response.text()
        return IngestResponse.FromString(await response.read())


@asynccontextmanager
async def gateway_world(
    *,
    http: HttpOptions | None = None,
    ingest: IngestOptions | None = None,
    alias_path: str = "",
    fresh_s: float = 5.0,
) -> AsyncIterator[World]:
    """A gateway with one write key and one read key of one project."""
    sink = MemorySink()
    source = MemoryKeySource()
    source.add(make_key())
    source.add(make_key(READ_KEY, permissions=("read",)))
    cache = MemoryKeyCache()
    buckets = MemoryTokenBuckets()
    metrics = GatewayMetrics()
    keys = KeyStore(source, cache, fresh_s=fresh_s)
    ingestor = Ingestor(
        Authenticator(keys, now_ms),
        RateGuard(buckets),
        sink,
        metrics,
        ingest or IngestOptions(ip_hash_secret=b"secret"),
    )
    readiness = Readiness({"kafka": sink.check, "postgres": keys.check})
    options = http or HttpOptions()
    handlers = HttpHandlers(ingestor, readiness, metrics, options)
    runner = make_runner(create_app(handlers, alias_path), drain_timeout_s=5.0)
    await runner.setup()
    assert runner.server is not None
    lanes = Lanes(ingestor, metrics, options, handlers.gate, runner.server)
    server = await asyncio.get_running_loop().create_server(lanes.connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with ClientSession(auto_decompress=False) as session:
            yield World(
                f"http://127.0.0.1:{port}",
                session,
                sink,
                source,
                cache,
                buckets,
                metrics,
                ingestor,
                lanes,
            )
    finally:
        server.close()
        await lanes.close(5.0)
        await runner.cleanup()


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def make_batch(
    count: int = 10, session: str | None = None, kind: EventType | None = None
) -> EventBatch:
    """A batch as a browser sends it now: page views and clicks of one session."""
    session = session or str(uuid.uuid4())
    batch = EventBatch(sent_at=now_ms(), sdk_version="1.0.0")
    usual = (EventType.EVENT_TYPE_PAGE_VIEW, EventType.EVENT_TYPE_CLICK)
    for place in range(count):
        event = make_event(
            str(uuid.uuid4()), session, at_ms=now_ms() - 1000 + place, kind=kind or usual[place % 2]
        )
        event.anonymous_id = "visitor-1"
        event.device.user_agent = WINDOWS
        event.device.device_type = DeviceType.DEVICE_TYPE_DESKTOP
        batch.events.append(event)
    return batch


def make_error(message: str = "x is not a function", session: str = "s-1") -> Event:
    """A script error as a browser sends it."""
    event = make_event(str(uuid.uuid4()), session, at_ms=now_ms())
    event.ClearField("page_view")
    event.event_type = EventType.EVENT_TYPE_JS_ERROR
    event.user_id = "user-7"
    event.anonymous_id = "visitor-1"
    event.js_error.message = message
    event.js_error.error_type = "TypeError"
    event.js_error.stack = "TypeError: x\n  at buy (https://shop.example/app.js:10:5)"
    return event
