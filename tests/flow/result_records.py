"""Records of the topics gosight.sessions and gosight.insights, for tests."""

from __future__ import annotations

import random

from connectors.kafka_log import OutRecord
from flows.core.insight import Insight
from flows.core.session_row import SessionRow, insight_message, session_message
from schemas.topics import INSIGHTS, SESSIONS
from tests.factories import NOW_MS, make_uuid


def a_row(
    project_id: str, session_id: str, revision: int, *, at_ms: int = NOW_MS, is_closed: bool = False
) -> SessionRow:
    """One revision of a session that gets a page with each."""
    return SessionRow(
        session_id=session_id,
        project_id=project_id,
        started_at_ms=at_ms,
        ended_at_ms=at_ms + 1_000 * revision,
        revision=revision,
        is_closed=is_closed,
        duration_ms=1_000 * revision,
        entry_url="https://shop.example/",
        entry_path="/",
        exit_path=f"/p/{revision}",
        page_count=revision,
        event_count=3 * revision,
        revenue_minor=-5,
        currency="EUR",
        experience_score=85 if is_closed else None,
        issues='[{"type":"rage_click","count":1,"penalty":15,"insight_ids":[]}]'
        if is_closed
        else "[]",
        emotion="frustrated" if is_closed else "",
        emotion_confidence=0.6 if is_closed else 0.0,
        emotion_event_id=session_id if is_closed else None,
    )


def an_insight(
    project_id: str, insight_id: str, session_id: str, *, at_ms: int = NOW_MS, preview: bool = False
) -> Insight:
    """A burst of clicks."""
    return Insight(
        insight_id=insight_id,
        project_id=project_id,
        session_id=session_id,
        insight_type="rage_click",
        timestamp_ms=at_ms,
        ended_at_ms=at_ms + 1_200,
        url="https://shop.example/cart",
        path="/cart",
        x=0,
        y=None,
        target_selector="#apply",
        severity="high",
        rule_version=1,
        details='{"click_count":5,"rule_version":1,"severity":"high"}',
        related_event_ids=(insight_id, session_id),
        is_provisional=preview,
    )


def record_of(result: SessionRow | Insight) -> OutRecord:
    """As the topic has it."""
    if isinstance(result, Insight):
        value = insight_message(result).SerializeToString()
        return OutRecord(INSIGHTS.name, result.project_id.encode(), value)
    key = f"{result.project_id}:{result.session_id}".encode()
    return OutRecord(SESSIONS.name, key, session_message(result).SerializeToString())


def some_results(
    chance: random.Random, project_id: str, sessions: int, *, at_ms: int = NOW_MS
) -> tuple[list[SessionRow | Insight], dict[str, SessionRow], dict[str, Insight]]:
    """Results as topics have them, many of them twice; and what must come of them by id."""
    results: list[SessionRow | Insight] = []
    rows: dict[str, SessionRow] = {}
    insights: dict[str, Insight] = {}
    for _ in range(sessions):
        session = make_uuid(chance)
        last = chance.randint(1, 5)
        for revision in range(1, last + 1):
            row = a_row(project_id, session, revision, at_ms=at_ms, is_closed=revision == 4)
            results += [row] * chance.choice((1, 1, 2))
            rows[session] = row
        found = an_insight(project_id, make_uuid(chance), session, at_ms=at_ms)
        insights[found.insight_id] = found
        preview = an_insight(project_id, found.insight_id, session, at_ms=at_ms, preview=True)
        results += [preview, found, *([found] * chance.choice((0, 1)))]
    return results, rows, insights
