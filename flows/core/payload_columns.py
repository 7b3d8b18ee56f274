"""Columns of `events` that only some kinds of payload fill.

In: a row number, the name of the payload's oneof member and the payload. Out: Arrow columns with
null or empty where a row has no such value. Numbers saturate at their column's limits; the exact
value stays in the stored payload. Source: events.md, sections 6 (rule 6) and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from schemas.fingerprint import error_fingerprint

UINT32_MAX = 2**32 - 1

SPARSE_TYPES: dict[str, pa.DataType] = {
    "click_x": pa.int32(),
    "click_y": pa.int32(),
    "target_selector": pa.string(),
    "target_tag": pa.string(),
    "target_text": pa.string(),
    "scroll_depth": pa.uint8(),
    "scroll_direction": pa.string(),
    "error_message": pa.string(),
    "error_stack": pa.string(),
    "error_type": pa.string(),
    "error_fingerprint": pa.string(),
    "lcp": pa.uint32(),
    "fid": pa.uint32(),
    "cls": pa.float32(),
    "ttfb": pa.uint32(),
    "fcp": pa.uint32(),
    "inp": pa.uint32(),
    "load_complete": pa.uint32(),
    "time_on_page_ms": pa.uint32(),
}


class SparseColumns:
    """Values of few rows, by column and row."""

    def __init__(self) -> None:
        self._values: dict[str, dict[int, Any]] = {name: {} for name in SPARSE_TYPES}

    def put(self, row: int, member: str, payload: Any) -> None:
        """Fill what a payload of this oneof member has to say."""
        fill = _FILLS.get(member)
        if fill is not None:
            fill(payload, row, self._values)

    def truncate(self, row_count: int) -> None:
        """Forget rows from `row_count` on."""
        for values in self._values.values():
            for row in [row for row in values if row >= row_count]:
                del values[row]

    def arrays(self, row_count: int) -> Iterator[tuple[str, pa.Array]]:
        """One column each; missing numbers are null, missing texts empty."""
        for name, kind in SPARSE_TYPES.items():
            empty = "" if pa.types.is_string(kind) else None
            values = self._values[name]
            if not values:
                column = (
                    pa.nulls(row_count, kind)
                    if empty is None
                    else pa.repeat(pa.scalar("", kind), row_count)
                )
            else:
                cells = [empty] * row_count
                for row, value in values.items():
                    cells[row] = value
                column = pa.array(cells, kind)
            yield name, column


Cells = dict[str, dict[int, Any]]


def _unsigned(value: int) -> int:
    return min(max(value, 0), UINT32_MAX)


def _percent(value: int) -> int:
    return min(max(value, 0), 100)


def _click(payload: Any, row: int, cells: Cells) -> None:
    if payload.HasField("position"):
        position = payload.position
        cells["click_x"][row] = position.x
        cells["click_y"][row] = position.y
    target = payload.target
    cells["target_selector"][row] = target.selector
    cells["target_tag"][row] = target.tag
    cells["target_text"][row] = target.text


def _scroll(payload: Any, row: int, cells: Cells) -> None:
    cells["scroll_depth"][row] = _percent(payload.scroll_depth_percent)
    cells["scroll_direction"][row] = "up" if payload.direction == 1 else "down"


def _scroll_milestone(payload: Any, row: int, cells: Cells) -> None:
    cells["scroll_depth"][row] = _percent(payload.milestone)


def _page_exit(payload: Any, row: int, cells: Cells) -> None:
    cells["scroll_depth"][row] = _percent(payload.max_scroll_depth)
    cells["time_on_page_ms"][row] = _unsigned(payload.time_on_page_ms)


def _put_error(row: int, cells: Cells, kind: str, message: str, stack: str) -> None:
    cells["error_type"][row] = kind
    cells["error_message"][row] = message
    cells["error_stack"][row] = stack
    cells["error_fingerprint"][row] = error_fingerprint(kind, message, stack)


def _js_error(payload: Any, row: int, cells: Cells) -> None:
    _put_error(row, cells, payload.error_type or "Error", payload.message, payload.stack)


def _resource_error(payload: Any, row: int, cells: Cells) -> None:
    _put_error(row, cells, "ResourceError", payload.resource_url, "")


def _console_error(payload: Any, row: int, cells: Cells) -> None:
    _put_error(row, cells, "ConsoleError", payload.message, payload.stack)


_TIMINGS = (
    ("lcp", "largest_contentful_paint"),
    ("fid", "first_input_delay"),
    ("ttfb", "ttfb"),
    ("fcp", "first_contentful_paint"),
    ("inp", "interaction_to_next_paint"),
    ("load_complete", "load_complete"),
)


def _performance(payload: Any, row: int, cells: Cells) -> None:
    for column, name in _TIMINGS:
        if payload.HasField(name):
            cells[column][row] = _unsigned(getattr(payload, name))
    if payload.HasField("cumulative_layout_shift"):
        cells["cls"][row] = payload.cumulative_layout_shift


_FILLS: dict[str, Callable[[Any, int, Cells], None]] = {
    "click": _click,
    "scroll": _scroll,
    "scroll_milestone": _scroll_milestone,
    "page_exit": _page_exit,
    "js_error": _js_error,
    "resource_error": _resource_error,
    "console_error": _console_error,
    "performance": _performance,
}
