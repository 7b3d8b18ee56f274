"""An open-loop load generator for the gateway.

In: a `LoadPlan`. Out: a `LoadResult`. Requests go out on a fixed schedule, whether or not earlier
ones are answered, and latency is measured from the moment a request was meant to be sent: a gateway
that stalls is charged for everything that had to wait. Bodies are made before the start, so that
making them does not disturb the schedule; their `sent_at` is of that moment, and the gateway's
clock correction moves the events to the time of receipt.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import aiohttp
import msgspec

from cli.synthetic import Visitors
from schemas.json_batch import batch_from_json
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch, IngestResponse

# Bodies are kept in memory: about half a gigabyte.
EVENTS_MAX = 1_000_000
CONNECTIONS_MAX = 256
REQUEST_TIMEOUT_S = 30.0
_CONTENT_TYPE = {"protobuf": "application/x-protobuf", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How much, how fast, in which form."""

    gateway_url: str
    key: str
    events_per_s: float
    seconds: float
    batch: int = 10
    form: str = "protobuf"
    is_gzip: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if self.events_per_s <= 0 or self.seconds <= 0 or self.batch < 1:
            raise ValueError("rate, seconds and batch must be positive")
        if self.form not in _CONTENT_TYPE:
            raise ValueError(f"the format must be one of {', '.join(_CONTENT_TYPE)}")
        if self.events_per_s * self.seconds > EVENTS_MAX:
            raise ValueError(f"at most {EVENTS_MAX:,} events a run: lower --rate or --seconds")

    @property
    def requests(self) -> int:
        """Requests in the whole run."""
        return max(1, round(self.events_per_s * self.seconds / self.batch))

    @property
    def interval_s(self) -> float:
        """Time from one request to the next."""
        return self.batch / self.events_per_s


@dataclass(slots=True)
class LoadResult:
    """What came of it. Latencies in milliseconds from the intended time of sending."""

    requests: int = 0
    accepted: int = 0
    rejected: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the answered requests stayed within."""
        if not self.latencies_ms:
            return 0.0
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def make_bodies(plan: LoadPlan) -> list[bytes]:
    """The bodies of all requests, in the order of sending."""
    visitors = Visitors(plan.seed)
    now_ms = time.time_ns() // 1_000_000
    return [
        _body(batch, plan, now_ms) for batch in islice(visitors.batches(plan.batch), plan.requests)
    ]


def _body(batch: dict[str, object], plan: LoadPlan, now_ms: int) -> bytes:
    events = batch["events"]
    assert isinstance(events, list)
    for event in events:
        event["timestamp"] = now_ms
    body = msgspec.json.encode({**batch, "sent_at": now_ms})
    if plan.form == "protobuf":
        parsed = batch_from_json(body)
        message = EventBatch(sent_at=parsed.sent_at, sdk_version=parsed.sdk_version)
        message.events.extend(event for event in parsed.events if isinstance(event, Event))
        assert len(message.events) == len(parsed.events), "made-up events are well formed"
        body = message.SerializeToString()
    return gzip.compress(body, compresslevel=6) if plan.is_gzip else body


async def run_load(plan: LoadPlan, bodies: Sequence[bytes]) -> LoadResult:
    """Send the bodies on schedule and wait for all answers."""
    result = LoadResult()
    headers = {"Content-Type": _CONTENT_TYPE[plan.form], "X-GoSight-Key": plan.key}
    if plan.is_gzip:
        headers["Content-Encoding"] = "gzip"
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers, auto_decompress=False
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        began = time.perf_counter()
        for index, body in enumerate(bodies):
            intended = began + index * plan.interval_s
            wait_s = intended - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            group.create_task(_send(session, plan, body, intended, result))
    result.seconds = time.perf_counter() - began
    return result


async def _send(
    session: aiohttp.ClientSession,
    plan: LoadPlan,
    body: bytes,
    intended: float,
    result: LoadResult,
) -> None:
    result.requests += 1
    try:
        async with session.post(f"{plan.gateway_url}/v1/events", data=body) as answer:
            content = await answer.read()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError) as error:
        result.errors[type(error).__name__] += 1
        return
    result.latencies_ms.append((time.perf_counter() - intended) * 1000)
    if status >= 300:
        result.errors[str(status)] += 1
        return
    accepted, rejected = _counts(content, plan.form)
    result.accepted += accepted
    result.rejected += rejected


def _counts(content: bytes, form: str) -> tuple[int, int]:
    if form == "protobuf":
        message = IngestResponse.FromString(content)
        return message.events_accepted, message.events_rejected
    document = msgspec.json.decode(content)
    return document.get("events_accepted", 0), document.get("events_rejected", 0)
