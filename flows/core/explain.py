"""Why an insight was made of something, or why not: for each click what each detector thought.

In: all events of a session, in any order, and detectors that were made to explain. Out: an
`Explanation` whose fields are the JSON that commands and the API show; fields are added, never
renamed. Nothing is looked up again: what is told is what the detectors measured. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flows.core.detectors.detector import Detector
from flows.core.insight import Finding, Verdict, insight_id
from flows.core.session_event import Click, PageError, SessionEvent
from flows.core.session_run import in_order, run_session

# What a person can ask about without an insight being there.
_ALWAYS_TOLD = frozenset({"click"})
TEXT_LENGTH_MAX = 200


class EventInBrief(msgspec.Struct, frozen=True):
    """What an event was; `about` is its element or its message, where it has one."""

    event_id: str
    kind: str
    at_ms: int
    path: str
    about: str = ""
    x: int | None = None
    y: int | None = None


class ToldVerdict(msgspec.Struct, frozen=True):
    """One detector on one event; see `flows.core.insight.Verdict` for the words."""

    insight_type: str
    outcome: str
    reason: str
    measured: Mapping[str, Any]
    limits: Mapping[str, Any]
    evidence: tuple[str, ...]


class ExplainedEvent(msgspec.Struct, frozen=True):
    """One event and what the detectors said of it, by type and in the order they said it."""

    event: EventInBrief
    verdicts: tuple[ToldVerdict, ...]


class ExplainedInsight(msgspec.Struct, frozen=True):
    """An insight that these events make."""

    insight_id: str
    insight_type: str
    severity: str
    rule_version: int
    anchor_event_id: str
    at_ms: int
    ended_at_ms: int
    path: str
    target_selector: str | None
    details: Mapping[str, Any]
    related_event_ids: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """A session explained. `evidence` holds every event that is named anywhere, by id."""

    project_id: str
    session_id: str
    event_count: int
    events: tuple[ExplainedEvent, ...]
    insights: tuple[ExplainedInsight, ...]
    evidence: Mapping[str, EventInBrief]


class UnknownEventError(LookupError):
    """Neither an event of the session nor an insight that its events make."""


def explain_session(
    detectors: Sequence[Detector[Any]],
    events: Iterable[SessionEvent],
    project_id: str,
    session_id: str,
) -> Explanation:
    """Every click, and every other event that some detector had something to say about."""
    ordered = in_order(events)
    verdicts: dict[str, list[Verdict]] = {}
    findings: list[Finding] = []
    for item in run_session(detectors, ordered):
        if isinstance(item, Verdict):
            verdicts.setdefault(item.event_id, []).append(item)
        else:
            findings.append(item)
    findings.sort(key=lambda finding: (finding.at_ms, finding.insight_type))
    told = tuple(
        ExplainedEvent(_brief(event), _by_type(verdicts.get(event.event_id, ())))
        for event in ordered
        if event.event_id in verdicts or event.kind in _ALWAYS_TOLD
    )
    insights = tuple(_explained(finding, project_id, session_id) for finding in findings)
    return Explanation(
        project_id=project_id,
        session_id=session_id,
        event_count=len(ordered),
        events=told,
        insights=insights,
        evidence=_evidence(told, insights, ordered),
    )


def explain_one(whole: Explanation, wanted_id: str, events: Iterable[SessionEvent]) -> Explanation:
    """What the explanation of a session says about one of its events, or one of its insights.

    Raises:
        UnknownEventError: there is no event and no insight of that id.
    """
    ordered = in_order(events)
    wanted_id = wanted_id.lower()
    found = [insight for insight in whole.insights if insight.insight_id == wanted_id]
    if found:
        ids = {found[0].anchor_event_id, *found[0].related_event_ids}
    elif any(event.event_id == wanted_id for event in ordered):
        ids = {wanted_id}
        found = [
            insight
            for insight in whole.insights
            if wanted_id in (insight.anchor_event_id, *insight.related_event_ids)
        ]
    else:
        raise UnknownEventError(wanted_id)
    known = {told.event.event_id: told for told in whole.events}
    told = tuple(
        known.get(event.event_id) or ExplainedEvent(_brief(event), ())
        for event in ordered
        if event.event_id in ids
    )
    return msgspec.structs.replace(
        whole,
        events=told,
        insights=tuple(found),
        evidence=_evidence(told, tuple(found), ordered),
    )


def _by_type(verdicts: Sequence[Verdict]) -> tuple[ToldVerdict, ...]:
    ordered = sorted(verdicts, key=lambda verdict: verdict.insight_type)
    return tuple(_told(verdict) for verdict in ordered)


def _told(verdict: Verdict) -> ToldVerdict:
    return ToldVerdict(
        verdict.insight_type,
        verdict.outcome,
        verdict.reason,
        verdict.measured,
        verdict.limits,
        verdict.evidence,
    )


def _explained(finding: Finding, project_id: str, session_id: str) -> ExplainedInsight:
    return ExplainedInsight(
        insight_id=insight_id(
            project_id,
            session_id,
            finding.insight_type,
            finding.anchor_event_id,
            finding.rule_version,
            finding.ordinal,
        ),
        insight_type=finding.insight_type,
        severity=finding.severity,
        rule_version=finding.rule_version,
        anchor_event_id=finding.anchor_event_id,
        at_ms=finding.at_ms,
        ended_at_ms=finding.ended_at_ms,
        path=finding.path,
        target_selector=finding.target_selector,
        details=finding.details,
        related_event_ids=finding.related_event_ids,
    )


def _evidence(
    told: Sequence[ExplainedEvent],
    insights: Sequence[ExplainedInsight],
    ordered: Sequence[SessionEvent],
) -> dict[str, EventInBrief]:
    named = {event_id for one in told for verdict in one.verdicts for event_id in verdict.evidence}
    for insight in insights:
        named |= {insight.anchor_event_id, *insight.related_event_ids}
    return {event.event_id: _brief(event) for event in ordered if event.event_id in named}


def _brief(event: SessionEvent) -> EventInBrief:
    body = event.body
    about, x, y = "", None, None
    if isinstance(body, Click):
        about = body.target.selector or body.target.text
        x, y = body.x, body.y
    elif isinstance(body, PageError):
        about = body.message
    return EventInBrief(
        event.event_id, event.kind, event.at_ms, event.page.path, about[:TEXT_LENGTH_MAX], x, y
    )
