"""Single values of JSON as the values of protobuf fields.

In: what a JSON parser gives. Out: a value that the field takes, or a `FieldError` that says what
it should have been, never what it was. Numbers beyond a field's range become its limit. Pure.
Source: events.md, sections 5 and 6 (rule 6).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import msgspec

Converter = Callable[[Any], Any]

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)

_encode = msgspec.json.Encoder(order="sorted").encode


class FieldError(ValueError):
    """A value that does not fit its field; `path` grows from the inside to the outside."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = ""

    def inside(self, name: str) -> FieldError:
        """The same error, seen from the object around it."""
        self.path = f"{name}.{self.path}" if self.path else name
        return self

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


def primitive_text(value: Any) -> str:
    """Any JSON value as text: texts as they are, `true`, `3`, `99.99`; the rest as compact JSON."""
    return value if type(value) is str else _encode(value).decode()


def text(value: Any) -> str:
    """A text; numbers and truth values are written out."""
    if type(value) is str:
        return value
    if isinstance(value, dict | list):
        raise FieldError("must be a text")
    return primitive_text(value)


def flag(value: Any) -> bool:
    """A truth value."""
    if type(value) is bool:
        return value
    raise FieldError("must be true or false")


def whole_number(bounds: tuple[int, int]) -> Converter:
    """A converter for whole numbers within the bounds; fractions are rounded."""
    low, high = bounds

    def convert(value: Any) -> int:
        if type(value) is float and isfinite(value):
            value = round(value)
        if type(value) is int:
            return low if value < low else high if value > high else value
        raise FieldError("must be a number")

    return convert


def real_number(value: Any) -> float:
    """A finite number."""
    if type(value) is float and isfinite(value):
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    raise FieldError("must be a number")


def choice(numbers: Mapping[str, int], has_unspecified: bool) -> Converter:
    """A converter for enums: short names, the enum's own names, and numbers.

    A name that is not known is 0 where that means "unspecified", else an error.
    """
    number_of = whole_number(INT32)

    def convert(value: Any) -> int:
        if type(value) is not str:
            number: int = number_of(value)
            return number
        known = numbers.get(value)
        if known is None and not has_unspecified:
            raise FieldError("is none of the known names")
        return known or 0

    return convert


def base64_bytes(value: Any) -> bytes:
    """Bytes, written in base64."""
    if type(value) is str:
        try:
            return b64decode(value, validate=True)
        except ValueError:
            pass
    raise FieldError("must be base64")


def list_of(convert: Converter) -> Converter:
    """A converter for lists."""

    def convert_all(value: Any) -> list[Any]:
        if type(value) is not list:
            raise FieldError("must be a list")
        result = []
        for index, item in enumerate(value):
            try:
                result.append(convert(item))
            except FieldError as error:
                raise error.inside(f"[{index}]") from None
        return result

    return convert_all


def text_map(value: Any) -> dict[str, str]:
    """An object of values of any kind, stored as texts."""
    if type(value) is not dict:
        raise FieldError("must be an object")
    return {key: item if type(item) is str else primitive_text(item) for key, item in value.items()}


def present_text_map(value: Any) -> dict[str, str]:
    """The same without the keys whose value is null: an attribute that is not there."""
    if type(value) is not dict:
        raise FieldError("must be an object")
    return {key: primitive_text(item) for key, item in value.items() if item is not None}
