"""The outermost fields of a protobuf message, found without parsing what is inside them.

In: serialised bytes. Out: where each field begins and ends. Used to count the events of a batch
before parsing it (two bytes on the wire become 146 bytes in memory, so that a 2 MB body of a
million empty events would take 146 MB), and to measure and cut out single events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

OTHER_FIELDS_MAX = 4096  # A message made of unknown fields is an attack on our time.
_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)


class WireError(ValueError):
    """The bytes are not a protobuf message."""


class TooManyError(ValueError):
    """There are more fields than allowed."""


class Span(NamedTuple):
    """One length-delimited field: its tag is at `field_at`, its contents are `start:end`."""

    field_at: int
    start: int
    end: int


def find_spans(body: bytes, number: int, count_max: int) -> list[Span]:
    """Every length-delimited field with this number, in order of appearance.

    Raises:
        TooManyError: at the first one beyond `count_max`, or with more than 4,096 other fields;
            what follows is not looked at.
        WireError: the bytes are damaged.
    """
    spans: list[Span] = []
    others = 0
    for found, span in _fields(body):
        if found == number and span is not None:
            if len(spans) == count_max:
                raise TooManyError
            spans.append(span)
        else:
            others += 1
            if others > OTHER_FIELDS_MAX:
                raise TooManyError
    return spans


def _fields(body: bytes) -> Iterator[tuple[int, Span | None]]:
    """(number, where it is) of each outermost field; None for other kinds than length-delimited.

    What is inside a group counts as fields without a place.
    """
    position = 0
    end = len(body)
    depth = 0
    while position < end:
        field_at = position
        tag, position = _varint(body, position)
        kind = tag & 7
        span: Span | None = None
        if kind == _LENGTH:
            length, position = _varint(body, position)
            if depth == 0:
                span = Span(field_at, position, position + length)
            position += length
        elif kind == _VARINT:
            _, position = _varint(body, position)
        elif kind == _FIXED64:
            position += 8
        elif kind == _FIXED32:
            position += 4
        elif kind == _GROUP:
            depth += 1
        elif kind == _END_GROUP and depth > 0:
            depth -= 1
        else:
            raise WireError("unknown kind of field")
        if position > end:
            raise WireError("a field runs past the end")
        yield tag >> 3, span
    if depth:
        raise WireError("a group does not end")


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """The number at `position` and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(body):
            raise WireError("a number runs past the end")
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise WireError("a number is longer than ten bytes")
