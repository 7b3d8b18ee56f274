"""Changed copies of good inputs: bytes, protobuf messages field by field, JSON values.

In: a seeded source of chance and an input. Out: another input, the same for the same seed. Bounded:
nothing grows beyond `SIZE_MAX`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

SIZE_MAX = 400 * 1024
NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    2**15,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
TEXTS = (
    "",
    "\x00",
    "é",
    "\U0001f600",
    "\ufeff",
    "‮abc",
    "a" * 300,
    "../../etc/passwd",
    "4111 1111 1111 1111",
    "%00%ff",
    "\r\nX: y",
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    *NUMBERS,
    *(-number for number in NUMBERS),
    2**70,
    0.5,
    -0.0,
    1e308,
    None,
    True,
    [],
    {},
    [[]],
    {"": None},
    ["x"] * 300,
)


def mutate_bytes(chance: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to six small changes: bits, bytes, slices, other inputs spliced in."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(changed))
        end = min(len(changed), at + chance.choice((1, 1, 2, 4, 16, 64, 1024)))
        match chance.randrange(9):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 1:
                changed[at:end] = chance.randbytes(end - at)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end] * chance.choice((1, 2, 10, 100))
            case 4:
                changed[at:at] = chance.randbytes(chance.choice((1, 2, 8, 40)))
            case 5:
                number = chance.choice(NUMBERS)
                changed[at:end] = number.to_bytes(8, chance.choice(("little", "big")))
            case 6:
                changed[at:at] = varint(chance.choice(NUMBERS))
            case 7:
                del changed[at:]
            case _ if others:
                other = chance.choice(others)
                start = chance.randint(0, len(other))
                changed[at:end] = other[start : start + chance.choice((8, 64, 4096))]
        del changed[SIZE_MAX:]
    return bytes(changed)


def varint(number: int, padding: int = 0) -> bytes:
    """A number as protobuf writes it, with so many needless bytes."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def split_message(data: bytes) -> list[tuple[int, int, bytes]] | None:
    """(field number, wire type, contents) of each field; None if it is no message."""
    fields: list[tuple[int, int, bytes]] = []
    at = 0

    def read() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    try:
        while at < len(data):
            tag = read()
            start = at
            match tag & 7:
                case 0:
                    read()
                    fields.append((tag >> 3, 0, data[start:at]))
                    continue
                case 1:
                    at += 8
                case 2:
                    length = read()
                    start = at
                    at += length
                case 5:
                    at += 4
                case _:
                    return None
            if at > len(data) or tag < 8:
                return None
            fields.append((tag >> 3, tag & 7, data[start:at]))
    except IndexError:
        return None
    return fields


def join_message(chance: Random, fields: Sequence[tuple[int, int, bytes]], lie: float) -> bytes:
    """The fields as a message; with probability `lie` a tag or length is not as it should be."""
    out = bytearray()
    for number, kind, contents in fields:
        padding = chance.randint(1, 4) if chance.random() < lie else 0
        out += varint(number << 3 | kind, padding)
        if kind == 2:
            length = len(contents)
            if chance.random() < lie:
                length = chance.choice((length + 1, max(0, length - 1), 0, 2**31, 2**63))
            out += varint(length, padding)
        out += contents
    return bytes(out)


def mutate_message(chance: Random, data: bytes, depth: int = 0) -> bytes:
    """Change fields of a message: drop, repeat, reorder, renumber, retype, nest, go inside."""
    fields = split_message(data)
    if not fields or depth > 12:
        return mutate_bytes(chance, data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(fields))
        number, kind, contents = fields[at]
        match chance.randrange(11):
            case 0 if len(fields) > 1:
                del fields[at]
            case 1:
                copies = chance.choice((1, 2, 20, 600))
                copies = min(copies, 1 + SIZE_MAX // 4 // (len(contents) + 2))
                fields[at:at] = [fields[at]] * copies
            case 2:
                chance.shuffle(fields)
            case 3:
                fields[at] = (chance.choice((0, 1, 2, 3, 50, 115, 2**29 - 1)), kind, contents)
            case 4:
                fields[at] = (number, chance.randrange(8), contents)
            case 5:
                value = varint(chance.choice(NUMBERS), chance.choice((0, 0, 3)))
                fields[at] = (number, 0, value)
            case 6:
                text = chance.choice(TEXTS).encode() * chance.choice((1, 1, 50))
                fields[at] = (number, 2, text if chance.random() < 0.7 else text + b"\xff\xc0")
            case 7:
                levels = chance.choice((1, 30, 99, 101, 2000))
                for _ in range(levels):
                    contents = varint(number << 3 | 2) + varint(len(contents)) + contents
                fields[at] = (number, 2, contents)
            case 8:
                levels = chance.choice((1, 50, 5000))
                group = varint(number << 3 | 3) * levels + varint(number << 3 | 4) * levels
                fields.insert(at, (999, 2, b""))
                return (join_message(chance, fields, 0.0) + group)[:SIZE_MAX]
            case _ if kind == 2:
                fields[at] = (number, kind, mutate_message(chance, contents, depth + 1))
    return join_message(chance, fields, 0.02)[:SIZE_MAX]


def mutate_value(chance: Random, value: Any, depth: int = 0) -> Any:
    """Change a JSON value somewhere inside."""
    if isinstance(value, dict) and value and depth < 12 and chance.random() < 0.92:
        name = chance.choice(list(value))
        changed = dict(value)
        match chance.randrange(8):
            case 0:
                del changed[name]
            case 1:
                changed[chance.choice((*TEXTS, "value", "session_id", "events"))] = value[name]
            case 2:
                changed[name] = _nested(chance, value[name])
            case _:
                changed[name] = mutate_value(chance, value[name], depth + 1)
        return changed
    if isinstance(value, list) and value and depth < 12 and chance.random() < 0.92:
        changed_list = list(value)
        at = chance.randrange(len(changed_list))
        match chance.randrange(6):
            case 0:
                del changed_list[at]
            case 1:
                size = len(_dump(changed_list[at], is_ascii=True))
                copies = min(chance.choice((1, 3, 501, 3000)), 1 + SIZE_MAX // 4 // (size + 1))
                changed_list[at:at] = [changed_list[at]] * copies
            case _:
                changed_list[at] = mutate_value(chance, changed_list[at], depth + 1)
        return changed_list
    return _nested(chance, value) if chance.random() < 0.1 else chance.choice(VALUES)


def _nested(chance: Random, value: Any) -> Any:
    make: Callable[[Any], Any] = chance.choice((lambda v: [v], lambda v: {"a": v}))
    for _ in range(chance.choice((1, 5, 31, 33, 200, 500))):
        value = make(value)
    return value


def _dump(value: Any, *, is_ascii: bool) -> str:
    try:
        return json.dumps(value, ensure_ascii=is_ascii)
    except RecursionError:  # Nested again and again.
        return '{"a":' * 2000 + "1" + "}" * 2000


def write_json(chance: Random, value: Any) -> bytes:
    """A JSON text; now and then as no good encoder would write it."""
    text = _dump(value, is_ascii=chance.random() < 0.5)
    data = text.encode("utf-8", "surrogatepass")
    match chance.randrange(14):
        case 0:
            data = mutate_bytes(chance, data)
        case 1:
            data = data.replace(b'"', b'"\\ud83d', chance.randint(1, 3))
        case 2:
            data = b"\xef\xbb\xbf" + data
        case 3:
            data = data.replace(b":", b":" + b" " * chance.choice((1, 1000)), 5)
        case 4:
            data = data.replace(b"1", chance.choice((b"1e999", b"NaN", b"9" * 5000, b"1.0")), 1)
        case 5:
            data = data[:-1] + b"," + data[1:] if data[:1] == b"{" else data * 2
        case 6:
            data = chance.choice(
                (b"[" * 100_000, b'{"a":' * 60_000, b'{"events":[' + b"{}," * 100_000)
            )
    return data[:SIZE_MAX]
