"""Sessions made again from their events: what is missing, what is wrong, and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from flows.core.detector_set import DetectorSet
from flows.core.detectors.rage_click import RageClick
from flows.core.detectors.u_turn import UTurn
from flows.core.given_events import given_events
from flows.core.repair import (
    KEPT_BY_DEFAULT,
    KeptDays,
    Repair,
    StoredInsight,
    repair_session,
)
from flows.core.session_event import SessionBatch, SessionEvent
from flows.core.session_row import SessionRow

SESSION = "7b6f3a0e-8f0e-4c2e-9a54-0f8a5d1c2b3a"
RAGE = DetectorSet([RageClick()])
DAY_MS = 86_400_000
EVENTS = given_events(
    ["0s page_view /a", *(f"{1000 + 100 * n}ms click /a selector=#b x=5 y=5" for n in range(5))]
)
TODAY_MS = EVENTS[0].at_ms // DAY_MS * DAY_MS


def batch(*events: SessionEvent, after_ms: int = 0) -> SessionBatch:
    """Events that came together."""
    received_ms = max(event.at_ms for event in events) + after_ms
    return SessionBatch("p", SESSION, received_ms, events, retain_days=30)


def repaired(
    row: SessionRow | None = None,
    insights: Sequence[StoredInsight] = (),
    batches: Sequence[SessionBatch] = (batch(*EVENTS),),
    currency: str = "",
    *,
    now_ms: int = TODAY_MS,
    kept: KeptDays = KEPT_BY_DEFAULT,
    detectors: DetectorSet = RAGE,
) -> Repair:
    """What is to be written of the session."""
    return repair_session(
        batches, row, insights, detectors, now_ms=now_ms, kept=kept, currency=currency
    )


def stored(repair: Repair) -> list[StoredInsight]:
    """Insights as they are known once they are written."""
    return [
        StoredInsight(
            one.insight_id,
            one.insight_type,
            one.timestamp_ms,
            str(one.rule_version),
            one.related_event_ids,
        )
        for one in repair.missing
    ]


def test_a_session_without_a_row_gets_one_with_its_insights() -> None:
    """Closed, under the first revision, counting what is written with it."""
    found = repaired()
    assert found.row is not None
    assert (found.row.revision, found.row.is_closed, found.row.event_count) == (1, True, 6)
    assert (found.row.rage_click_count, found.row.retain_days) == (1, 30)
    assert [insight.insight_type for insight in found.missing] == ["rage_click"]


def test_a_second_repair_finds_nothing() -> None:
    """What was written is what the events say."""
    first = repaired()
    second = repaired(first.row, stored(first))
    assert not second.is_needed
    assert (second.row, second.missing, second.differing) == (None, (), ())


@pytest.mark.parametrize(
    "wrong",
    [{"event_count": 5}, {"ended_at_ms": 1}, {"is_closed": False}, {"rage_click_count": 0},
     {"experience_score": None}, {"emotion_confidence": 0.1}],
)  # fmt: skip
def test_a_wrong_column_gives_the_next_revision(wrong: dict[str, Any]) -> None:
    """The whole row is written anew, and the column is named."""
    first = repaired()
    assert first.row is not None
    row = msgspec.structs.replace(first.row, revision=7, **wrong)
    found = repaired(row, stored(first))
    assert found.differing == tuple(wrong)
    assert found.row == msgspec.structs.replace(first.row, revision=8)
    assert found.missing == ()


def test_what_events_do_not_say_is_kept() -> None:
    """Whether there is a replay, and how long the row is kept."""
    first = repaired()
    assert first.row is not None
    row = msgspec.structs.replace(first.row, has_replay=True, retain_days=5)
    assert not repaired(row, stored(first)).is_needed
    wrong = msgspec.structs.replace(row, page_count=9)
    found = repaired(wrong, stored(first)).row
    assert found is not None
    assert (found.has_replay, found.retain_days) == (True, 5)


def test_revenue_is_in_the_projects_currency() -> None:
    """As the flow wrote it: a row in another one is wrong."""
    paid = given_events(
        ["0s purchase /a value=10 currency=EUR", "1s purchase /a value=20 currency=USD"]
    )
    first = repaired(batches=[batch(*paid)], currency="USD")
    assert first.row is not None
    assert (first.row.currency, first.row.revenue_minor) == ("USD", 2_000)
    assert not repaired(first.row, batches=[batch(*paid)], currency="USD").is_needed
    assert repaired(first.row, batches=[batch(*paid)]).differing == ("revenue_minor", "currency")


def test_a_missing_insight_comes_back_under_its_id() -> None:
    """The row may be right already: then only the insight is written."""
    first = repaired()
    found = repaired(first.row)
    assert found.row is None
    assert found.missing == first.missing


def test_insights_of_other_rules_stay_and_count() -> None:
    """A repair takes nothing away, so it does not argue with what is stored."""
    first = repaired()
    event = EVENTS[0]
    other = StoredInsight(event.event_id, "dead_click", event.at_ms, "1", (event.event_id,))
    found = repaired(first.row, [*stored(first), other])
    assert found.row is not None
    assert (found.row.dead_click_count, found.row.has_dead_click) == (1, True)
    assert not repaired(found.row, [*stored(first), other]).is_needed


def test_events_count_once_however_they_came() -> None:
    """In several batches, out of order, some of them twice."""
    parts = (batch(*EVENTS[3:]), batch(*EVENTS[:4], after_ms=9_000), batch(EVENTS[0], after_ms=99))
    assert msgspec.structs.replace(repaired(batches=parts), missing=()) == msgspec.structs.replace(
        repaired(), missing=()
    )


def test_an_insight_of_another_version_is_the_same_if_it_shares_an_event() -> None:
    """It is not found a second time; one with other evidence is another one."""
    first = repaired()
    (rage,) = stored(first)
    older = msgspec.structs.replace(rage, insight_id=EVENTS[0].event_id, detector_version="0")
    found = repaired(first.row, [older])
    assert found.missing == ()
    assert found.row is not None
    assert found.row.rage_click_count == 1  # Its list of issues names the other id.
    assert not repaired(found.row, [older]).is_needed
    elsewhere = msgspec.structs.replace(older, related_event_ids=(EVENTS[0].event_id,))
    assert [one.insight_id for one in repaired(None, [elsewhere]).missing] == [rage.insight_id]
    # Two cannot be the same as one.
    both = repaired(first.row, [older, rage])
    assert both.missing == ()
    assert both.row is not None
    assert both.row.rage_click_count == 2


def test_a_stored_insight_is_anchored_where_its_id_says() -> None:
    """Also if no rule of now finds it; the first event of its evidence may be another one."""
    visit = given_events(["0s page_view /a", "1s page_view /b", "2s page_view /a"])
    turned = repaired(batches=[batch(*visit)], detectors=DetectorSet([UTurn()]))
    assert turned.row is not None
    assert turned.row.emotion_event_id == visit[2].event_id
    assert not repaired(turned.row, stored(turned), [batch(*visit)]).is_needed


@pytest.mark.parametrize(
    "known",
    [{"started_at_ms": EVENTS[0].at_ms - 1}, {"ended_at_ms": EVENTS[-1].at_ms + 1}],
)
def test_a_row_that_knows_of_other_events_is_left_as_it_is(known: dict[str, int]) -> None:
    """They are gone, or not stored yet."""
    first = repaired()
    assert first.row is not None
    found = repaired(msgspec.structs.replace(first.row, event_count=9, **known))
    assert (found.is_gone, found.is_needed) == (True, False)


@pytest.mark.parametrize(
    ("kept", "retain_days", "days"),
    [
        (KEPT_BY_DEFAULT, 30, 30),
        (KEPT_BY_DEFAULT, 0, 90),
        (KEPT_BY_DEFAULT, 730, 365),
        (KeptDays(sessions=20), 30, 20),
        (KeptDays(insights=10), 30, 10),
    ],
)
def test_after_the_shortest_retention_nothing_can_be_told(
    kept: KeptDays, retain_days: int, days: int
) -> None:
    """Of events, insights and rows what expires first decides, by the day they began."""
    batches = [msgspec.structs.replace(batch(*EVENTS), retain_days=retain_days)]
    last = repaired(batches=batches, kept=kept, now_ms=TODAY_MS + days * DAY_MS - 1)
    assert (last.is_gone, last.is_needed) == (False, True)
    gone = repaired(batches=batches, kept=kept, now_ms=TODAY_MS + days * DAY_MS)
    assert (gone.is_gone, gone.is_needed) == (True, False)


def test_a_row_with_too_many_events_is_mended_while_all_are_kept() -> None:
    """Something was counted twice: the events say so."""
    first = repaired()
    assert first.row is not None
    row = msgspec.structs.replace(first.row, event_count=9)
    assert repaired(row, stored(first)).differing == ("event_count",)
