"""Whether reading a JSON body costs what it may cost, told before a parser sees it.

In: bytes. Out: yes or no. Pure. Source: events.md, section 6 (limits).
"""

from __future__ import annotations

DEPTH_MAX = 32
# Bounds of one body, so that reading it takes no more than some ten megabytes.
VALUES_MAX = 128 * 1024
CONTAINERS_MAX = 32 * 1024
DENSE_ABOVE_BYTES = 32 * 1024  # A smaller body cannot hold enough of them to hurt.

_BRACES = bytes.maketrans(b"[]", b"{}")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def nesting_exceeds(body: bytes, depth_max: int) -> bool:
    """True if arrays and objects lie deeper in each other than allowed.

    Works on the bytes, without a parser: texts are taken out, then the innermost pairs of
    brackets one layer at a time. Unbalanced brackets count as too deep; they are no JSON anyway.
    """
    skeleton = _outside_texts(body).translate(_BRACES, _NO_BRACKETS)
    for _ in range(depth_max):
        if not skeleton:
            return False
        skeleton = skeleton.replace(b"{}", b"")
    return bool(skeleton)


def is_too_dense(body: bytes) -> bool:
    """True if reading the body would cost many times its size.

    `{},` is three bytes on the wire and eighty in memory, and two megabytes of it pack into two
    kilobytes. Real batches stay far below: some 60 values and 10 objects an event.
    """
    if len(body) <= DENSE_ABOVE_BYTES:
        return False
    if body.count(b'"') > 2 * VALUES_MAX:
        return True
    outside_texts = _outside_texts(body)
    containers = outside_texts.count(b"{") + outside_texts.count(b"[")
    return containers > CONTAINERS_MAX or outside_texts.count(b",") > VALUES_MAX


def _outside_texts(body: bytes) -> bytes:
    """The JSON without its texts and names."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])
