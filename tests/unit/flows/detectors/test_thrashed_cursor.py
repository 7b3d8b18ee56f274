"""Thrashed cursor: the worked examples T1 to T7 of the rule, and what they leave open."""

from __future__ import annotations

from math import cos, pi, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.detectors.thrashed_cursor import ThrashedCursor
from flows.core.insight import Finding, Verdict, insight_of
from flows.core.session_event import SessionEvent
from flows.core.session_run import run_session
from schemas.detection_settings import ByPath, ThrashedCursorParams
from tests.session_events import Script, found, told

THRASH = ThrashedCursor()


def zigzag(width: int, step_ms: int, count: int, begin_ms: int = 0) -> list[tuple[int, int, int]]:
    """Points (time, x, y) between x = 100 and 100 + width at y = 200."""
    return [(begin_ms + step_ms * i, 100 + width * (i % 2), 200) for i in range(count)]


def test_t1_a_fast_zigzag_of_two_seconds() -> None:
    """T1: all totals."""
    events = Script().way(zigzag(40, 50, 41))
    (finding,) = found(THRASH, *events)
    assert finding.at_ms == 0
    assert finding.ended_at_ms == 2_000
    assert finding.anchor_event_id == events[0].event_id
    assert finding.details == {
        "duration_ms": 2_000,
        "distance_px": 1_600,
        "direction_changes": 39,
        "velocity_px_s": 800,
        "area_bounds": {"top": 200, "left": 100, "width": 40, "height": 0},
    }
    assert (finding.x, finding.y, finding.target_selector) == (120, 200, None)
    assert finding.related_event_ids == tuple(event.event_id for event in events)


def test_t2_too_short() -> None:
    """T2: 1950 ms."""
    assert found(THRASH, *Script().way(zigzag(40, 50, 40))) == []


def test_t3_too_slow() -> None:
    """T3: 400 px/s."""
    assert found(THRASH, *Script().way(zigzag(20, 50, 41))) == []


def test_t4_few_positions() -> None:
    """T4: 21 positions in 2 s are enough."""
    (finding,) = found(THRASH, *Script().way(zigzag(60, 100, 21)))
    assert finding.details["duration_ms"] == 2_000
    assert finding.details["direction_changes"] == 19
    assert finding.details["velocity_px_s"] == 600


def test_t5_lines_and_circles_are_no_thrash() -> None:
    """T5: neither a straight diagonal with noise nor a circle turns back."""
    noise = (0, 1, -1, 2, -2)
    line = [(50 * i, 21 * i + noise[i % 5], 21 * i + noise[(i + 2) % 5]) for i in range(61)]
    assert found(THRASH, *Script().way(line)) == []
    circle = [
        (50 * i, round(500 + 200 * cos(pi * i / 10)), round(500 + 200 * sin(pi * i / 10)))
        for i in range(80)
    ]
    assert found(THRASH, *Script().way(circle)) == []


def test_t6_a_pause_ends_an_episode() -> None:
    """T6: two of them."""
    points = zigzag(40, 50, 81) + zigzag(40, 50, 41, 6_000)
    first, second = found(THRASH, *Script().way(points))
    assert (first.at_ms, first.details["duration_ms"]) == (0, 4_000)
    assert first.details["direction_changes"] == 79
    assert (second.at_ms, second.details["duration_ms"]) == (6_000, 2_000)


def test_t7_a_pause_splits_the_run() -> None:
    """T7: 600 ms without a position."""
    points = zigzag(40, 50, 21) + zigzag(40, 50, 21, 1_600)
    assert found(THRASH, *Script().way(points, per_event=60)) == []


def test_a_change_of_page_ends_it() -> None:
    """The way on another page begins anew."""
    script = Script()
    points = zigzag(40, 50, 60)
    events = script.way(points[:30], "/a") + script.way(points[30:], "/b")
    assert found(THRASH, *events) == []
    whole = script.way(points, "/a") + script.way(zigzag(40, 50, 10, 3_000), "/b")
    (finding,) = found(THRASH, *whole)
    assert (finding.path, finding.details["duration_ms"]) == ("/a", 2_950)


def test_an_episode_without_turns_is_over() -> None:
    """It reaches to the last turn, whatever came after."""
    straight = [(2_050 + 50 * i, 70 - 30 * i, 200) for i in range(60)]
    (finding,) = found(THRASH, *Script().way(zigzag(40, 50, 41) + straight))
    assert finding.details["duration_ms"] == 2_000
    assert finding.details["distance_px"] == 1_600
    assert finding.details["area_bounds"]["width"] == 40


def test_the_way_there_is_no_part_of_it() -> None:
    """It begins with the step before its first turn; by the bare rule, where the window does."""
    way = [(50 * i, 100, 2_000 - 45 * i) for i in range(40)]
    aside = [(2_000, 130, 200), (2_050, 90, 200)]  # One turn, more than a second before the others.
    wait = [(2_100 + 50 * i, 86 - 4 * i, 200) for i in range(22)]
    points = way + aside + wait + zigzag(40, 50, 61, 3_200)
    (finding,) = found(THRASH, *Script().way(points))
    assert (finding.at_ms, finding.ended_at_ms) == (3_100, 6_200)
    assert finding.details["direction_changes"] == 60
    bare = ThrashedCursor(ByPath(ThrashedCursorParams(skip_lead_in=False)))
    (early,) = found(bare, *Script().way(points))
    assert early.at_ms < 2_000
    assert early.ended_at_ms == 6_200


def test_a_short_shake_after_a_long_way_is_too_short() -> None:
    """The way does not make it two seconds."""
    way = [(50 * i, 100, 2_000 - 45 * i) for i in range(30)]
    points = way + zigzag(60, 50, 21, 1_500)
    assert found(THRASH, *Script().way(points)) == []
    bare = ThrashedCursor(ByPath(ThrashedCursorParams(skip_lead_in=False)))
    assert len(found(bare, *Script().way(points))) == 1


def test_an_episode_is_capped() -> None:
    """After 60 s it is reported, and the next one needs all of it again."""
    first, second = found(THRASH, *Script().way(zigzag(40, 50, 1_300)))
    assert first.details["duration_ms"] == 60_000
    assert second.at_ms == 60_050
    assert len(first.related_event_ids) == 50


def test_how_positions_are_spread_over_events_does_not_matter() -> None:
    """Only anchors and related ids tell."""
    points = zigzag(40, 50, 81) + zigzag(7, 50, 20, 4_300) + zigzag(60, 100, 45, 7_000)
    totals = [
        [(f.at_ms, f.details) for f in found(THRASH, *Script().way(points, per_event=size))]
        for size in (1, 7, 30, 200)
    ]
    assert len(totals[0]) == 2
    assert all(each == totals[0] for each in totals)


def test_how_positions_are_spread_does_not_matter_for_more_steps_than_are_kept() -> None:
    """A minute of them, of which the last `STEPS_MAX` are looked at together."""
    points = zigzag(40, 50, 1_200)
    for least_ms, count in ((20_000, 1), (26_000, 0)):
        wide = ThrashedCursorParams(min_duration_ms=least_ms, window_ms=60_000)
        thrash = ThrashedCursor(ByPath(wide), max_episode_ms=60_000)
        for size in (1, 7, 20, 200):
            assert len(found(thrash, *Script().way(points, per_event=size))) == count


def test_two_that_begin_in_one_event_are_two() -> None:
    """Each with an id of its own, also as previews; the first one's is as ever."""
    points = zigzag(40, 50, 41) + zigzag(40, 50, 41, 3_100) + zigzag(40, 50, 41, 6_200)
    events = Script().way(points, per_event=200)
    findings = found(THRASH, *events)
    assert [finding.anchor_event_id for finding in findings] == [events[0].event_id] * 3
    ids = [insight_of(finding, "p", "s").insight_id for finding in findings]
    assert len(set(ids)) == 3
    (alone,) = found(THRASH, *Script().way(points[:41], per_event=200))
    assert insight_of(alone, "p", "s").insight_id == ids[0]
    state, made = THRASH.on_event(None, events[0], events[0].at_ms)
    assert state is not None
    previews = [each for each in (*made, *THRASH.provisional(state)) if isinstance(each, Finding)]
    assert [insight_of(finding, "p", "s").insight_id for finding in previews] == ids


def test_the_page_is_that_of_the_first_position() -> None:
    """The address may have changed on the way, but for its path."""
    script = Script()
    slow = [(50 * i, 5 * i, 200) for i in range(160)]
    before = script.way(slow[:40], "/a?step=1")
    after = script.way(slow[40:] + zigzag(40, 50, 160, 8_000), "/a?step=2")
    (finding,) = found(THRASH, *before, *after)
    anchor = next(event for event in after if event.event_id == finding.anchor_event_id)
    assert finding.url == anchor.page.url
    assert finding.url != before[0].page.url


def test_a_page_that_is_not_looked_at_ends_it_as_any_other() -> None:
    """The way goes on elsewhere, and begins anew."""
    script = Script()
    points = zigzag(40, 50, 60)
    events = [
        *script.way(points[:30], "/a"),
        *script.way([(1_500, 0, 0)], "/b"),
        *script.way(points[30:], "/a"),
    ]
    off = ThrashedCursorParams(enabled=False)
    for params in (ByPath(ThrashedCursorParams()), ByPath(ThrashedCursorParams(), (("/b", off),))):
        assert found(ThrashedCursor(params), *events) == []


def test_a_step_that_takes_longer_than_the_window_can_be_explained() -> None:
    """Nothing is left of the way before it."""
    slow = ByPath(ThrashedCursorParams(max_gap_ms=10_000))
    events = Script().way([*zigzag(40, 50, 8), (6_350, 400, 200)], per_event=20)
    made = run_session([ThrashedCursor(slow, explain=True)], events)
    assert [each.reason for each in made if isinstance(each, Verdict)] == ["duration_ms_too_low"]


def _points(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    at_ms = x = y = 0
    points = []
    for gap_ms, dx, dy in steps:
        at_ms, x, y = at_ms + gap_ms, x + dx, y + dy
        points.append((at_ms, x, y))
    return points


_STEP = st.tuples(
    st.sampled_from([16, 50, 50, 50, 50, 120, 501]),
    st.sampled_from([-60, -30, -2, 0, 1, 30, 60]),
    st.sampled_from([-40, 0, 0, 40]),
)
_SLOW_STEP = st.tuples(
    st.sampled_from([50, 50, 50, 200]),
    st.sampled_from([-2, 0, 1, 3, 7, 12]),
    st.sampled_from([-1, 0, 5]),
)
_WAY = st.lists(
    st.one_of(
        st.lists(_STEP, min_size=1, max_size=60),
        st.lists(_SLOW_STEP, min_size=40, max_size=160),
        # Fast to and fro for long enough.
        st.builds(lambda n, a: [(50, a * (-1) ** i, 0) for i in range(n)],
                  st.integers(20, 60), st.sampled_from([20, 26, 40])),
    ),
    min_size=1,
    max_size=5,
).map(lambda parts: [step for part in parts for step in part])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(_WAY, st.sampled_from([1, 7, 20, 30]))
def test_keeping_moves_unseen_changes_nothing(
    steps: list[tuple[int, int, int]], per_event: int
) -> None:
    """A detector that explains looks at each position; one that does not finds the same."""
    events = Script().way(_points(steps), per_event=per_event)
    explained = run_session([ThrashedCursor(explain=True)], events)
    assert found(THRASH, *events) == [each for each in explained if isinstance(each, Finding)]


def test_an_open_episode_can_be_previewed_with_its_final_anchor() -> None:
    """What is announced on opening has the id of what is found at the end."""
    events: list[SessionEvent] = Script().way(zigzag(40, 50, 81))
    state = None
    seen = []
    for event in events:
        state, _ = THRASH.on_event(state, event, event.at_ms)
        assert state is not None
        seen += [f.anchor_event_id for f in THRASH.provisional(state)]
    assert set(seen) == {events[0].event_id}


@pytest.mark.parametrize(
    ("points", "verdicts"),
    [
        (zigzag(40, 50, 41), [("1", "fired", "thrashed")]),
        (zigzag(20, 50, 41), [("1", "not_fired", "velocity_px_s_too_low")]),
        (zigzag(40, 50, 20), [("1", "not_fired", "duration_ms_too_low")]),
        (zigzag(40, 50, 3), []),
    ],
)
def test_candidates_are_explained(
    points: list[tuple[int, int, int]], verdicts: list[tuple[str, str, str]]
) -> None:
    """What turned often, but not long or fast enough."""
    explain = ThrashedCursor(explain=True)
    events = Script().way(points)
    assert told(explain, *events) == verdicts
    findings = [each for each in run_session([explain], events) if isinstance(each, Finding)]
    assert findings == found(THRASH, *events)
