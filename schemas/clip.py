"""Cuts what an event has too much of.

In: events as clients send them. Out: the same events, changed in place: texts no longer than
schemas.text_fields says and without NUL, maps and lists with no more entries than below. Nothing
that fits is touched, and cutting twice is cutting once. What is cut is cleaned before, by a
function that is passed in: half of a card number is not known for one. Pure.
Pages, devices and targets come again and again: those that fit are remembered by their bytes.
Source: events.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, MutableSequence
from typing import Any

from schemas.text_fields import (
    DEVICE_FIELDS,
    EVENT_ID_FIELDS,
    ID_CHARS_MAX,
    PAGE_FIELDS,
    PAYLOAD_FIELDS,
    SDK_VERSION_CHARS_MAX,
    Shape,
    TextField,
    TextKind,
)
from schemas.v1.closed_pb2 import GlanceEvent
from schemas.v1.events_pb2 import Event

MAP_KEYS_MAX = 50
MAP_KEY_CHARS_MAX = 100
MAP_VALUE_CHARS_MAX = 1_024
LIST_ITEMS_MAX = 50
POSITIONS_MAX = 200
FITTING_MESSAGES_MAX = 8_192
FITTING_MESSAGE_BYTES_MAX = 1_024

# A whole text, how its field holds it, and what it is, to what may be kept of it.
Clean = Callable[[str, Shape, TextKind], str]

_ONE, _MESSAGE, _LIST = Shape.ONE, Shape.MESSAGE, Shape.LIST
_fitting: set[bytes] = {b""}


def clip_event(event: Event, clean: Clean) -> bool:
    """Cut an event in place; True if anything was changed.

    Of a map with too many keys the first ones in alphabetical order stay. Keys that are too long
    are dropped with their values, not cut: cutting could make two keys the same.
    """
    changed = not do_ids_fit(event) and _clip_ids(event, clean)
    if _clip_known(event.page, PAGE_FIELDS, clean):
        changed = True
    if _clip_known(event.device, DEVICE_FIELDS, clean):
        changed = True
    if event.custom and _clip_map(event.custom, Shape.MAP, TextKind.TEXT, clean):
        changed = True
    member = event.WhichOneof("payload")
    if member == "mouse_move":
        positions = event.mouse_move.positions
        if len(positions) > POSITIONS_MAX:
            del positions[POSITIONS_MAX:]
            changed = True
    elif member is not None:
        fields = PAYLOAD_FIELDS.get(member)
        if fields is not None and clip_message(getattr(event, member), fields, clean):
            changed = True
    return changed


def do_ids_fit(event: Event | GlanceEvent) -> bool:
    """Whether all ids of an event fit, by one look at them together; False says nothing."""
    ids = "".join(
        (
            event.user_id,
            event.anonymous_id,
            event.page_view_id,
            event.channel_type,
            event.external_id,
            event.handshake_token,
        )
    )
    return len(ids) <= ID_CHARS_MAX and "\0" not in ids


def _clip_ids(event: Event, clean: Clean) -> bool:
    changed = False
    for name in EVENT_ID_FIELDS:
        value = getattr(event, name)
        if len(value) > ID_CHARS_MAX or "\0" in value:
            setattr(event, name, _cut(value, ID_CHARS_MAX, _ONE, TextKind.ID, clean))
            changed = True
    return changed


def clip_sdk_version(text: str, clean: Clean) -> str:
    """What is kept of a batch's `sdk_version`: each record that is made of the batch repeats it."""
    return clean(text.replace("\0", ""), _ONE, TextKind.TEXT)[:SDK_VERSION_CHARS_MAX]


def _clip_known(message: Any, fields: tuple[TextField, ...], clean: Clean) -> bool:
    key = message.SerializeToString()
    if key in _fitting:
        return False
    if clip_message(message, fields, clean):
        return True
    if len(key) <= FITTING_MESSAGE_BYTES_MAX:
        if len(_fitting) >= FITTING_MESSAGES_MAX:
            _fitting.clear()
        _fitting.add(key)
    return False


def clip_message(message: Any, fields: tuple[TextField, ...], clean: Clean) -> bool:
    """Cut the texts of a message in place, by the list of its fields; True if anything changed."""
    changed = False
    for name, shape, kind, chars_max, inner in fields:
        value = getattr(message, name)
        if shape is _ONE:
            if value and (len(value) > chars_max or "\0" in value):
                setattr(message, name, _cut(value, chars_max, shape, kind, clean))
                changed = True
        elif shape is _MESSAGE:
            if _clip_known(value, inner, clean):
                changed = True
        elif value and (
            _clip_list(value, chars_max, kind, clean)
            if shape is _LIST
            else _clip_map(value, shape, kind, clean)
        ):
            changed = True
    return changed


def _clip_list(values: MutableSequence[str], chars_max: int, kind: TextKind, clean: Clean) -> bool:
    changed = len(values) > LIST_ITEMS_MAX
    del values[LIST_ITEMS_MAX:]
    for index, value in enumerate(values):
        if len(value) > chars_max or "\0" in value:
            values[index] = _cut(value, chars_max, _LIST, kind, clean)
            changed = True
    return changed


def _clip_map(values: MutableMapping[str, str], shape: Shape, kind: TextKind, clean: Clean) -> bool:
    changed = False
    for key, value in list(values.items()):
        if len(key) > MAP_KEY_CHARS_MAX or "\0" in key:
            del values[key]
            changed = True
        elif len(value) > MAP_VALUE_CHARS_MAX or "\0" in value:
            values[key] = _cut(value, MAP_VALUE_CHARS_MAX, shape, kind, clean)
            changed = True
    if len(values) > MAP_KEYS_MAX:
        for key in sorted(values)[MAP_KEYS_MAX:]:
            del values[key]
        changed = True
    return changed


def _cut(text: str, chars_max: int, shape: Shape, kind: TextKind, clean: Clean) -> str:
    text = text.replace("\0", "")
    return text if len(text) <= chars_max else clean(text, shape, kind)[:chars_max]
