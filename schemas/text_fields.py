"""Which texts the messages hold, what each is and how long it may be.

Made once from the descriptors: every text field of an event is listed, so that neither cutting nor
scrubbing can forget one that is added later. Pure data. Source: events.md, section 6 (lengths);
privacy.md, section 5 (what is scrubbed).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import Event


class TextKind(IntEnum):
    """What a text is."""

    TEXT = 0
    ERROR = 1  # Texts of errors, in which e-mail addresses are masked for every project.
    URL = 2
    PATH = 3
    FRAGMENT = 4  # The part of a URL behind `#`, with it.
    ID = 5  # What the site or the SDK chose to identify something by: cut, never scrubbed.


class Shape(IntEnum):
    """How a field holds its texts."""

    ONE = 0
    LIST = 1
    MAP = 2
    TRAITS = 3  # A map that is scrubbed only if the project asks.
    QUERY = 4  # The map of query parameters of a URL.
    MESSAGE = 5


class TextField(NamedTuple):
    """One field of a message. `fields` are those of the message inside it."""

    name: str
    shape: Shape
    kind: TextKind
    chars_max: int
    fields: tuple[Any, ...]  # Of TextField; mypy has no recursive named tuples.


URL_CHARS_MAX = 2_048
PATH_CHARS_MAX = 1_024
TITLE_CHARS_MAX = 1_024
STACK_CHARS_MAX = 8_192
TARGET_TEXT_CHARS_MAX = 50
ID_CHARS_MAX = 256
SDK_VERSION_CHARS_MAX = 100
DEFAULT_CHARS_MAX = 1_024

_KINDS: Mapping[str, tuple[TextKind, int]] = {
    **dict.fromkeys(
        ("url", "referrer", "href", "entry_url", "exit_url", "filename"),
        (TextKind.URL, URL_CHARS_MAX),
    ),
    "resource_url": (TextKind.URL, URL_CHARS_MAX),
    "media_src": (TextKind.URL, URL_CHARS_MAX),
    "path": (TextKind.PATH, PATH_CHARS_MAX),
    "page_path": (TextKind.PATH, PATH_CHARS_MAX),
    "page_hash": (TextKind.FRAGMENT, PATH_CHARS_MAX),
    "stack": (TextKind.ERROR, STACK_CHARS_MAX),
    "message": (TextKind.ERROR, DEFAULT_CHARS_MAX),
    "error_message": (TextKind.ERROR, DEFAULT_CHARS_MAX),
    "args": (TextKind.ERROR, DEFAULT_CHARS_MAX),
    "reason": (TextKind.ERROR, DEFAULT_CHARS_MAX),
    "text": (TextKind.TEXT, TARGET_TEXT_CHARS_MAX),
    **dict.fromkeys(
        ("user_id", "group_id", "order_id", "click_event_id"), (TextKind.ID, ID_CHARS_MAX)
    ),
}
_DEFAULT_KIND = (TextKind.TEXT, DEFAULT_CHARS_MAX)


@cache
def _fields_of(descriptor: Descriptor) -> tuple[TextField, ...]:
    return tuple(found for field in descriptor.fields if (found := _text_field(field)) is not None)


def _text_field(field: FieldDescriptor) -> TextField | None:
    kind, chars_max = _KINDS.get(field.name, _DEFAULT_KIND)
    if field.message_type is None:
        if field.type != FieldDescriptor.TYPE_STRING:
            return None
        shape = Shape.LIST if field.is_repeated else Shape.ONE
        return TextField(field.name, shape, kind, chars_max, ())
    inner = field.message_type
    if inner.GetOptions().map_entry:
        named = {"query_params": Shape.QUERY, "traits": Shape.TRAITS}
        return TextField(field.name, named.get(field.name, Shape.MAP), kind, chars_max, ())
    fields = _fields_of(inner)
    if not fields:
        return None
    assert not field.is_repeated, "lists of messages with texts need a shape of their own"
    return TextField(field.name, Shape.MESSAGE, kind, chars_max, fields)


PAGE_FIELDS = _fields_of(cast(Descriptor, PageContext.DESCRIPTOR))
DEVICE_FIELDS = _fields_of(cast(Descriptor, DeviceInfo.DESCRIPTOR))
# By the name of the oneof's member; members without any text are left out.
PAYLOAD_FIELDS: Mapping[str, tuple[TextField, ...]] = {
    field.name: fields
    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields
    if (fields := _fields_of(cast(Descriptor, field.message_type)))
}
_MEASURES = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
# Members with texts of which the same may come again. One that holds a measured time or another
# fraction is new each time: remembering it would only push out what repeats.
REPEATING_PAYLOADS = frozenset(
    field.name
    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields
    if field.name in PAYLOAD_FIELDS
    and not any(
        inner.name.endswith("_ms") or inner.cpp_type in _MEASURES
        for inner in cast(Descriptor, field.message_type).fields
    )
)
# Texts of the event itself that are not inside page, device, custom or payload. Ids of event and
# session are not cut: odd ones become UUIDs anyway, and cutting could make two the same.
EVENT_ID_FIELDS = (
    "user_id",
    "anonymous_id",
    "page_view_id",
    "channel_type",
    "external_id",
    "handshake_token",
)
