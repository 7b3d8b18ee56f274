"""Names in an event's JSON that nothing reads: misspelt, misplaced, or of a newer sender.

In: an event as parsed, and the number of its type. Out: where such names stand, such as
`click.payload.pos`. They are told to the sender and refuse nothing. Of a list only the first entry
is looked at, since one sender writes all of them alike. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor

from schemas.event_types import NAME_BY_NUMBER, PAYLOAD_BY_NUMBER
from schemas.json_events import EVENT_TEXTS
from schemas.json_messages import ALIASES, JsonObject, camel_case
from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import Event

NAME_CHARS_MAX = 100

# What the reader takes from an event, and from payloads besides their fields and aliases.
_PAGE_ON_EVENT = frozenset({"url", "path", "title", "referrer"})
_ON_EVENT = frozenset({"type", "timestamp", "page", "device", "custom", "payload", "project_id"})
_BESIDE_FIELDS: Mapping[str, frozenset[str]] = {
    "ClickPayload": frozenset({"x", "y"}),
    "PerformancePayload": frozenset({"metric", "value"}),
}


@dataclass(frozen=True, slots=True)
class _Known:
    """Names that an object may have, and what is known of the objects in it."""

    names: frozenset[str]
    inner: tuple[tuple[str, _Known], ...] = ()


@cache
def _known_of(descriptor: Descriptor) -> _Known:
    names: set[str] = set()
    inner: list[tuple[str, _Known]] = []
    for field in descriptor.fields:
        own = {field.name, camel_case(field.name)}
        names |= own
        message: Any = field.message_type
        if message is not None and not message.GetOptions().map_entry:
            inner += [(name, _known_of(message)) for name in sorted(own)]
    names |= ALIASES.get(descriptor.name, {}).keys()
    names |= _BESIDE_FIELDS.get(descriptor.name, frozenset())
    return _Known(frozenset(names), tuple(inner))


def _known_event(member: str | None) -> _Known:
    texts = {*EVENT_TEXTS, "event_type"}
    names = _ON_EVENT | _PAGE_ON_EVENT | texts | {camel_case(name) for name in texts}
    page: Any = PageContext.DESCRIPTOR
    device: Any = DeviceInfo.DESCRIPTOR
    inner = [("page", _known_of(page)), ("device", _known_of(device))]
    if member is None:
        return _Known(names - {"payload"}, tuple(inner))
    payload: Any = Event.DESCRIPTOR.fields_by_name[member].message_type
    return _Known(names, (*inner, ("payload", _known_of(payload))))


_KNOWN: Mapping[int, _Known] = {
    number: _known_event(member) for number, member in PAYLOAD_BY_NUMBER.items()
}


def ignored_names(data: JsonObject, number: int) -> Iterable[str]:
    """Where names stand that the reader of this type's events leaves out."""
    known = _KNOWN.get(number)
    if known is None or not _has_ignored(data, known):  # Nearly always.
        return ()
    return _ignored(data, known, NAME_BY_NUMBER[number])


def _has_ignored(data: JsonObject, known: _Known) -> bool:
    if not known.names.issuperset(data):
        return True
    for name, inner in known.inner:
        value = data.get(name)
        if value:
            if type(value) is list:
                value = value[0]
            if type(value) is dict and _has_ignored(value, inner):
                return True
    return False


def _ignored(data: JsonObject, known: _Known, path: str) -> Iterator[str]:
    for name, value in data.items():
        if name not in known.names and value is not None:
            yield f"{path}.{name[:NAME_CHARS_MAX]}"
    for name, inner in known.inner:
        value = data.get(name)
        if type(value) is list:
            value = value[0] if value else None
        if type(value) is dict:
            yield from _ignored(value, inner, f"{path}.{name}")
