"""Thrashed cursor: the worked examples T1 to T7 of the rule, and what they leave open."""

from __future__ import annotations

from math import cos, pi, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.detectors.thrashed_cursor import ThrashedCursor
from flows.core.insight import Finding
from flows.core.session_event import SessionEvent
from flows.core.session_run import run_session
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
