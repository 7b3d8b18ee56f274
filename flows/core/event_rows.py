"""From records of the raw topic to rows of the table `events`, one record after the other.

In: `PolledBatch` of gosight.events.raw. Out: one `EnrichedChunk`: an Arrow table whose columns are
those of `events`, in log order, plus what is needed to drop duplicates and to keep the ledger.
A record that cannot be read becomes a `Poison`, its neighbours go on. Any record is read here;
`flows.core.event_blocks` makes the same of many plain ones, for less.

What repeats is done once: pages, devices and request facts are built once per distinct value and
spread over the rows by index, user agents and addresses are looked up once per distinct text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from flows.core.enrich import AgentParser, PlaceFinder
from flows.core.event_columns import Columns, Shared, no_rows
from flows.core.event_facts import (
    TIME_MS_END,
    UNKNOWN_DEVICE_TYPE,
    PageFacts,
    check_facts,
    device_agent,
    identities,
    page_facts,
    remember,
    with_declared,
)
from flows.core.payloads import payload_readers
from flows.core.poisons import Poison, poison_of
from schemas.codec import CodecError, custom_json, decode_closed
from schemas.event_types import NAME_BY_NUMBER, NUMBER_BY_NAME
from schemas.identifiers import AHEAD_TOLERATED_MS, clock_shift_ms, session_uuid
from schemas.log import PolledBatch
from schemas.payload_text import EMPTY_JSON
from schemas.reasons import RejectReason
from schemas.v1.closed_pb2 import ClosedRawBatch
from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import IdentifyPayload, MouseMovePayload, SessionStartPayload

MINUTE_MS = 60_000
PAGE_VIEW = NUMBER_BY_NAME["page_view"]


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """What the ledger and the duplicate filter need of one record.

    Its rows are `row_first` up to, not including, `row_end` of the chunk's columns.
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
    """One page view for the live counters; `row` is its place in the chunk's columns."""

    row: int
    project_id: str
    path: str
    minute_ms: int


@dataclass(frozen=True, slots=True)
class EnrichedChunk:
    """Rows of consecutive records of one partition.

    `block` may hold the rows of more chunks: this one's begin at `block_row`.
    """

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    block: pa.Table
    event_ids: Sequence[str]  # One a row.
    records: Sequence[RecordFacts]
    page_views: Sequence[PageView]
    poisons: Sequence[Poison]
    refusals: Sequence[Refusal] = ()
    block_row: int = 0

    @property
    def row_count(self) -> int:
        """Rows of this chunk."""
        return len(self.event_ids)

    @property
    def table(self) -> pa.Table:
        """Its rows."""
        return self.block.slice(self.block_row, self.row_count)


def block_table(chunks: Sequence[EnrichedChunk]) -> pa.Table:
    """The rows of all chunks, in order, as one table."""
    parts: list[tuple[pa.Table, int, int]] = []
    for chunk in chunks:
        if not chunk.row_count:
            continue
        first, end = chunk.block_row, chunk.block_row + chunk.row_count
        if parts and parts[-1][0] is chunk.block and parts[-1][2] == first:
            first = parts.pop()[1]
        parts.append((chunk.block, first, end))
    tables = [block.slice(first, end - first) for block, first, end in parts]
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables or [no_rows()]).unify_dictionaries().combine_chunks()


@dataclass(slots=True)
class _Chunk:
    """A chunk being built."""

    columns: Columns
    records: list[RecordFacts]
    page_views: list[PageView]


class RowBuilder:
    """Decodes and enriches; holds only bounded caches of pure results."""

    def __init__(self, parse_agent: AgentParser, find_place: PlaceFinder) -> None:
        self._parse_agent = parse_agent
        self.find_place = find_place
        self._devices: dict[tuple[bytes, str], tuple[Any, ...]] = {}
        self._pages: dict[bytes, PageFacts] = {}
        self.read = payload_readers()

    def build(self, polled: PolledBatch) -> EnrichedChunk:
        """All rows of one polled batch; never raises for what a record holds."""
        chunk = _Chunk(Columns(), [], [])
        poisons: list[Poison] = []
        for place, (offset, value) in enumerate(zip(polled.offsets, polled.values, strict=True)):
            row_count = len(chunk.columns.event_ids)
            try:
                self._add_record(chunk, polled, offset, value)
            except (CodecError, DecodeError) as error:
                _take_back(chunk, row_count)
                detail = str(error) if isinstance(error, CodecError) else "not a RawBatch"
                poisons.append(poison_of(polled, place, RejectReason.UNDECODABLE, detail))
            except Exception as error:  # One bad record must not stop the flow.
                _take_back(chunk, row_count)
                detail = f"{type(error).__name__} while building rows"
                poisons.append(poison_of(polled, place, RejectReason.POISON, detail))
        return EnrichedChunk(
            topic=polled.topic,
            partition=polled.partition,
            first_offset=polled.offsets[0],
            last_offset=polled.offsets[-1],
            block=chunk.columns.table(),
            event_ids=chunk.columns.event_ids,
            records=chunk.records,
            page_views=chunk.page_views,
            poisons=poisons,
        )

    def _add_record(self, chunk: _Chunk, polled: PolledBatch, offset: int, value: bytes) -> None:
        raw = decode_closed(value)
        project_id, received_at_ms = raw.project_id, raw.received_at_ms
        check_facts(raw)
        session_id = session_uuid(project_id, raw.session_id)
        columns = chunk.columns
        row_first = len(columns.event_ids)
        minute_ms = minute_of(received_at_ms)
        self._add_events(chunk, raw, minute_ms)
        row_end = len(columns.event_ids)
        place = self.find_place(raw.client_ip)
        columns.close_record(
            (
                project_id,
                session_id,
                raw.sdk_version,
                raw.client_ip,
                *(place.country, place.country_code, place.region, place.city),
                received_at_ms,
                raw.retain_days,
                *(polled.topic, polled.partition, offset),
            ),
            row_end - row_first,
        )
        chunk.records.append(
            RecordFacts(
                offset,
                project_id,
                session_id,
                received_at_ms,
                minute_ms,
                row_first,
                row_end,
                raw.event_count or row_end - row_first,
            )
        )

    def _add_events(self, chunk: _Chunk, raw: ClosedRawBatch, minute_ms: int) -> None:
        columns = chunk.columns
        pages, visitors, devices = columns.pages, columns.visitors, columns.devices
        event_ids, event_types = columns.event_ids, columns.event_types
        payloads, timestamps_ms = columns.payloads, columns.timestamps_ms
        read = self.read
        received_at_ms = raw.received_at_ms
        shift_ms = clock_shift_ms(raw.sent_at, received_at_ms)
        latest_ms = received_at_ms + AHEAD_TOLERATED_MS
        # Neighbours mostly share the page, the device and the visitor.
        page = device = None
        visitor: tuple[str, ...] = ()
        page_place = device_place = visitor_place = 0
        events = list(raw.events)
        rows = range(len(event_ids), len(event_ids) + len(events))
        for row, event, event_id in zip(rows, events, identities(raw, events), strict=True):
            number = event.event_type
            if event.page != page:
                page = event.page
                page_place = self._page_place(columns, page)
            place = page_place
            identified = ""
            member = event.WhichOneof("payload")
            if member == "mouse_move":
                payload = event.mouse_move
                MouseMovePayload.FromString(payload)  # Damage is to be found here.
                columns.mouse_moves.append(payload)
                payloads.append(None)
            elif member is None:
                payloads.append(EMPTY_JSON)
            else:
                payload = getattr(event, member)
                text, cells = read[member](payload)
                payloads.append(text)
                if cells is not None:
                    columns.sparse.put(row, member, cells)
                elif member == "session_start":
                    place = self._declared_place(columns, page, payload)
                elif member == "identify":
                    identified = IdentifyPayload.FromString(payload).user_id
            pages.index.append(place)
            if event.device != device:
                device = event.device
                device_place = self._device_place(columns, device, raw.user_agent)
            devices.index.append(device_place)
            seen = (
                identified or event.user_id,
                event.anonymous_id,
                event.page_view_id,
                event.channel_type,
                event.external_id,
                event.handshake_token,
            )
            if seen != visitor:
                visitor = seen
                visitor_place = _visitor_place(visitors, seen)
            visitors.index.append(visitor_place)
            event_types.append(NAME_BY_NUMBER.get(number) or f"unknown_{number}")
            if number == PAGE_VIEW:
                path = self.page(page)[1]
                chunk.page_views.append(PageView(row, raw.project_id, path, minute_ms))
            at_ms = event.timestamp.millis + shift_ms
            if at_ms > latest_ms or not 0 <= at_ms < TIME_MS_END:
                at_ms = received_at_ms
            timestamps_ms.append(at_ms)
            if event.custom:
                columns.customs[row] = custom_json(event.custom)
            event_ids.append(event_id)  # Last: its length counts the rows.

    def _page_place(self, columns: Columns, page: bytes) -> int:
        place = columns.pages.places.get(page)
        return columns.pages.keep(page, self.page(page)) if place is None else place

    def _device_place(self, columns: Columns, device: bytes, request_agent: str) -> int:
        key = (device, request_agent)
        place = columns.devices.places.get(key)
        return columns.devices.keep(key, self.device(key)) if place is None else place

    def page(self, value: bytes) -> PageFacts:
        """A page by the bytes of its `PageContext`."""
        known = self._pages.get(value)
        if known is None:
            known = page_facts(PageContext.FromString(value))
            remember(self._pages, value, known)
        return known

    def _declared_place(self, columns: Columns, page: bytes, payload: bytes) -> int:
        """The place of a page with what its session_start declares."""
        declared = with_declared(self.page(page), SessionStartPayload.FromString(payload))
        place = columns.pages.places.get(declared)
        return columns.pages.keep(declared, declared) if place is None else place

    def device(self, key: tuple[bytes, str]) -> tuple[Any, ...]:
        """A device by the bytes of its `DeviceInfo` and the request's user agent."""
        known = self._devices.get(key)
        if known is None:
            known = self._build_device(DeviceInfo.FromString(key[0]), key[1])
            remember(self._devices, key, known)
        return known

    def _build_device(self, device: DeviceInfo, request_agent: str) -> tuple[Any, ...]:
        agent = device_agent(device, request_agent, self._parse_agent)
        return (
            agent.browser,
            agent.browser_version,
            agent.os,
            agent.os_version,
            agent.device_type or UNKNOWN_DEVICE_TYPE,
            agent.is_bot,
            max(0, device.screen_width),
            max(0, device.screen_height),
            max(0, device.viewport_width),
            max(0, device.viewport_height),
            device.device_pixel_ratio,
            device.language,
            device.timezone,
        )


def _visitor_place(visitors: Shared, visitor: tuple[str, ...]) -> int:
    place = visitors.places.get(visitor)
    if place is None:
        user_id, anonymous_id, page_view_id, channel_type, *ids = visitor
        values = (user_id, anonymous_id, page_view_id, channel_type or "web", *ids)
        place = visitors.keep(visitor, values)
    return place


def _take_back(chunk: _Chunk, row_count: int) -> None:
    chunk.columns.truncate(row_count)
    while chunk.page_views and chunk.page_views[-1].row >= row_count:
        chunk.page_views.pop()


def minute_of(time_ms: int) -> int:
    """Start of the minute, in ms."""
    return time_ms - time_ms % MINUTE_MS
