"""The columns of the table `events`, and the lists that grow into them.

In: values of rows, in order. Out: an Arrow table with the columns of `COLUMN_TYPES`. What rows
share is kept once and spread over them by index at the end; columns that few rows fill are kept as
the rows that do. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.core.mouse_moves import mouse_moves_json
from flows.core.payloads import CELLS, Cells
from schemas.payload_text import EMPTY_JSON

_TIME = pa.timestamp("ms", tz="UTC")
_TEXT = pa.string()
# Texts that many rows share travel once: a third fewer bytes, and less work for ClickHouse.
_LABEL = pa.dictionary(pa.int32(), pa.string())

# Columns with a value of their own for every event.
DENSE_TYPES: dict[str, pa.DataType] = {
    "event_id": _TEXT,
    "event_type": _LABEL,
    "timestamp": _TIME,
    "payload": _TEXT,
    "custom": _TEXT,
    "source_index": pa.uint32(),
}
# Columns that events of one page, one visitor, one device, one record share.
PAGE_TYPES: dict[str, pa.DataType] = {
    "url": _LABEL,
    "path": _LABEL,
    "title": _LABEL,
    "referrer": _LABEL,
    "referrer_domain": _LABEL,
    "utm_source": _LABEL,
    "utm_medium": _LABEL,
    "utm_campaign": _LABEL,
    "utm_term": _LABEL,
    "utm_content": _LABEL,
}
VISITOR_TYPES: dict[str, pa.DataType] = {
    "user_id": _LABEL,
    "anonymous_id": _LABEL,
    "page_view_id": _LABEL,
    "channel_type": _LABEL,
    "external_id": _LABEL,
    "handshake_token": _LABEL,
}
DEVICE_TYPES: dict[str, pa.DataType] = {
    "browser": _LABEL,
    "browser_version": _LABEL,
    "os": _LABEL,
    "os_version": _LABEL,
    "device_type": _LABEL,
    "is_bot": pa.bool_(),
    "screen_width": pa.uint32(),
    "screen_height": pa.uint32(),
    "viewport_width": pa.uint32(),
    "viewport_height": pa.uint32(),
    "device_pixel_ratio": pa.float32(),
    "language": _LABEL,
    "timezone": _LABEL,
}
RECORD_TYPES: dict[str, pa.DataType] = {
    "project_id": _LABEL,
    "session_id": _LABEL,
    "sdk_version": _LABEL,
    "ip": _LABEL,
    "country": _LABEL,
    "country_code": _LABEL,
    "region": _LABEL,
    "city": _LABEL,
    "received_at": _TIME,
    "retain_days": pa.uint16(),
    "source_topic": _LABEL,
    "source_partition": pa.uint32(),
    "source_offset": pa.uint64(),
}
# Columns that only some payloads fill; missing numbers are null, missing texts empty.
SPARSE_TYPES: dict[str, pa.DataType] = {
    "click_x": pa.int32(),
    "click_y": pa.int32(),
    "target_selector": _LABEL,
    "target_tag": _LABEL,
    "target_text": _LABEL,
    "scroll_depth": pa.uint8(),
    "scroll_direction": _LABEL,
    "error_message": _LABEL,
    "error_stack": _LABEL,
    "error_type": _LABEL,
    "error_fingerprint": _LABEL,
    "lcp": pa.uint32(),
    "fid": pa.uint32(),
    "cls": pa.float32(),
    "ttfb": pa.uint32(),
    "fcp": pa.uint32(),
    "inp": pa.uint32(),
    "load_complete": pa.uint32(),
    "time_on_page_ms": pa.uint32(),
}
COLUMN_TYPES = {
    **RECORD_TYPES,
    **DENSE_TYPES,
    **PAGE_TYPES,
    **VISITOR_TYPES,
    **DEVICE_TYPES,
    **SPARSE_TYPES,
}


@cache
def no_rows() -> pa.Table:
    """A table without rows. Made when needed: Arrow's first array takes a third of a second."""
    return pa.schema(list(COLUMN_TYPES.items())).empty_table()


class Shared:
    """Distinct values of a group of columns, and which of them each row has.

    `places` maps whatever a value is known by to its place; `index` holds the place of each row.
    """

    def __init__(self, types: Mapping[str, pa.DataType]) -> None:
        self._types = types
        self._values: list[tuple[Any, ...]] = []
        self.places: dict[Hashable, int] = {}
        self.index: list[int] = []

    def keep(self, key: Hashable, value: tuple[Any, ...]) -> int:
        """The place of a new value, by which it is found from now on under its key."""
        place = self.places[key] = len(self._values)
        self._values.append(value)
        return place

    def columns(self, index: pa.Array | None = None) -> Iterator[tuple[str, pa.Array]]:
        """One column each; `index` stands for the own one."""
        if index is None:
            index = pa.array(np.array(self.index, np.int32))
        return spread(self._values, self._types, index)


class Sparse:
    """Values of few rows: by member of the oneof, which rows and what their columns hold."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}
        self._cells: dict[str, list[Cells]] = {}
        self._columns: dict[str, tuple[Sequence[int], Sequence[Sequence[Any]]]] = {}

    def put(self, row: int, member: str, cells: Cells) -> None:
        """Keep a payload's values; rows come in order."""
        rows = self._rows.get(member)
        if rows is None:
            rows = self._rows[member] = []
            self._cells[member] = []
        rows.append(row)
        self._cells[member].append(cells)

    def put_all(self, rows: Sequence[int], member: str, columns: Sequence[Sequence[Any]]) -> None:
        """Keep the values of all payloads of a member, column by column."""
        self._columns[member] = rows, columns

    def truncate(self, row_count: int) -> None:
        """Forget rows from `row_count` on."""
        for member, rows in self._rows.items():
            while rows and rows[-1] >= row_count:
                rows.pop()
                self._cells[member].pop()

    def columns(self, row_count: int) -> Iterator[tuple[str, pa.Array]]:
        """One column each."""
        values: dict[str, list[Any]] = {
            name: ["" if kind == _LABEL else None] for name, kind in SPARSE_TYPES.items()
        }
        places: dict[str, np.ndarray[Any, Any]] = {}
        found = {
            member: (rows, list(zip(*self._cells[member], strict=True)))
            for member, rows in self._rows.items()
            if rows
        }
        for member, (rows, columns) in {**found, **self._columns}.items():
            at = np.array(rows, np.int64)
            for name, column in zip(CELLS[member][0], columns, strict=True):
                index = places.get(name)
                if index is None:
                    index = places[name] = np.zeros(row_count, np.int32)
                first = len(values[name])
                index[at] = np.arange(first, first + len(column), dtype=np.int32)
                values[name] += column
        for name, kind in SPARSE_TYPES.items():
            index = places.get(name)
            if index is None and kind != _LABEL:
                yield name, pa.nulls(row_count, kind)
            else:
                if index is None:
                    index = np.zeros(row_count, np.int32)
                yield name, _spread(values[name], kind, pa.array(index))


def spread(
    values: Sequence[tuple[Any, ...]], types: Mapping[str, pa.DataType], index: pa.Array
) -> Iterator[tuple[str, pa.Array]]:
    """Columns that have at each row the one of `values` that `index` says."""
    for column, (name, kind) in zip(zip(*values, strict=True), types.items(), strict=True):
        yield name, _spread(column, kind, index)


def _spread(values: Sequence[Any], kind: pa.DataType, index: pa.Array) -> pa.Array:
    """A column that has at each row the value that `index` says."""
    if kind != _LABEL:
        return pa.array(values, kind).take(index)
    labels = pa.array(values, _TEXT).dictionary_encode()
    return pa.DictionaryArray.from_arrays(labels.indices.take(index), labels.dictionary)


class Columns:
    """Rows as lists; `truncate` takes back those of a record that failed half-way."""

    def __init__(self) -> None:
        self.event_ids: list[str] = []
        self.event_types: list[str] = []
        self.timestamps_ms: list[int] = []
        self.payloads: list[str | None] = []  # None: the next of `mouse_moves`.
        self.mouse_moves: list[bytes] = []
        self.customs: dict[int, str] = {}
        self.sparse = Sparse()
        self.pages = Shared(PAGE_TYPES)
        self.visitors = Shared(VISITOR_TYPES)
        self.devices = Shared(DEVICE_TYPES)
        self.records = Shared(RECORD_TYPES)
        self.record_sizes: list[int] = []

    def truncate(self, row_count: int) -> None:
        """Forget rows from `row_count` on; their record was not closed yet."""
        for column in (
            self.event_ids,
            self.event_types,
            self.timestamps_ms,
            self.payloads,
            self.pages.index,
            self.visitors.index,
            self.devices.index,
        ):
            del column[row_count:]
        del self.mouse_moves[self.payloads.count(None) :]
        for row in [row for row in self.customs if row >= row_count]:
            del self.customs[row]
        self.sparse.truncate(row_count)

    def close_record(self, values: tuple[Any, ...], row_count: int) -> None:
        """All rows of a record are there: what they share, and how many they are."""
        self.records.keep(len(self.record_sizes), values)
        self.record_sizes.append(row_count)

    def _payload_column(self) -> pa.Array:
        column = pa.array(self.payloads, _TEXT)
        if not self.mouse_moves:
            return column
        moves = pa.array(self.mouse_moves, pa.binary())
        return pc.replace_with_mask(column, column.is_null(), mouse_moves_json(moves))

    def table(self) -> pa.Table:
        """All columns, in the order of `COLUMN_TYPES`."""
        row_count = len(self.event_ids)
        if not row_count:
            return no_rows()
        customs = [EMPTY_JSON] * row_count
        for row, text in self.customs.items():
            customs[row] = text
        sizes = np.array(self.record_sizes, np.int64)
        record_of_row = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        first_of_record = np.cumsum(sizes) - sizes
        indexes = np.arange(row_count) - np.repeat(first_of_record, sizes)
        columns: dict[str, pa.Array] = {
            "event_id": pa.array(self.event_ids, _TEXT),
            "event_type": pa.array(self.event_types, _TEXT).dictionary_encode(),
            "timestamp": pa.array(np.array(self.timestamps_ms, np.int64)).view(_TIME),
            "payload": self._payload_column(),
            "custom": pa.array(customs, _TEXT),
            "source_index": pa.array(indexes.astype(np.uint32)),
        }
        for group in (self.pages, self.visitors, self.devices):
            columns.update(group.columns())
        columns.update(self.records.columns(pa.array(record_of_row)))
        columns.update(self.sparse.columns(row_count))
        return pa.table({name: columns[name] for name in COLUMN_TYPES})
