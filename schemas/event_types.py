"""Every type of event: its number on the wire, its stored name, its category and its payload.

Pure tables, built once from one list. The names are what JSON, ClickHouse and the API show; they
differ from the enum's names in two places (`EVENT_TYPE_WEBSOCKET` is stored as `websocket_open`,
`EVENT_TYPE_CUSTOM` as `custom_event`). Source: events.md, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.v1.events_pb2 import EventType


class EventKind(NamedTuple):
    """One type of event. `payload` is the member of the oneof it may carry; None: it has none."""

    number: int
    name: str
    category: str
    payload: str | None


EVENT_KINDS: tuple[EventKind, ...] = (
    EventKind(1, "session_start", "session", "session_start"),
    EventKind(2, "session_end", "session", "session_end"),
    EventKind(10, "page_view", "page", "page_view"),
    EventKind(11, "page_exit", "page", "page_exit"),
    EventKind(12, "page_visible", "page", "page_visible"),
    EventKind(13, "page_hidden", "page", None),
    EventKind(20, "click", "mouse", "click"),
    EventKind(21, "dblclick", "mouse", "click"),
    EventKind(22, "context_menu", "mouse", "click"),
    EventKind(23, "mouse_move", "mouse", "mouse_move"),
    EventKind(24, "mouse_enter", "mouse", "hover"),
    EventKind(25, "mouse_leave", "mouse", "hover"),
    EventKind(30, "scroll", "scroll", "scroll"),
    EventKind(31, "scroll_milestone", "scroll", "scroll_milestone"),
    EventKind(40, "input_change", "input", "input_change"),
    EventKind(41, "input_focus", "input", "input_focus"),
    EventKind(42, "input_blur", "input", "input_blur"),
    EventKind(50, "form_start", "form", "form_start"),
    EventKind(51, "form_submit", "form", "form_submit"),
    EventKind(52, "form_abandon", "form", "form_abandon"),
    EventKind(53, "form_error", "form", "form_error"),
    EventKind(60, "js_error", "error", "js_error"),
    EventKind(61, "unhandled_rejection", "error", "js_error"),
    EventKind(62, "resource_error", "error", "resource_error"),
    EventKind(63, "console_error", "error", "console_error"),
    EventKind(70, "page_load", "performance", "performance"),
    EventKind(71, "web_vitals", "performance", "performance"),
    EventKind(72, "long_task", "performance", "long_task"),
    EventKind(73, "memory", "performance", "memory"),
    EventKind(80, "xhr_request", "network", "network_request"),
    EventKind(81, "fetch_request", "network", "network_request"),
    EventKind(82, "websocket_open", "network", "websocket"),
    EventKind(83, "websocket_close", "network", "websocket"),
    EventKind(84, "websocket_error", "network", "websocket"),
    EventKind(90, "media_play", "media", "media"),
    EventKind(91, "media_pause", "media", "media"),
    EventKind(92, "media_complete", "media", "media"),
    EventKind(93, "media_seek", "media", "media"),
    EventKind(94, "media_error", "media", "media"),
    EventKind(100, "window_resize", "resize", "resize"),
    EventKind(101, "orientation_change", "resize", "resize"),
    EventKind(110, "custom_event", "custom", "custom_event"),
    EventKind(111, "identify", "custom", "identify"),
    EventKind(112, "group", "custom", "group"),
    EventKind(120, "replay", "replay", "replay"),
    EventKind(121, "dom_mutation", "replay", "dom_mutation"),
    EventKind(130, "copy", "clipboard", None),
    EventKind(131, "cut", "clipboard", None),
    EventKind(132, "paste", "clipboard", None),
    EventKind(140, "text_select", "selection", None),
    EventKind(141, "text_deselect", "selection", None),
    EventKind(150, "goal", "revenue", "goal"),
    EventKind(151, "purchase", "revenue", "purchase"),
    EventKind(200, "rage_click", "insight", None),
    EventKind(201, "dead_click", "insight", None),
    EventKind(202, "error_click", "insight", None),
    EventKind(203, "thrashed_cursor", "insight", None),
    EventKind(204, "u_turn", "insight", None),
    EventKind(205, "slow_page", "insight", None),
)

NAME_BY_NUMBER: Mapping[int, str] = {kind.number: kind.name for kind in EVENT_KINDS}
NUMBER_BY_NAME: Mapping[str, int] = {kind.name: kind.number for kind in EVENT_KINDS}
CATEGORY_BY_NUMBER: Mapping[int, str] = {kind.number: kind.category for kind in EVENT_KINDS}
PAYLOAD_BY_NUMBER: Mapping[int, str | None] = {kind.number: kind.payload for kind in EVENT_KINDS}

# Made by the server only; refused from clients. Numbers.
SERVER_ONLY: frozenset[int] = frozenset(
    kind.number for kind in EVENT_KINDS if kind.category == "insight"
)
# Copied to gosight.events.errors as well. Numbers. Source: events.md, section 8.
ERROR_TYPES: frozenset[int] = frozenset(
    kind.number for kind in EVENT_KINDS if kind.category == "error"
)
# Their target is a field that a person types into: a value has no place in them. Numbers.
INPUT_TYPES: frozenset[int] = frozenset(
    kind.number for kind in EVENT_KINDS if kind.category == "input"
)

# Names taken on input besides the stored ones: the enum's own, and `custom`.
_ALIASES: Mapping[str, int] = {
    **{name: number for name, number in EventType.items() if number},
    "custom": NUMBER_BY_NAME["custom_event"],
    "websocket": NUMBER_BY_NAME["websocket_open"],
}
_NUMBER_BY_ANY_NAME: Mapping[str, int] = {**_ALIASES, **NUMBER_BY_NAME}


def number_of(name: str) -> int | None:
    """The number for a stored name or one of its aliases; None for anything else."""
    return _NUMBER_BY_ANY_NAME.get(name)
