"""From records of the raw topic to rows of the table `events`, column-wise.

In: `PolledBatch` of gosight.events.raw. Out: one `EnrichedChunk`: an Arrow table whose columns are
those of `events`, in log order, plus what is needed to drop duplicates and to keep the ledger.
A record that cannot be read becomes a `Poison`, its neighbours go on.

What repeats is done once: pages, devices and request facts are built once per distinct value and
spread over the rows by index, user agents and addresses are looked up once per distinct text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from flows.core.agents import agent_of, merge_client_agent
from flows.core.enrich import (
    Agent,
    AgentParser,
    PlaceFinder,
    campaign_of,
    path_of,
    referrer_domain_of,
)
from flows.core.payload_columns import SPARSE_TYPES, SparseColumns
from schemas.codec import CodecError, custom_json, decode_raw, event_identity, payload_json
from schemas.codec import normal_session_id as session_uuid_of
from schemas.event_types import NAME_BY_NUMBER
from schemas.identifiers import corrected_time_ms
from schemas.log import PolledBatch
from schemas.payload_text import EMPTY_JSON
from schemas.reasons import RejectReason
from schemas.records import RETENTION_DAYS_MAX
from schemas.v1.common_pb2 import DeviceInfo, DeviceType, PageContext
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch

MINUTE_MS = 60_000
CACHE_ENTRIES = 50_000
TIME_MS_END = 4_102_444_800_000  # The year 2100.

_DEVICE_NAMES = {
    DeviceType.DEVICE_TYPE_UNSPECIFIED: "",
    DeviceType.DEVICE_TYPE_DESKTOP: "desktop",
    DeviceType.DEVICE_TYPE_TABLET: "tablet",
    DeviceType.DEVICE_TYPE_MOBILE: "mobile",
}

_TIME = pa.timestamp("ms", tz="UTC")
_TEXT = pa.string()

# Columns with a value of their own for every event.
DENSE_TYPES: dict[str, pa.DataType] = {
    "event_id": _TEXT,
    "event_type": _TEXT,
    "timestamp": _TIME,
    "payload": _TEXT,
    "custom": _TEXT,
    "source_index": pa.uint32(),
}
# Columns that events of one page, one visitor, one device, one record share.
PAGE_TYPES: dict[str, pa.DataType] = {
    "url": _TEXT,
    "path": _TEXT,
    "title": _TEXT,
    "referrer": _TEXT,
    "referrer_domain": _TEXT,
    "utm_source": _TEXT,
    "utm_medium": _TEXT,
    "utm_campaign": _TEXT,
    "utm_term": _TEXT,
    "utm_content": _TEXT,
}
VISITOR_TYPES: dict[str, pa.DataType] = {
    "user_id": _TEXT,
    "anonymous_id": _TEXT,
    "page_view_id": _TEXT,
    "channel_type": _TEXT,
    "external_id": _TEXT,
    "handshake_token": _TEXT,
}
DEVICE_TYPES: dict[str, pa.DataType] = {
    "browser": _TEXT,
    "browser_version": _TEXT,
    "os": _TEXT,
    "os_version": _TEXT,
    "device_type": _TEXT,
    "is_bot": pa.bool_(),
    "screen_width": pa.uint32(),
    "screen_height": pa.uint32(),
    "viewport_width": pa.uint32(),
    "viewport_height": pa.uint32(),
    "device_pixel_ratio": pa.float32(),
    "language": _TEXT,
    "timezone": _TEXT,
}
RECORD_TYPES: dict[str, pa.DataType] = {
    "project_id": _TEXT,
    "session_id": _TEXT,
    "sdk_version": _TEXT,
    "ip": _TEXT,
    "country": _TEXT,
    "country_code": _TEXT,
    "region": _TEXT,
    "city": _TEXT,
    "received_at": _TIME,
    "retain_days": pa.uint16(),
    "source_topic": _TEXT,
    "source_partition": pa.uint32(),
    "source_offset": pa.uint64(),
}
COLUMN_TYPES = {
    **RECORD_TYPES,
    **DENSE_TYPES,
    **PAGE_TYPES,
    **VISITOR_TYPES,
    **DEVICE_TYPES,
    **SPARSE_TYPES,
}


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that cannot be read: where it was, what it held, and why."""

    offset: int
    value: bytes
    reason: RejectReason
    detail: str
    event_count: int
    project_id: str  # As the record's key says; empty if it does not.
    created_ms: int


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """What the ledger and the duplicate filter need of one record.

    Its rows are `row_first` up to, not including, `row_end` of the chunk's table.
    """

    offset: int
    project_id: str
    session_id: str
    received_at_ms: int
    minute_ms: int  # Start of the minute of receipt.
    row_first: int
    row_end: int
    event_count: int  # As stamped by the gateway.


@dataclass(frozen=True, slots=True)
class Refusal:
    """Events that an earlier stage refused and put into the dead-letter topic."""

    project_id: str
    minute_ms: int
    reason: str
    event_count: int


@dataclass(frozen=True, slots=True)
class PageView:
    """One page view for the live counters; `row` is its place in the chunk's table."""

    row: int
    project_id: str
    path: str
    minute_ms: int


@dataclass(frozen=True, slots=True)
class EnrichedChunk:
    """Rows of consecutive records of one partition; see `flows.core.blocks.Chunk`."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    pinned_last: int | None
    table: pa.Table
    event_ids: Sequence[str]  # One a row.
    records: Sequence[RecordFacts]
    page_views: Sequence[PageView]
    poisons: Sequence[Poison]
    refusals: Sequence[Refusal] = ()

    @property
    def row_count(self) -> int:
        """Rows of the table."""
        return len(self.event_ids)


class _Shared:
    """Distinct values of a group of columns, and which of them each row has."""

    def __init__(self, types: dict[str, pa.DataType]) -> None:
        self._types = types
        self.values: list[tuple[Any, ...]] = []
        self.index: list[int] = []
        self._place_of: dict[tuple[Any, ...], int] = {}
        self._last: tuple[Any, ...] = ()
        self._last_place = -1

    def add(self, value: tuple[Any, ...]) -> None:
        if value is not self._last:  # Neighbours mostly share the very same, cached, value.
            place = self._place_of.get(value)
            if place is None:
                place = self._place_of[value] = len(self.values)
                self.values.append(value)
            self._last, self._last_place = value, place
        self.index.append(self._last_place)

    def columns(self) -> Iterator[tuple[str, pa.Array]]:
        index = pa.array(self.index, pa.int32())
        for place, (name, kind) in enumerate(self._types.items()):
            yield name, pa.array([value[place] for value in self.values], kind).take(index)


@dataclass(slots=True)
class _Rows:
    """The chunk being built; `truncate` takes back the rows of a record that failed half-way."""

    dense: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in DENSE_TYPES})
    sparse: SparseColumns = field(default_factory=SparseColumns)
    pages: _Shared = field(default_factory=lambda: _Shared(PAGE_TYPES))
    visitors: _Shared = field(default_factory=lambda: _Shared(VISITOR_TYPES))
    devices: _Shared = field(default_factory=lambda: _Shared(DEVICE_TYPES))
    requests: _Shared = field(default_factory=lambda: _Shared(RECORD_TYPES))
    records: list[RecordFacts] = field(default_factory=list)
    page_views: list[PageView] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        return len(self.dense["event_id"])

    def truncate(self, row_count: int) -> None:
        for column in (
            *self.dense.values(),
            self.pages.index,
            self.visitors.index,
            self.devices.index,
            self.requests.index,
        ):
            del column[row_count:]
        self.sparse.truncate(row_count)
        while self.page_views and self.page_views[-1].row >= row_count:
            self.page_views.pop()

    def table(self) -> pa.Table:
        columns: dict[str, pa.Array] = {
            name: pa.array(values, DENSE_TYPES[name]) for name, values in self.dense.items()
        }
        for group in (self.pages, self.visitors, self.devices, self.requests):
            columns.update(group.columns())
        columns.update(self.sparse.arrays(self.row_count))
        return pa.table({name: columns[name] for name in COLUMN_TYPES})


PageFacts = tuple[str, ...]  # Values of PAGE_TYPES, in its order.


class RowBuilder:
    """Decodes and enriches; holds only bounded caches of pure results."""

    def __init__(self, parse_agent: AgentParser, find_place: PlaceFinder) -> None:
        self._parse_agent = parse_agent
        self._find_place = find_place
        self._devices: dict[tuple[bytes, str], tuple[Any, ...]] = {}
        self._pages: dict[bytes, PageFacts] = {}

    def build(self, polled: PolledBatch) -> EnrichedChunk:
        """All rows of one polled batch; never raises for what a record holds."""
        rows = _Rows()
        poisons: list[Poison] = []
        for place, (offset, value) in enumerate(zip(polled.offsets, polled.values, strict=True)):
            row_count = rows.row_count
            try:
                self._add_record(rows, polled, offset, value)
            except CodecError as error:
                poisons.append(poison_of(polled, place, RejectReason.UNDECODABLE, str(error)))
            except Exception as error:  # One bad record must not stop the flow.
                rows.truncate(row_count)
                detail = f"{type(error).__name__} while building rows"
                poisons.append(poison_of(polled, place, RejectReason.POISON, detail))
        return EnrichedChunk(
            topic=polled.topic,
            partition=polled.partition,
            first_offset=polled.offsets[0],
            last_offset=polled.offsets[-1],
            pinned_last=polled.pinned_last,
            table=rows.table(),
            event_ids=rows.dense["event_id"],
            records=rows.records,
            page_views=rows.page_views,
            poisons=poisons,
        )

    def _add_record(self, rows: _Rows, polled: PolledBatch, offset: int, value: bytes) -> None:
        raw = decode_raw(value)
        if not raw.project_id or not 0 < raw.received_at_ms < TIME_MS_END:
            raise CodecError("the record lacks the gateway's facts")
        if not 0 <= raw.retain_days <= RETENTION_DAYS_MAX or raw.event_count < 0:
            raise CodecError("the record's facts are out of their bounds")
        session_id = session_uuid_of(raw)
        place = self._find_place(raw.client_ip)
        request = (
            raw.project_id,
            session_id,
            raw.sdk_version,
            raw.client_ip,
            place.country,
            place.country_code,
            place.region,
            place.city,
            raw.received_at_ms,
            raw.retain_days,
            polled.topic,
            polled.partition,
            offset,
        )
        row_first = rows.row_count
        minute_ms = minute_of(raw.received_at_ms)
        for index, event in enumerate(raw.events):
            self._add_event(rows, raw, event, index, minute_ms)
            rows.requests.add(request)
        rows.records.append(
            RecordFacts(
                offset,
                raw.project_id,
                session_id,
                raw.received_at_ms,
                minute_ms,
                row_first,
                rows.row_count,
                raw.event_count or len(raw.events),
            )
        )

    def _add_event(
        self, rows: _Rows, raw: RawBatch, event: Event, index: int, minute_ms: int
    ) -> None:
        row = rows.row_count
        page = self._page(event.page)
        kind = NAME_BY_NUMBER.get(event.event_type) or f"unknown_{event.event_type}"
        member = event.WhichOneof("payload")
        user_id = event.user_id
        if member is None:
            payload_text = EMPTY_JSON
        else:
            payload = getattr(event, member)
            payload_text = payload_json(event)
            rows.sparse.put(row, member, payload)
            if member == "session_start":
                page = _with_declared(page, payload)
            elif member == "identify" and not user_id:
                user_id = payload.user_id
        if kind == "page_view":
            rows.page_views.append(PageView(row, raw.project_id, page[1], minute_ms))

        event_ids, event_types, timestamps, payloads, customs, indexes = rows.dense.values()
        event_types.append(kind)
        at_ms = corrected_time_ms(event.timestamp.millis, raw.sent_at, raw.received_at_ms)
        timestamps.append(at_ms if 0 <= at_ms < TIME_MS_END else raw.received_at_ms)
        payloads.append(payload_text)
        customs.append(custom_json(event.custom) if event.custom else EMPTY_JSON)
        indexes.append(index)
        rows.pages.add(page)
        rows.visitors.add(
            (
                user_id,
                event.anonymous_id,
                event.page_view_id,
                event.channel_type or "web",
                event.external_id,
                event.handshake_token,
            )
        )
        rows.devices.add(self._device(event.device, raw.user_agent))
        event_ids.append(event_identity(raw, event))  # Last: its length counts the rows.

    def _page(self, page: PageContext) -> PageFacts:
        key = page.SerializeToString()
        known = self._pages.get(key)
        if known is None:
            url, referrer = page.url, page.referrer
            known = (
                url,
                page.path or path_of(url),
                page.title,
                referrer,
                referrer_domain_of(referrer, url),
                *campaign_of(url),
            )
            _remember(self._pages, key, known)
        return known

    def _device(self, device: DeviceInfo, request_agent: str) -> tuple[Any, ...]:
        key = (device.SerializeToString(), request_agent)
        known = self._devices.get(key)
        if known is None:
            known = self._build_device(device, request_agent)
            _remember(self._devices, key, known)
        return known

    def _build_device(self, device: DeviceInfo, request_agent: str) -> tuple[Any, ...]:
        parsed = agent_of(self._parse_agent(device.user_agent or request_agent))
        client = Agent(
            device.browser,
            device.browser_version,
            device.os,
            device.os_version,
            _DEVICE_NAMES.get(device.device_type, ""),
        )
        agent = merge_client_agent(parsed, client)
        return (
            agent.browser,
            agent.browser_version,
            agent.os,
            agent.os_version,
            agent.device_type or "desktop",
            agent.is_bot,
            max(0, device.screen_width),
            max(0, device.screen_height),
            max(0, device.viewport_width),
            max(0, device.viewport_height),
            device.device_pixel_ratio,
            device.language,
            device.timezone,
        )


def _with_declared(page: PageFacts, payload: Any) -> PageFacts:
    """The page with what session_start declares; field by field the URL's where it does not."""
    url, path, title, referrer, domain, *from_url = page
    if payload.entry_url and not any(from_url):
        from_url = list(campaign_of(payload.entry_url))
    declared = (
        payload.utm_source.strip().lower(),
        payload.utm_medium.strip().lower(),
        payload.utm_campaign.strip(),
        payload.utm_term.strip(),
        payload.utm_content.strip(),
    )
    if any(declared):
        from_url = [mine or theirs for mine, theirs in zip(declared, from_url, strict=True)]
    return (url, path, title, referrer, payload.referrer_domain or domain, *from_url)


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= CACHE_ENTRIES:
        cache.clear()
    cache[key] = value


def minute_of(time_ms: int) -> int:
    """Start of the minute, in ms."""
    return time_ms - time_ms % MINUTE_MS


def poison_of(polled: PolledBatch, place: int, reason: RejectReason, detail: str) -> Poison:
    """The record at this place of the batch, as a poison."""
    project_id = polled.keys[place].partition(b":")[0].decode("utf-8", "replace")
    return Poison(
        polled.offsets[place],
        polled.values[place],
        reason,
        detail,
        polled.event_counts[place],
        project_id,
        polled.created_ms[place],
    )
