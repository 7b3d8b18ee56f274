"""From many records of the raw topic to rows of the table `events`, column by column.

In: `PolledBatch`es of gosight.events.raw. Out: an `EnrichedChunk` of each, whose rows stand in one
table: what `flows.core.event_rows` makes of them record by record, which is asked where one of them
is not plain (`flows.core.raw_columns`), or is damaged inside.

What repeats is done once for all records: pages, devices, visitors and names of types are known by
their place among the distinct ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from flows.core.enrich import AgentParser, PlaceFinder
from flows.core.event_columns import (
    COLUMN_TYPES,
    DEVICE_TYPES,
    PAGE_TYPES,
    RECORD_TYPES,
    VISITOR_TYPES,
    Sparse,
    spread,
)
from flows.core.event_facts import PageFacts, with_declared
from flows.core.event_rows import (
    PAGE_VIEW,
    EnrichedChunk,
    PageView,
    RecordFacts,
    RowBuilder,
    minute_of,
)
from flows.core.payload_columns import PayloadColumns
from flows.core.plain_columns import Numbers, distinct, rows_of
from flows.core.raw_columns import RawColumns, read_columns
from schemas.codec import custom_json
from schemas.event_types import NAME_BY_NUMBER
from schemas.identifiers import session_uuid
from schemas.log import PolledBatch
from schemas.payload_text import EMPTY_JSON
from schemas.v1.events_pb2 import IdentifyPayload, SessionStartPayload

# Fewer cost less one by one: columns cost about a quarter of a millisecond, however short.
RECORDS_MIN = 32

_TEXT = pa.string()


class BlockBuilder:
    """Decodes and enriches; holds only bounded caches of pure results."""

    def __init__(
        self, parse_agent: AgentParser, find_place: PlaceFinder, *, records_min: int = RECORDS_MIN
    ) -> None:
        """Fewer records than `records_min` are read one by one."""
        self._rows = RowBuilder(parse_agent, find_place)
        self._payload_columns = PayloadColumns(self._rows.read)
        self._records_min = records_min

    def build(self, polled: Sequence[PolledBatch]) -> list[EnrichedChunk]:
        """A chunk of each, in order; never raises for what a record holds."""
        values = [value for part in polled for value in part.values]
        if len(values) >= self._records_min:
            found = read_columns(values)
            if found is not None:
                # Damage in a payload is found, and put aside, record by record.
                with suppress(Exception):
                    return self._chunks(polled, found)
            if len(polled) > 1:
                return [chunk for part in polled for chunk in self.build([part])]
        return [self._rows.build(part) for part in polled]

    def _chunks(self, polled: Sequence[PolledBatch], raw: RawColumns) -> list[EnrichedChunk]:
        session_ids = [
            session_uuid(project_id, text)
            for project_id, text in zip(raw.project_ids, raw.session_texts, strict=True)
        ]
        pages, page_of = distinct(raw.texts["page"])
        facts = [self._rows.page(page) for page in pages]
        is_view = raw.event_types == PAGE_VIEW
        view_paths = [facts[place][1] for place in page_of[is_view].tolist()]
        table = self._table(polled, raw, session_ids, facts, page_of)
        return _cut(polled, raw, session_ids, table, np.flatnonzero(is_view), view_paths)

    def _table(
        self,
        polled: Sequence[PolledBatch],
        raw: RawColumns,
        session_ids: Sequence[str],
        facts: list[PageFacts],
        page_of: Numbers,
    ) -> pa.Table:
        """All rows."""
        count = len(raw.event_ids)
        sizes = np.diff(raw.first_rows)
        record_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        sparse = Sparse()
        payloads = self._payloads(raw, sparse)
        starts = raw.payloads.get("session_start")
        if starts is not None:
            page_of = _declare(facts, page_of, starts)
        columns: dict[str, pa.Array] = {
            "event_id": raw.texts["event_id"],
            "event_type": _type_names(raw.event_types),
            "timestamp": pa.array(raw.at_ms).view(COLUMN_TYPES["timestamp"]),
            "payload": payloads,
            "custom": _customs(raw.customs),
            "source_index": pa.array((np.arange(count) - raw.first_rows[record_of]).astype("u4")),
        }
        columns.update(spread(facts, PAGE_TYPES, pa.array(page_of)))
        columns.update(_visitors(raw))
        columns.update(self._devices(raw, record_of))
        records = self._records(polled, raw, session_ids)
        columns.update(spread(records, RECORD_TYPES, pa.array(record_of)))
        columns.update(sparse.columns(count))
        return pa.table({name: columns[name] for name in COLUMN_TYPES})

    def _payloads(self, raw: RawColumns, sparse: Sparse) -> pa.Array:
        """The stored JSON of each event; values that have columns of their own go to `sparse`."""
        parts = [pa.array([EMPTY_JSON], _TEXT)]
        place_of = np.zeros(len(raw.event_ids), np.int32)
        count = 1
        for member, column in raw.payloads.items():
            rows = rows_of(column)
            texts, cells = self._payload_columns.read(member, column.drop_null())
            if cells:
                sparse.put_all(rows.tolist(), member, cells)
            place_of[rows] = np.arange(count, count + len(rows), dtype=np.int32)
            count += len(rows)
            parts.append(texts)
        return pa.concat_arrays(parts).take(pa.array(place_of))

    def _devices(self, raw: RawColumns, record_of: Numbers) -> Mapping[str, pa.Array]:
        devices, device_of = distinct(raw.texts["device"])
        agents, agent_of = np.unique(np.array(raw.user_agents, object), return_inverse=True)
        pairs, pair_of = np.unique(
            device_of.astype(np.int64) * len(agents) + agent_of[record_of], return_inverse=True
        )
        values = [
            self._rows.device((devices[pair // len(agents)], agents[pair % len(agents)]))
            for pair in pairs.tolist()
        ]
        return dict(spread(values, DEVICE_TYPES, pa.array(pair_of.astype(np.int32))))

    def _records(
        self, polled: Sequence[PolledBatch], raw: RawColumns, session_ids: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        """Values of `RECORD_TYPES` of each record."""
        places = [self._rows.find_place(address) for address in raw.client_ips]
        offsets = [
            (part.topic, part.partition, offset) for part in polled for offset in part.offsets
        ]
        return [
            (
                *stamps,
                *(place.country, place.country_code, place.region, place.city),
                received_at_ms,
                retain_days,
                *source,
            )
            for *stamps, place, received_at_ms, retain_days, source in zip(
                raw.project_ids,
                session_ids,
                raw.sdk_versions,
                raw.client_ips,
                places,
                raw.received_at_ms.tolist(),
                raw.retain_days,
                offsets,
                strict=True,
            )
        ]


def _cut(
    polled: Sequence[PolledBatch],
    raw: RawColumns,
    session_ids: Sequence[str],
    table: pa.Table,
    view_rows: Numbers,
    view_paths: Sequence[str],
) -> list[EnrichedChunk]:
    """The rows of each polled batch."""
    made: list[EnrichedChunk] = []
    first_rows: list[int] = raw.first_rows.tolist()
    received_at_ms: list[int] = raw.received_at_ms.tolist()
    record = 0
    for part in polled:
        block_row = first_rows[record]
        facts: list[RecordFacts] = []
        for offset in part.offsets:
            first, end = first_rows[record] - block_row, first_rows[record + 1] - block_row
            facts.append(
                RecordFacts(
                    offset,
                    raw.project_ids[record],
                    session_ids[record],
                    received_at_ms[record],
                    minute_of(received_at_ms[record]),
                    first,
                    end,
                    raw.event_counts[record] or end - first,
                )
            )
            record += 1
        block_end = first_rows[record]
        lo, hi = np.searchsorted(view_rows, (block_row, block_end))
        owners = np.searchsorted(raw.first_rows, view_rows[lo:hi], side="right") - 1
        first_record = record - len(facts)
        made.append(
            EnrichedChunk(
                topic=part.topic,
                partition=part.partition,
                first_offset=part.offsets[0],
                last_offset=part.offsets[-1],
                block=table,
                block_row=block_row,
                event_ids=raw.event_ids[block_row:block_end],
                records=facts,
                page_views=[
                    PageView(row, owner.project_id, path, owner.minute_ms)
                    for row, path, owner in zip(
                        (view_rows[lo:hi] - block_row).tolist(),
                        view_paths[lo:hi],
                        [facts[place - first_record] for place in owners.tolist()],
                        strict=True,
                    )
                ],
                poisons=(),
            )
        )
    return made


def _declare(facts: list[PageFacts], page_of: Numbers, starts: pa.Array) -> Numbers:
    """Pages with what session_starts declare; `facts` grows."""
    page_of = page_of.copy()
    places: dict[PageFacts, int] = {}
    rows = rows_of(starts)
    for row, payload in zip(rows.tolist(), starts.drop_null().to_pylist(), strict=True):
        page = with_declared(facts[page_of[row]], SessionStartPayload.FromString(payload))
        if page not in places:
            places[page] = len(facts)
            facts.append(page)
        page_of[row] = places[page]
    return page_of


def _type_names(types: Numbers) -> pa.Array:
    numbers, number_of = np.unique(types, return_inverse=True)
    names = [NAME_BY_NUMBER.get(number) or f"unknown_{number}" for number in numbers.tolist()]
    return pa.DictionaryArray.from_arrays(number_of.astype(np.int32), pa.array(names, _TEXT))


def _customs(customs: pa.Array) -> pa.Array:
    if not len(customs.keys):
        return pa.array([EMPTY_JSON], _TEXT).take(pa.array(np.zeros(len(customs), np.int32)))
    return pa.array([custom_json(dict(pairs)) for pairs in customs.to_pylist()], _TEXT)


def _visitors(raw: RawColumns) -> Mapping[str, pa.Array]:
    columns = {name: raw.texts[name] for name in VISITOR_TYPES}
    identified = raw.payloads.get("identify")
    if identified is not None:
        user_ids = columns["user_id"].to_pylist()
        payloads = identified.drop_null().to_pylist()
        for row, payload in zip(rows_of(identified).tolist(), payloads, strict=True):
            user_ids[row] = IdentifyPayload.FromString(payload).user_id or user_ids[row]
        columns["user_id"] = pa.array(user_ids, _TEXT)
    labels = {name: column.dictionary_encode() for name, column in columns.items()}
    channels = labels["channel_type"]
    names = [name or "web" for name in channels.dictionary.to_pylist()]
    labels["channel_type"] = pa.DictionaryArray.from_arrays(
        channels.indices, pa.array(names, _TEXT)
    )
    return labels
