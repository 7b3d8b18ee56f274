"""The stored JSON of payloads and of text maps.

In: messages of package `gosight`. Out: compact JSON text with sorted keys: field names as in the
proto files, enums as lower-case short names, bytes as base64, numbers that JSON cannot hold as
null. A field with explicit presence appears if it was set; a number, truth value or enum without
presence always; a text without presence always in a payload itself, but not empty inside of its
parts; an empty list or map never. Pure.

Driven by tables made from the descriptors at import: a new field needs no change here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from schemas.v1.common_pb2 import TargetElement
from schemas.v1.events_pb2 import Event, MouseMovePayload

EMPTY_JSON = "{}"

ObjectBuilder = Callable[[Any], dict[str, Any]]

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_pack_float = struct.Struct("<f").pack
_unpack_float = struct.Struct("<f").unpack

# What to do with one field, in the order in which the loop below asks.
_PLAIN, _TEXT, _SET, _MESSAGE, _ENUM, _FLOAT, _SET_FLOAT, _MAP, _LIST, _MESSAGES = range(10)


def short_names(descriptor: EnumDescriptor) -> dict[int, str]:
    """Number to lower-case short name: the value's name without the enum's name in front."""
    prefix = "".join(
        f"_{letter}" if letter.isupper() else letter.upper() for letter in descriptor.name
    )
    prefix = prefix.lstrip("_").upper() + "_"
    return {value.number: value.name.removeprefix(prefix).lower() for value in descriptor.values}


def short_float(value: float) -> float:
    """The shortest decimal that is this 32-bit float: 0.1, not 0.10000000149011612."""
    for digits in (6, 7, 8):
        candidate = float(f"{value:.{digits}g}")
        if _unpack_float(_pack_float(candidate))[0] == value:
            return candidate
    return value


def _step(field: FieldDescriptor) -> tuple[str, int, Any]:
    """(name, what to do, what is needed for it) for one field."""
    kind = field.type
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            return field.name, _MAP, None
        if field.is_repeated:
            return field.name, _MESSAGES, object_builder(field.message_type)
        return field.name, _MESSAGE, object_builder(field.message_type)
    if field.is_repeated:
        return field.name, _LIST, None
    if kind == FieldDescriptor.TYPE_FLOAT:
        return field.name, _SET_FLOAT if field.has_presence else _FLOAT, None
    if field.has_presence:
        assert field.enum_type is None, "an optional enum needs a step of its own"
        return field.name, _SET, None
    if field.enum_type is not None:
        return field.name, _ENUM, short_names(field.enum_type)
    if kind in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        return field.name, _TEXT, None
    return field.name, _PLAIN, None


def object_builder(descriptor: Descriptor, *, keeps_empty_texts: bool = False) -> ObjectBuilder:
    """A function from a message of this type to its JSON object, keys sorted."""
    steps = [_step(field) for field in sorted(descriptor.fields, key=lambda field: field.name)]

    def build(message: Message) -> dict[str, Any]:
        result: dict[str, Any] = {}
        has = message.HasField
        for name, kind, extra in steps:
            if kind == _PLAIN:
                result[name] = getattr(message, name)
            elif kind == _TEXT:
                text = getattr(message, name)
                if text or keeps_empty_texts:
                    result[name] = text
            elif kind == _SET:
                if has(name):
                    result[name] = getattr(message, name)
            elif kind == _MESSAGE:
                if has(name):
                    result[name] = extra(getattr(message, name))
            elif kind == _ENUM:
                number = getattr(message, name)
                result[name] = extra.get(number, number)
            elif kind == _FLOAT:
                result[name] = short_float(getattr(message, name))
            elif kind == _SET_FLOAT:
                if has(name):
                    result[name] = short_float(getattr(message, name))
            elif items := getattr(message, name):
                if kind == _MAP:
                    result[name] = dict(sorted(items.items()))
                elif kind == _LIST:
                    result[name] = list(items)
                else:
                    result[name] = [extra(item) for item in items]
        return result

    return build


target_object = object_builder(cast(Descriptor, TargetElement.DESCRIPTOR))


def _mouse_move(payload: MouseMovePayload) -> dict[str, Any]:
    """What `object_builder` makes, three times as fast: these are most of all nested messages."""
    positions = [
        {"timestamp": position.timestamp, "x": position.x, "y": position.y}
        for position in payload.positions
    ]
    return {"positions": positions} if positions else {}


# By the name of the oneof's member.
PAYLOAD_BUILDERS: Mapping[str, ObjectBuilder] = {
    **{
        field.name: object_builder(cast(Descriptor, field.message_type), keeps_empty_texts=True)
        for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields
    },
    "mouse_move": _mouse_move,
}


def payload_json(event: Event) -> str:
    """The payload of an event as stored; `{}` for an event without one."""
    member = event.WhichOneof("payload")
    if member is None:
        return EMPTY_JSON
    return member_json(member, getattr(event, member))


def member_json(member: str, payload: Message) -> str:
    """A payload as stored, by its name in the oneof."""
    return _encode(PAYLOAD_BUILDERS[member](payload)).decode()


def custom_json(custom: Mapping[str, str]) -> str:
    """A map of texts as a JSON object with sorted keys."""
    return _encode_sorted(dict(custom)).decode() if custom else EMPTY_JSON
