"""Protobuf bytes with damaged text made readable.

In: the bytes of a message whose texts may hold invalid UTF-8, and its descriptor. Out: the same
message with each damaged sequence replaced by U+FFFD; fields that the descriptor does not know are
left out. Nothing else is changed or checked: the real parser has the last word. Pure; used only
after that parser has refused the bytes, so it may be slow.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

DEPTH_MAX = 16  # An event is five messages deep.
VARINT_BYTES_MAX = 10

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class RepairError(ValueError):
    """The bytes are no protobuf message, whatever is in its texts."""


def repair_utf8(data: bytes, descriptor: Descriptor, depth: int = 0) -> bytes:
    """The message with readable texts.

    Raises:
        RepairError: damaged framing, groups, or nesting beyond `DEPTH_MAX`.
    """
    if depth > DEPTH_MAX:
        raise RepairError("nested too deeply")
    fields = descriptor.fields_by_number
    out = bytearray()
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        wire_type = tag & 7
        field = fields.get(tag >> 3)
        if wire_type == _LENGTH:
            length, position = _varint(data, position)
            content_start, position = position, position + length
            if position > len(data):
                raise RepairError("a field runs past the end")
            if field is None:
                continue
            content = data[content_start:position]
            if field.type == FieldDescriptor.TYPE_STRING:
                content = content.decode("utf-8", "replace").encode()
            elif field.message_type is not None:
                content = repair_utf8(content, field.message_type, depth + 1)
            out += _varint_bytes(tag)
            out += _varint_bytes(len(content))
            out += content
            continue
        if wire_type == _VARINT:
            _, position = _varint(data, position)
        elif wire_type == _FIXED64:
            position += 8
        elif wire_type == _FIXED32:
            position += 4
        else:
            raise RepairError("a group or an unknown wire type")
        if position > len(data):
            raise RepairError("a field runs past the end")
        if field is not None:
            out += data[start:position]
    return bytes(out)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position` and the position after it."""
    value = 0
    for shift in range(0, 7 * VARINT_BYTES_MAX, 7):
        if position >= len(data):
            raise RepairError("a number runs past the end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise RepairError("a number is too long")


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
