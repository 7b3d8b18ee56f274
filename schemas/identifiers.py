"""Normal forms of what clients send as ids and times.

In: texts and clocks from a client. Out: lower-case UUIDs and milliseconds that every flow computes
alike: the same text gives the same id for ever, on every machine. Pure.
Source: events.md, section 6, rules 1 and 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID, uuid5

EVENT_NAMESPACE = UUID("52b509d7-a38a-59be-8d7a-109b6d55e4c0")
SESSION_NAMESPACE = UUID("55b1d11d-2326-581e-83dc-b186f5123d3a")

SKEW_TOLERATED_MS = 2_000  # Smaller differences of clocks are the network's.
AHEAD_TOLERATED_MS = 60_000  # A later event time is a wrong clock, whatever `sent_at` says.

is_canonical_uuid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_HEX_DIGITS = b"0123456789abcdef"
_LINE = 37  # A UUID and what ends its line.


def are_canonical_uuids(texts: Sequence[str]) -> bool:
    """Whether `is_canonical_uuid` holds for all of them, for ten at a fifth of the cost."""
    count = len(texts)
    lines = "\n".join((*texts, "")).encode(errors="replace")
    dashes = b"-" * count
    # Besides digits there are only dashes and ends of lines, in this order, each in its place.
    return (
        len(lines) == _LINE * count
        and lines.translate(None, _HEX_DIGITS) == b"----\n" * count
        and lines[8::_LINE] == dashes
        and lines[13::_LINE] == dashes
        and lines[18::_LINE] == dashes
        and lines[23::_LINE] == dashes
        and lines[36::_LINE] == b"\n" * count
    )


def event_uuid(project_id: str, session_text: str, event_text: str) -> str:
    """The event id to store for the id that a client sent.

    A UUID stays itself, in lower case; any other text becomes a UUIDv5 of project, session text
    (as sent) and event text. For a missing id see `derived_event_uuid`.
    """
    if is_canonical_uuid(event_text):
        return event_text
    if _is_uuid(event_text):
        return event_text.lower()
    return _uuid5(EVENT_NAMESPACE, f"{project_id}|{session_text}|{event_text}")


def as_uuid(text: str) -> str:
    """A UUID in lower case; empty for any other text."""
    if is_canonical_uuid(text):
        return text
    return text.lower() if _is_uuid(text) else ""


def derived_event_uuid(
    project_id: str, session_text: str, timestamp_ms: int, event_type: int, payload: bytes
) -> str:
    """The id of an event that was sent without one.

    `timestamp_ms` is the time as sent, before any correction, and `payload` the deterministically
    serialised payload message (empty if there is none): a retry of the request gives the same id.
    """
    name = f"{project_id}|{session_text}|{timestamp_ms}|{event_type}|" + (
        hashlib.sha256(payload).hexdigest()
    )
    return _uuid5(EVENT_NAMESPACE, name)


def session_uuid(project_id: str, session_text: str) -> str:
    """The session id to store; a UUID stays itself in lower case, other text becomes a UUIDv5."""
    if is_canonical_uuid(session_text):
        return session_text
    if _is_uuid(session_text):
        return session_text.lower()
    return _derived_session_uuid(project_id, session_text)


@lru_cache(maxsize=16_384)
def _derived_session_uuid(project_id: str, session_text: str) -> str:
    return _uuid5(SESSION_NAMESPACE, f"{project_id}|{session_text}")


def _uuid5(namespace: UUID, name: str) -> str:
    try:
        return str(uuid5(namespace, name))
    except UnicodeEncodeError:
        # Lone surrogates cannot come from protobuf texts; ids are made for any text all the same.
        return str(uuid5(namespace, name.encode("utf-8", "replace").decode()))


def sha256_hex(text: str) -> str:
    """SHA-256 of the text's UTF-8 bytes, in lower-case hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def clock_shift_ms(sent_at_ms: int, received_at_ms: int) -> int:
    """What to add to the times of a batch: how far its client's clock is behind the server's.

    0 if the network explains the difference, or if `sent_at_ms` is 0 or less, which means unknown.
    """
    if sent_at_ms > 0:
        skew_ms = received_at_ms - sent_at_ms
        if skew_ms > SKEW_TOLERATED_MS or skew_ms < -SKEW_TOLERATED_MS:
            return skew_ms
    return 0


def corrected_time_ms(timestamp_ms: int, sent_at_ms: int, received_at_ms: int) -> int:
    """The time of an event by the server's clock.

    The client's clock is off by the difference of receipt and sending, if that is more than the
    network explains. `sent_at_ms` of 0 or less means unknown: no correction. What is still more
    than a minute after receipt becomes the time of receipt.
    """
    timestamp_ms += clock_shift_ms(sent_at_ms, received_at_ms)
    if timestamp_ms > received_at_ms + AHEAD_TOLERATED_MS:
        return received_at_ms
    return timestamp_ms
