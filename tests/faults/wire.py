"""Protobuf by hand: what a client writes and what the auditor reads, without the platform's code.

In: numbers, texts and bytes by field number. Out: the wire format, and back to lists by number.
"""

from __future__ import annotations

import struct
from collections import defaultdict


def varint(number: int) -> bytes:
    """A base-128 number; negative ones as 64 bits in two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def whole(field: int, number: int) -> bytes:
    """A field that holds a number."""
    return varint(field << 3) + varint(number)


def blob(field: int, content: bytes | str) -> bytes:
    """A field that holds a text, bytes or a message."""
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def real(field: int, number: float) -> bytes:
    """A field that holds a 32-bit floating point number."""
    return varint(field << 3 | 5) + struct.pack("<f", number)


def read_fields(data: bytes) -> dict[int, list[int | bytes]]:
    """All values of a message by field number, in order; nested messages stay bytes.

    Raises:
        ValueError: this is no message.
    """
    found: dict[int, list[int | bytes]] = defaultdict(list)
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, place = _read_varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, place = data[place : place + size], place + size
        elif kind == 2:
            size, place = _read_varint(data, place)
            value, place = data[place : place + size], place + size
        else:
            raise ValueError(f"wire type {kind}")
        if place > len(data):
            raise ValueError("the message ends early")
        found[tag >> 3].append(value)
    return found


def number_at(fields: dict[int, list[int | bytes]], field: int) -> int:
    """The last number of a field; 0 if there is none."""
    value = fields.get(field, [0])[-1]
    return value if isinstance(value, int) else 0


def text_at(fields: dict[int, list[int | bytes]], field: int) -> str:
    """The last text of a field; empty if there is none."""
    value = fields.get(field, [b""])[-1]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("a number ends early")
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
