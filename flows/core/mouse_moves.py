"""The stored JSON of many mouse_move payloads at once.

In: the bytes of `MouseMovePayload`s. Out: what `payload_text` makes of each, as one Arrow column.
These are half of what browsers send, and nothing but numbers: all of them are decoded and written
by NumPy and Arrow together, at a tenth of what it costs one by one. A payload that is not plain
(a tag or a length that no encoder writes) has all of them read one by one.

Raises google.protobuf.message.DecodeError for bytes that are no such payload.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.payload_text import EMPTY_JSON, member_json
from schemas.v1.events_pb2 import MouseMovePayload

_POSITION, _X, _Y, _TIME = 0x0A, 0x08, 0x10, 0x18  # Tags: number of the field and wire type.
VARINT_BYTES_MAX = 10

Numbers = np.ndarray[Any, Any]


def mouse_moves_json(values: pa.Array) -> pa.Array:
    """One text a payload, in order; a column of bytes without nulls."""
    found = _decode(values)
    if found is None:
        return pa.array([mouse_move_json(value) for value in values.to_pylist()], pa.string())
    x, y, time_ms, counts = found
    text = pa.string()
    positions = pc.binary_join_element_wise(
        pa.scalar('{"timestamp":'),
        pc.cast(pa.array(time_ms), text),
        pa.scalar(',"x":'),
        pc.cast(pa.array(x), text),
        pa.scalar(',"y":'),
        pc.cast(pa.array(y), text),
        pa.scalar("}"),
        "",
    )
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))
    lists = pc.binary_join(pa.ListArray.from_arrays(offsets, positions), ",")
    texts = pc.binary_join_element_wise(pa.scalar('{"positions":['), lists, pa.scalar("]}"), "")
    is_empty = pa.array(counts == 0)
    return pc.if_else(is_empty, pa.scalar(EMPTY_JSON), texts)


def mouse_move_json(value: bytes) -> str:
    """The text of one payload."""
    return member_json("mouse_move", MouseMovePayload.FromString(value))


def _decode(values: pa.Array) -> tuple[Numbers, Numbers, Numbers, Numbers] | None:
    """(x, y, time) of all positions and how many each payload has; None if one is not plain.

    All of a plain payload is pairs of varints: a tag and a value, or the tag of a position and its
    length, followed by the pairs of its fields.
    """
    edges = np.frombuffer(values.buffers()[1], np.int32)
    edges = edges[values.offset : values.offset + len(values) + 1].astype(np.int64)
    data = np.frombuffer(values.buffers()[2] or b"", np.uint8)[edges[0] : edges[-1]]
    edges -= edges[0]
    ends = np.flatnonzero(data < 0x80)
    if not len(data):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing, np.zeros(len(values), np.int64)
    if len(ends) % 2 or not len(ends) or ends[-1] != len(data) - 1:
        return None
    tag_ends, field_ends = ends[0::2], ends[1::2]
    tag_starts = np.empty(len(tag_ends), np.int64)
    tag_starts[0] = 0
    tag_starts[1:] = field_ends[:-1] + 1
    if not np.array_equal(tag_starts, tag_ends):
        return None  # A tag of two bytes.
    tags = data[tag_starts]
    fields = _varints(data, tag_ends + 1, field_ends)
    is_head = tags == _POSITION
    heads = np.flatnonzero(is_head)
    if fields is None or not is_head[0]:
        return None
    # The length of each position is what lies between it and the next one.
    begins = tag_starts[heads]
    bodies = field_ends[heads] + 1
    if not np.array_equal(np.append(begins[1:], len(data)) - bodies, fields[heads]):
        return None
    owner = np.cumsum(is_head) - 1
    columns: list[Numbers] = []
    known = len(heads)
    for tag, kind in ((_X, np.int32), (_Y, np.int32), (_TIME, np.int64)):
        at = np.flatnonzero(tags == tag)
        column = np.zeros(len(heads), kind)
        column[owner[at]] = fields[at].astype(kind)
        known += len(at)
        columns.append(column)
    if known != len(tags):
        return None
    places = np.searchsorted(begins, edges)
    # A payload begins with a position, or is empty.
    inner = edges < len(data)
    if not np.array_equal(begins[places[inner]], edges[inner]):
        return None
    return columns[0], columns[1], columns[2], np.diff(places)


def _varints(data: Numbers, starts: Numbers, ends: Numbers) -> Numbers | None:
    """The numbers from `starts` to `ends`, both inside, as signed 64 bits; None if one is long."""
    more = ends - starts
    numbers = (data[starts] & 0x7F).astype(np.uint64)
    longer = np.flatnonzero(more)
    place = 1
    while len(longer):
        if place == VARINT_BYTES_MAX:
            return None
        part = (data[starts[longer] + place] & 0x7F).astype(np.uint64)
        numbers[longer] |= part << np.uint64(7 * place)
        longer = longer[more[longer] > place]
        place += 1
    return numbers.view(np.int64)
