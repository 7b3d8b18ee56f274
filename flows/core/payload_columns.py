"""What rows need of many payloads of one kind, column by column.

In: the name of a oneof member and the bytes of its payloads. Out: their stored JSON and the values
of the member's columns, as `flows.core.payloads` makes them of each. Those that come most often are
decoded and written together, if they are plain (`flows.core.plain_columns`); the others are read
one by one. Pure; caches are bounded.

Raises for bytes that are no such payload; whoever reads them one by one learns which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor

from flows.core.mouse_moves import mouse_moves_json
from flows.core.payloads import (
    BUTTONS,
    CELLS,
    DIRECTIONS,
    Known,
    Reader,
    read_target,
    short_float_text,
)
from flows.core.plain_columns import PlainReader, distinct, is_there, numbers_of
from schemas.v1.closed_pb2 import ClosedClick
from schemas.v1.events_pb2 import ScrollPayload

# The column of texts, and a sequence for each column of `CELLS[member]`.
Read = tuple[pa.Array, Sequence[Sequence[Any]]]

_TEXT = pa.string()
_NOTHING = pa.scalar("")
_PERCENT_MAX = 100
_SCROLL_NUMBERS = ("page_height", "scroll_depth_percent", "scroll_depth_px", "scroll_top")


class PayloadColumns:
    """Reads payloads of any member. Not for use by several threads at once."""

    def __init__(self, one_by_one: Mapping[str, Reader]) -> None:
        """`one_by_one` reads single payloads, by member."""
        self._one_by_one = one_by_one
        self._targets = Known(read_target)
        self._together: dict[str, Callable[[pa.Array], Read]] = {
            "mouse_move": lambda values: (mouse_moves_json(values), ()),
            "click": self._clicks,
            "scroll": self._scrolls,
        }

    def read(self, member: str, values: pa.Array) -> Read:
        """The payloads of `values`, a column of bytes without nulls."""
        together = self._together.get(member)
        if together is not None:
            return together(values)
        return self._apart(member, values)

    def _apart(self, member: str, values: pa.Array) -> Read:
        found = list(map(self._one_by_one[member], values.to_pylist()))
        texts = pa.array([text for text, _ in found], _TEXT)
        if member not in CELLS:
            return texts, ()
        return texts, list(zip(*(cells for _, cells in found if cells is not None), strict=True))

    def _clicks(self, values: pa.Array) -> Read:
        clicks = _CLICKS.read(values)
        if clicks is None:
            return self._apart("click", values)
        position, target = clicks.column("position"), clicks.column("target")
        x, y = position.field(0), position.field(1)
        button, observed = clicks.column("button"), clicks.column("dom_observed")
        at, has_position = is_there(target), is_there(position)
        targets, target_of = distinct(target.fill_null(b""))
        texts_of, selectors, tags, labels = zip(
            *((text, *cells) for text, cells in map(self._targets.__getitem__, targets)),
            strict=True,
        )
        present = pa.array(has_position)
        text_of_target = pa.array(texts_of, _TEXT).take(pa.array(target_of))
        texts = pc.binary_join_element_wise(
            pa.scalar('{"button":'),
            _names(button, BUTTONS),
            pc.if_else(
                observed.is_valid(),
                pc.if_else(
                    observed.fill_null(False),
                    pa.scalar(',"dom_observed":true'),
                    pa.scalar(',"dom_observed":false'),
                ),
                _NOTHING,
            ),
            pc.if_else(
                present,
                pc.binary_join_element_wise(
                    pa.scalar(',"position":{"x":'),
                    pc.cast(x, _TEXT).fill_null(""),
                    pa.scalar(',"y":'),
                    pc.cast(y, _TEXT).fill_null(""),
                    pa.scalar("}"),
                    "",
                ),
                _NOTHING,
            ),
            pc.if_else(
                pa.array(at),
                pc.binary_join_element_wise(pa.scalar(',"target":'), text_of_target, ""),
                _NOTHING,
            ),
            pa.scalar("}"),
            "",
        )
        places = target_of.tolist()
        return texts, (
            pc.if_else(present, x, None).to_pylist(),
            pc.if_else(present, y, None).to_pylist(),
            *([column[place] for place in places] for column in (selectors, tags, labels)),
        )

    def _scrolls(self, values: pa.Array) -> Read:
        scrolls = _SCROLLS.read(values)
        return self._apart("scroll", values) if scrolls is None else _written_scrolls(scrolls)


def _written_scrolls(scrolls: pa.RecordBatch) -> Read:
    direction = scrolls.column("direction")
    percent = scrolls.column("scroll_depth_percent")
    velocity = scrolls.column("velocity")
    parts = [pa.scalar('{"direction":'), _names(direction, DIRECTIONS)]
    for name in _SCROLL_NUMBERS:
        parts += [pa.scalar(f',"{name}":'), pc.cast(scrolls.column(name), _TEXT)]
    if velocity.null_count < len(velocity):
        said = [
            "" if value is None else f',"velocity":{short_float_text(value)}'
            for value in velocity.to_pylist()
        ]
        parts.append(pa.array(said, _TEXT))
    texts = pc.binary_join_element_wise(*parts, pa.scalar("}"), "")
    depths = np.clip(numbers_of(percent), 0, _PERCENT_MAX).tolist()
    is_up = numbers_of(direction) == 1
    return texts, (depths, np.where(is_up, "up", "down").tolist())


def _names(column: pa.Array, names: dict[int, str]) -> pa.Array:
    """What stands for the numbers of an enum."""
    numbers, number_of = np.unique(numbers_of(column), return_inverse=True)
    texts = [str(names.get(number, number)) for number in numbers.tolist()]
    return pa.array(texts, _TEXT).take(pa.array(number_of))


_CLICKS = PlainReader(cast(Descriptor, ClosedClick.DESCRIPTOR))
_SCROLLS = PlainReader(cast(Descriptor, ScrollPayload.DESCRIPTOR))
