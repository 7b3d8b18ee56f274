"""Scores and emotions: the worked examples, and that the order of finding does not matter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.core.experience import (
    ISSUE_INSIGHTS_MAX,
    InsightCounts,
    emotion_of,
    experience_score,
    issues_json,
    issues_of,
)
from flows.core.session_event import Goal
from flows.core.sessionizer import add_batch, session_row
from tests.unit.flows.session_events import batch, event


def found(**counts: int) -> InsightCounts:
    """So many of each type, one a second."""
    known, at_ms = InsightCounts(), 0
    for name, count in counts.items():
        for _ in range(count):
            at_ms += 1_000
            known = known.adding(name, f"insight-{at_ms}", at_ms, f"event-{at_ms}")
    return known


@pytest.mark.parametrize(
    ("counts", "errors", "score"),
    [
        ({}, 0, 100),
        ({"rage_click": 1, "error_click": 1}, 1, 75),
        ({"rage_click": 4, "dead_click": 1}, 0, 50),
        ({"u_turn": 3}, 7, 81),
        ({"rage_click": 3, "error_click": 3, "dead_click": 5, "slow_page": 4}, 3, 0),
    ],
)
def test_score_examples(counts: dict[str, int], errors: int, score: int) -> None:
    """Section 5; an error that a click is blamed for counts once."""
    assert experience_score(issues_of(found(**counts), errors)) == score


def test_issues_say_what_took_the_points() -> None:
    """The largest first, then by type, with the ids of what was found."""
    document: list[dict[str, Any]] = msgspec.json.decode(
        issues_json(issues_of(found(u_turn=1, rage_click=20, dead_click=1, slow_page=1), 1))
    )
    assert [(issue["type"], issue["count"], issue["penalty"]) for issue in document] == [
        ("rage_click", 20, 45),
        ("dead_click", 1, 5),
        ("slow_page", 1, 5),
        ("u_turn", 1, 3),
        ("js_error", 1, 2),
    ]
    assert len(document[0]["insight_ids"]) == ISSUE_INSIGHTS_MAX
    assert document[0]["insight_ids"][0] == "insight-2000"
    assert document[-1]["insight_ids"] == []


@pytest.mark.parametrize(
    ("counts", "is_converted", "label", "confidence"),
    [
        ({"rage_click": 1}, False, "frustrated", 0.60),
        ({"rage_click": 1, "thrashed_cursor": 1}, False, "frustrated", 0.38),
        ({"u_turn": 2}, False, "confused", 0.50),
        ({}, False, "neutral", 0.50),
        ({"slow_page": 2}, False, "impatient", 0.67),
        ({}, True, "satisfied", 0.60),
        ({"rage_click": 1}, True, "frustrated", 0.38),
        ({"dead_click": 1}, True, "satisfied", 0.50),
    ],
)
def test_emotion_examples(
    counts: dict[str, int], is_converted: bool, label: str, confidence: float
) -> None:
    """Section 6: most points win, the order of the table decides between equals."""
    emotion = emotion_of(found(**counts), "goal-1" if is_converted else None)
    assert (emotion.label, emotion.confidence) == (label, confidence)


def test_emotion_names_its_first_evidence() -> None:
    """The earliest of the winning label, a goal, or nothing."""
    assert emotion_of(found(u_turn=1, dead_click=2, rage_click=1), None).event_id == "event-2000"
    assert emotion_of(InsightCounts(), "goal-1").event_id == "goal-1"
    assert emotion_of(InsightCounts(), None).event_id is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["rage_click", "u_turn"]), st.integers(0, 30)),
        max_size=30,
        unique=True,
    ),
    st.randoms(use_true_random=False),
)
def test_order_of_finding_does_not_matter(facts: list[tuple[str, int]], chance: Any) -> None:
    """The same insights give the same counts, ids and evidence, stored in between or not."""
    results = []
    for _ in range(2):
        known = InsightCounts()
        for name, at_ms in facts:
            known = known.adding(name, f"i{name}{at_ms}", at_ms, f"e{at_ms}")
            known = msgspec.msgpack.decode(msgspec.msgpack.encode(known), type=InsightCounts)
        results.append(known)
        chance.shuffle(facts)
    assert results[0] == results[1]


def test_a_session_is_judged_when_closed_and_again_after_reopening() -> None:
    """Not while it is open."""
    events = [event(1, "page_view", 0), event(2, "js_error", 1)]
    totals = add_batch(None, batch(events), events)
    counts = found(rage_click=1)
    row = session_row(totals, counts, revision=1, is_closed=False)
    assert (row.experience_score, row.emotion, row.issues) == (None, "", "[]")
    assert (row.rage_click_count, row.has_rage_click) == (1, True)
    row = session_row(totals, counts, revision=2, is_closed=True)
    assert (row.experience_score, row.emotion, row.emotion_event_id) == (
        83,
        "frustrated",
        "event-1000",
    )
    late = [event(3, "goal", 5_000, "/", Goal("signup")), event(4, "js_error", 5_001)]
    totals = add_batch(totals, batch(late), late)
    assert session_row(totals, counts, revision=3, is_closed=False).experience_score is None
    row = session_row(totals, counts, revision=4, is_closed=True)
    assert (row.experience_score, row.emotion_confidence) == (81, 0.38)
