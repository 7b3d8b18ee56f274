"""What a detector of a user's own finds, and what of it is let through.

In: `Found`, whatever the user's code put into it. Out: a `Finding` that every store can hold, or
`BadOutputError` saying what is wrong. The type, the version and the severity are the detector's, so
that no detector can speak in the name of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flows.core.insight import RELATED_MAX, Finding, Verdict
from schemas.identifiers import is_canonical_uuid

VERSION_MAX = 1_000_000
SEVERITIES = ("low", "medium", "high")
# Source: those of the built-in detectors' details, with room: the largest has nine fields.
DETAILS_MAX = 32
DETAILS_BYTES_MAX = 8_192
# As long as the gateway lets a page's address be; a selector is as long as the SDK makes it.
TEXT_LENGTH_MAX = 2_048
TIME_MS_END = 4_102_444_800_000  # The year 2100.


class BadOutputError(ValueError):
    """A detector gave something that is not an insight; the text says what."""


class Found(msgspec.Struct, frozen=True):
    """Something that happened in a session.

    `anchor_event_id` is the event with which it began: with the detector's name and version it
    makes the insight's id, so one anchor can be found once. `at_ms` is that moment in the visitor's
    time; `ended_at_ms` defaults to it. `details` are anything that JSON can hold.
    """

    anchor_event_id: str
    at_ms: int
    url: str = ""
    path: str = ""
    ended_at_ms: int | None = None
    x: int | None = None
    y: int | None = None
    target_selector: str | None = None
    details: Mapping[str, Any] = {}
    related_event_ids: tuple[str, ...] = ()


_ENCODE = msgspec.json.Encoder().encode
_READ = msgspec.json.Decoder(Found)


def checked_finding(found: Any, insight_type: str, rule_version: int, severity: str) -> Finding:
    """The finding that a user's detector meant.

    Raises:
        BadOutputError: it is no `Found`, a field has the wrong type, or a bound is passed.
    """
    if not isinstance(found, Found):
        raise BadOutputError(f"outputs are Found, not {type(found).__name__}")
    try:
        # Fields of a Struct are not checked when it is made: they are when it is read.
        plain = _READ.decode(_ENCODE(found))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise BadOutputError(f"Found: {error}") from None
    fault = _fault(plain)
    if fault:
        raise BadOutputError(f"Found: {fault}")
    return Finding(
        insight_type=insight_type,
        rule_version=rule_version,
        severity=severity,
        anchor_event_id=plain.anchor_event_id,
        at_ms=plain.at_ms,
        ended_at_ms=plain.at_ms if plain.ended_at_ms is None else plain.ended_at_ms,
        url=plain.url,
        path=plain.path,
        x=plain.x,
        y=plain.y,
        target_selector=plain.target_selector,
        details=plain.details,
        related_event_ids=plain.related_event_ids[:RELATED_MAX],
    )


def fired(finding: Finding) -> Verdict:
    """The verdict that belongs to a finding, when asked to explain."""
    return Verdict(
        insight_type=finding.insight_type,
        event_id=finding.anchor_event_id,
        outcome="fired",
        reason="found",
        measured=finding.details,
        evidence=finding.related_event_ids,
    )


def _fault(found: Found) -> str:
    ids = (found.anchor_event_id, *found.related_event_ids)
    texts = {"url": found.url, "path": found.path, "target_selector": found.target_selector or ""}
    if not all(map(is_canonical_uuid, ids)):
        return "anchor_event_id and related_event_ids are ids of events"
    if not 0 <= found.at_ms < TIME_MS_END:
        return "at_ms is not a number of milliseconds since 1970"
    if not found.at_ms <= (found.at_ms if found.ended_at_ms is None else found.ended_at_ms):
        return "ended_at_ms is before at_ms"
    if (found.ended_at_ms or 0) >= TIME_MS_END:
        return "ended_at_ms is not a number of milliseconds since 1970"
    for name, text in texts.items():
        if len(text) > TEXT_LENGTH_MAX:
            return f"{name} is longer than {TEXT_LENGTH_MAX} characters"
    if len(found.details) > DETAILS_MAX:
        return f"details has more than {DETAILS_MAX} fields"
    if len(_ENCODE(found.details)) > DETAILS_BYTES_MAX:
        return f"details is larger than {DETAILS_BYTES_MAX} bytes of JSON"
    return ""
