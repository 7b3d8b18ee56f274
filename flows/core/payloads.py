"""What rows need of a payload: its stored JSON and the columns that only some payloads fill.

In: the name of the payload's oneof member and the bytes of the payload. Out: JSON text and the
values of that member's columns. What repeats is known by its bytes and written once: elements, and
whole payloads that hold texts. Numbers saturate at their column's limits; the exact value stays in
the JSON. Pure; caches are bounded. Source: events.md, sections 6 (rule 6) and 8.

Raises google.protobuf.message.DecodeError for bytes that are no such payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from google.protobuf.message_factory import GetMessageClass

from schemas.fingerprint import error_fingerprint
from schemas.payload_text import member_json, short_float, short_names, target_object
from schemas.text_fields import REPEATING_PAYLOADS
from schemas.v1.closed_pb2 import ClosedClick
from schemas.v1.common_pb2 import TargetElement
from schemas.v1.events_pb2 import (
    Event,
    MouseButton,
    ScrollDirection,
    ScrollPayload,
)

KNOWN_MAX = 8_192  # Values of one kind that are known by their bytes ...
KNOWN_BYTES_MAX = 1_024  # ... and how long one may be: longer ones seldom come twice.
UINT32_MAX = 2**32 - 1

Cells = tuple[Any, ...]  # Values of `CELLS[member]`'s columns, in their order.
Reader = Callable[[bytes], tuple[str, Cells | None]]

_encode = msgspec.json.Encoder().encode
BUTTONS = {number: f'"{name}"' for number, name in short_names(MouseButton.DESCRIPTOR).items()}
DIRECTIONS = {
    number: f'"{name}"' for number, name in short_names(ScrollDirection.DESCRIPTOR).items()
}


def payload_readers() -> Mapping[str, Reader]:
    """A reader for each member of the oneof. Not for use by several threads at once."""
    readers: dict[str, Reader] = {}
    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields:
        name = field.name
        kind = cast(Any, GetMessageClass(cast(Any, field.message_type)))
        read = _reader(name, kind, CELLS.get(name, _NO_CELLS)[1])
        readers[name] = Known(read).__getitem__ if name in REPEATING_PAYLOADS else read
    targets = Known(read_target)
    return {
        **readers,
        "click": lambda value: _read_click(value, targets),
        "scroll": _read_scroll,
    }


class Known(dict[bytes, Any]):
    """A pure function of bytes with its results for those that it saw lately."""

    def __init__(self, read: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, value: bytes) -> Any:
        found = self._read(value)
        if len(value) <= KNOWN_BYTES_MAX:
            if len(self) >= KNOWN_MAX:
                self.clear()
            self[value] = found
        return found


def _reader(member: str, kind: Any, cells: Callable[[Any], Cells] | None) -> Reader:
    def read(value: bytes) -> tuple[str, Cells | None]:
        payload = kind.FromString(value)
        return member_json(member, payload), None if cells is None else cells(payload)

    return read


# Those that come most often are written by hand: what `object_builder` makes, in a third of
# the time. A test compares them with it.


def read_target(value: bytes) -> tuple[str, Cells]:
    """The text of an element, and its columns."""
    target = TargetElement.FromString(value)
    text = _encode(target_object(target)).decode()
    return text, (target.selector, target.tag, target.text)


def _read_click(value: bytes, targets: Mapping[bytes, tuple[str, Cells]]) -> tuple[str, Cells]:
    click = ClosedClick.FromString(value)
    text, of_target = targets[click.target]
    button = click.button
    parts = f'{{"button":{BUTTONS.get(button, button)}'
    if click.HasField("dom_observed"):
        parts += f',"dom_observed":{"true" if click.dom_observed else "false"}'
    x = y = None
    if click.HasField("position"):
        position = click.position
        x, y = position.x, position.y
        parts += f',"position":{{"x":{x},"y":{y}}}'
    if click.HasField("target"):
        parts += f',"target":{text}'
    return parts + "}", (x, y, *of_target)


def _read_scroll(value: bytes) -> tuple[str, Cells]:
    scroll = ScrollPayload.FromString(value)
    direction, percent = scroll.direction, scroll.scroll_depth_percent
    text = (
        f'{{"direction":{DIRECTIONS.get(direction, direction)},"page_height":{scroll.page_height}'
        f',"scroll_depth_percent":{percent},"scroll_depth_px":{scroll.scroll_depth_px}'
        f',"scroll_top":{scroll.scroll_top}'
    )
    if scroll.HasField("velocity"):
        text += f',"velocity":{short_float_text(scroll.velocity)}'
    return text + "}", (_percent(percent), "up" if direction == 1 else "down")


def short_float_text(value: float) -> str:
    """A 32-bit number in as few digits as say it."""
    return _encode(short_float(value)).decode()


def _unsigned(value: int) -> int:
    return min(max(value, 0), UINT32_MAX)


def _percent(value: int) -> int:
    return min(max(value, 0), 100)


def _error_cells(kind: str, message: str, stack: str) -> Cells:
    return kind, message, stack, error_fingerprint(kind, message, stack)


_TIMINGS = (
    ("lcp", "largest_contentful_paint"),
    ("fid", "first_input_delay"),
    ("ttfb", "ttfb"),
    ("fcp", "first_contentful_paint"),
    ("inp", "interaction_to_next_paint"),
    ("load_complete", "load_complete"),
)


def _performance_cells(payload: Any) -> Cells:
    has = payload.HasField
    shift = "cumulative_layout_shift"
    return (
        payload.cumulative_layout_shift if has(shift) else None,
        *(_unsigned(getattr(payload, name)) if has(name) else None for _, name in _TIMINGS),
    )


_ERROR_COLUMNS = ("error_type", "error_message", "error_stack", "error_fingerprint")
_NO_CELLS: tuple[tuple[str, ...], Callable[[Any], Cells] | None] = ((), None)
# By member of the oneof: the columns that it fills, and their values from the open message.
CELLS: Mapping[str, tuple[tuple[str, ...], Callable[[Any], Cells] | None]] = {
    "click": (("click_x", "click_y", "target_selector", "target_tag", "target_text"), None),
    "scroll": (("scroll_depth", "scroll_direction"), None),
    "scroll_milestone": (("scroll_depth",), lambda payload: (_percent(payload.milestone),)),
    "page_exit": (
        ("scroll_depth", "time_on_page_ms"),
        lambda payload: (_percent(payload.max_scroll_depth), _unsigned(payload.time_on_page_ms)),
    ),
    "js_error": (
        _ERROR_COLUMNS,
        lambda payload: _error_cells(payload.error_type or "Error", payload.message, payload.stack),
    ),
    "resource_error": (
        _ERROR_COLUMNS,
        lambda payload: _error_cells("ResourceError", payload.resource_url, ""),
    ),
    "console_error": (
        _ERROR_COLUMNS,
        lambda payload: _error_cells("ConsoleError", payload.message, payload.stack),
    ),
    "performance": (("cls", *(column for column, _ in _TIMINGS)), _performance_cells),
}
