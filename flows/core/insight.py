"""What detectors find, and why they find it or not.

A detector knows neither project nor session: it gives a `Finding`, of which `insight_of` makes an
`Insight` with an id that depends on nothing but the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

import msgspec

# Source: detectors.md, section 1.3.
INSIGHT_NAMESPACE = UUID("fa645d0d-424c-5d50-9d39-bba1b92b8a22")
RELATED_MAX = 50


class Finding(msgspec.Struct, frozen=True):
    """What a detector found in one session.

    `at_ms` is when the visitor acted, `ended_at_ms` the end of what is counted. `details` holds the
    fields of its type (detectors.md, section 1.3) without severity and rule version. `ordinal`
    tells findings of one anchor apart: how many came before it.
    """

    insight_type: str
    rule_version: int
    severity: str  # low, medium, high
    anchor_event_id: str
    at_ms: int
    ended_at_ms: int
    url: str
    path: str
    x: int | None
    y: int | None
    target_selector: str | None
    details: Mapping[str, Any]
    related_event_ids: tuple[str, ...]
    ordinal: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What a detector thinks of one event (a click, mostly), made only when asked to explain.

    `outcome` is fired, part (of what fired), not_fired, suppressed (by an exclusion), not_judged.
    `reason` is one word or two in snake_case; `measured` and `limits` have the same keys where a
    limit was compared. Evidence are event ids.
    """

    insight_type: str
    event_id: str
    outcome: str
    reason: str
    measured: Mapping[str, Any] = {}
    limits: Mapping[str, Any] = {}
    evidence: tuple[str, ...] = ()


class Insight(msgspec.Struct, frozen=True):
    """One row of the table `insights`; `details` is JSON with sorted keys."""

    insight_id: str
    project_id: str
    session_id: str
    insight_type: str
    timestamp_ms: int
    ended_at_ms: int
    url: str
    path: str
    x: int | None
    y: int | None
    target_selector: str | None
    severity: str
    rule_version: int
    details: str
    related_event_ids: tuple[str, ...]
    is_provisional: bool = False


def insight_id(
    project_id: str,
    session_id: str,
    insight_type: str,
    anchor_event_id: str,
    rule_version: int,
    ordinal: int = 0,
) -> str:
    """The id of an insight: a function of its evidence. Source: detectors.md, section 1.3.

    Of several insights of one anchor all but the first have their `ordinal` at the end of the name.
    """
    name = f"{project_id}|{session_id}|{insight_type}|{anchor_event_id}|{rule_version}"
    if ordinal:
        name += f"|{ordinal}"
    return str(uuid5(INSIGHT_NAMESPACE, name))


def insight_of(
    finding: Finding, project_id: str, session_id: str, *, is_provisional: bool = False
) -> Insight:
    """The row of a finding; pixels saturate at 16 bits."""
    details = {
        **finding.details,
        "severity": finding.severity,
        "rule_version": finding.rule_version,
    }
    return Insight(
        insight_id=insight_id(
            project_id,
            session_id,
            finding.insight_type,
            finding.anchor_event_id,
            finding.rule_version,
            finding.ordinal,
        ),
        project_id=project_id,
        session_id=session_id,
        insight_type=finding.insight_type,
        timestamp_ms=finding.at_ms,
        ended_at_ms=finding.ended_at_ms,
        url=finding.url,
        path=finding.path,
        x=_int16(finding.x),
        y=_int16(finding.y),
        target_selector=finding.target_selector,
        severity=finding.severity,
        rule_version=finding.rule_version,
        details=msgspec.json.encode(details, order="sorted").decode(),
        related_event_ids=finding.related_event_ids[:RELATED_MAX],
        is_provisional=is_provisional,
    )


def _int16(value: int | None) -> int | None:
    return None if value is None else max(-32_768, min(32_767, value))
