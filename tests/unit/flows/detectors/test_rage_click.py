"""Rage click: the worked examples R1 to R7 of the rule, and what they leave open."""

from __future__ import annotations

from flows.core.detectors.hull import hull
from flows.core.detectors.rage_click import RageClick
from flows.core.session_event import SessionEvent
from schemas.detection_settings import ByPath, RageClickParams
from tests.session_events import Script, found, told

RAGE = RageClick()


def clicks(script: Script, *points: tuple[int, int, int], path: str = "/") -> list[SessionEvent]:
    """Clicks given as (time, x, y)."""
    return [script.click(at_ms, x, y, path=path) for at_ms, x, y in points]


def test_r1_five_clicks_at_one_place_are_one_burst() -> None:
    """R1: all totals of a burst."""
    events = clicks(Script(), *((300 * i, 400 + i, 300) for i in range(5)))
    (finding,) = found(RAGE, *events)
    assert finding.at_ms == 0
    assert finding.ended_at_ms == 1_200
    assert (finding.x, finding.y) == (402, 300)
    assert finding.target_selector == "#buy"
    assert finding.severity == "high"
    assert finding.anchor_event_id == events[0].event_id
    assert finding.related_event_ids == tuple(event.event_id for event in events)
    assert finding.details == {
        "click_count": 5,
        "time_window_ms": 2_000,
        "duration_ms": 1_200,
        "first_click_at": 0,
        "last_click_at": 1_200,
        "center_x": 402,
        "center_y": 300,
        "radius": 2,
    }


def test_r2_the_window_is_closed() -> None:
    """R2: exactly 2000 ms is within, 2001 is not."""
    for last_ms, durations in ((2_000, [2_000]), (2_001, [])):
        times = (0, 500, 1_000, 1_500, last_ms)
        events = clicks(Script(), *((at_ms, 100, 100) for at_ms in times))
        assert [f.details["duration_ms"] for f in found(RAGE, *events)] == durations


def test_r3_a_burst_ends_after_a_quiet_window() -> None:
    """R3: a gap of 2001 ms makes two bursts, one of 2000 makes one."""
    for second_ms, counts in (
        (3_751, [(8, 0, 1_750), (5, 3_751, 1_200)]),
        (3_750, [(13, 0, 4_950)]),
    ):
        times = [250 * i for i in range(8)] + [second_ms + 300 * i for i in range(5)]
        findings = found(RAGE, *clicks(Script(), *((at_ms, 400, 300) for at_ms in times)))
        assert [
            (f.details["click_count"], f.at_ms, f.details["duration_ms"]) for f in findings
        ] == counts


def test_r4_there_are_no_cells() -> None:
    """R4: clicks around x = 50 are one burst."""
    xs = (48, 49, 51, 52, 50)
    (finding,) = found(RAGE, *clicks(Script(), *((200 * i, x, 10) for i, x in enumerate(xs))))
    assert (finding.x, finding.y) == (50, 10)


def test_r5_a_stray_click_neither_counts_nor_blocks() -> None:
    """R5: one click elsewhere in the middle."""
    events = clicks(
        Script(), (0, 100, 100), (200, 100, 100), (400, 190, 100), (600, 100, 100),
        (800, 101, 100), (1_000, 102, 100),
    )  # fmt: skip
    (finding,) = found(RAGE, *events)
    assert finding.details["click_count"] == 5
    assert (finding.x, finding.y) == (101, 100)


def test_r6_the_radius_is_closed() -> None:
    """R6: exactly 50 px from the centre is within, 52 is not."""
    near = clicks(Script(), *((200 * i, 25 * i, 100) for i in range(5)))
    far = clicks(Script(), *((200 * i, 26 * i, 100) for i in range(5)))
    assert [f.details["radius"] for f in found(RAGE, *near)] == [50]
    assert found(RAGE, *far) == []


def test_r7_pages_do_not_share_clicks_and_four_are_too_few() -> None:
    """R7."""
    script = Script()
    events = clicks(script, *((200 * i, 9, 9) for i in range(3)), path="/a")
    events += clicks(script, *((600 + 200 * i, 9, 9) for i in range(2)), path="/b")
    assert found(RAGE, *events) == []
    assert found(RAGE, *clicks(Script(), *((100 * i, 9, 9) for i in range(4)))) == []


def test_other_buttons_keyboard_and_ignored_selectors_do_not_count() -> None:
    """Only presses of the left button with a position count."""
    script = Script()
    six = [100 * i for i in range(6)]
    assert found(RAGE, *(script.click(at_ms, is_left=False) for at_ms in six)) == []
    assert found(RAGE, *(script.click(at_ms, None, None) for at_ms in six)) == []
    ignoring = RageClick(ignored=frozenset({"#buy"}))
    assert found(ignoring, *(script.click(at_ms) for at_ms in six)) == []
    assert len(found(RAGE, *(script.click(at_ms) for at_ms in six))) == 1


def test_the_selector_is_the_most_frequent_one() -> None:
    """Of equally frequent ones the first."""
    script = Script()
    names = ("#b", "#a", "#c", "#a", "#b", "#c")
    (finding,) = found(
        RAGE, *(script.click(100 * i, selector=name) for i, name in enumerate(names))
    )
    assert finding.target_selector == "#b"


def test_a_burst_is_capped_and_the_next_one_needs_all_of_it() -> None:
    """After 60 s a burst is reported; what follows counts from one."""
    events = clicks(Script(), *((500 * i, 9, 9) for i in range(126)))
    first, second = found(RAGE, *events)
    assert first.details["duration_ms"] == 60_000
    assert first.details["click_count"] == 121
    assert len(first.related_event_ids) == 50
    assert (second.at_ms, second.details["click_count"]) == (60_500, 5)


def test_a_long_burst_keeps_its_exact_radius() -> None:
    """Points that are dropped to bound the state cannot be the farthest."""
    points = [((37 * i) % 61 - 30, (53 * i) % 59 - 29) for i in range(300)]
    script = Script()
    events = clicks(script, *((100 * i, 500 + x, 500 + y) for i, (x, y) in enumerate(points)))
    (finding,) = found(RAGE, *events)
    assert finding.details["click_count"] == 300
    mean_x = sum(x for x, _ in points) / 300
    mean_y = sum(y for _, y in points) / 300
    exact = max(((x - mean_x) ** 2 + (y - mean_y) ** 2) ** 0.5 for x, y in points)
    assert exact <= finding.details["radius"] < exact + 1


def test_hull_keeps_corners_only() -> None:
    """Neither inner points nor those on an edge."""
    square = [(x, y) for x in range(5) for y in range(5)]
    assert set(hull(square)) == {(0, 0), (0, 4), (4, 0), (4, 4)}
    assert hull([(1, 1), (1, 1)]) == [(1, 1)]


def test_paths_have_their_own_parameters() -> None:
    """A pattern of paths changes the rule for those pages alone, or switches it off."""
    params = ByPath(
        RageClickParams(),
        (("/off/*", RageClickParams(enabled=False)), ("/strict*", RageClickParams(min_clicks=3))),
    )
    script = Script()
    for path, counts in (("/", []), ("/strict", [4]), ("/off/x", [])):
        events = clicks(script, *((100 * i, 9, 9) for i in range(4)), path=path)
        assert [f.details["click_count"] for f in found(RageClick(params), *events)] == counts


def test_an_open_burst_can_be_previewed_with_its_final_anchor() -> None:
    """What is announced on opening has the id of what is found at the end."""
    events = clicks(Script(), *((100 * i, 9, 9) for i in range(7)))
    state = None
    seen = []
    for event in events:
        state, _ = RAGE.on_event(state, event, event.at_ms)
        assert state is not None
        seen.append([f.anchor_event_id for f in RAGE.provisional(state)])
    assert seen == [[], [], [], [], *[[events[0].event_id]] * 3]


def test_every_click_is_explained() -> None:
    """Fired, part, too few with the largest group, and not judged."""
    script = Script()
    explain = RageClick(explain=True)
    burst = clicks(script, *((100 * i, 9, 9) for i in range(5)))
    assert told(explain, *burst) == [
        ("1", "fired", "burst"),
        *((str(i), "part", "burst") for i in range(2, 6)),
    ]
    few = [*clicks(script, (9_000, 9, 9), (9_100, 9, 9)), script.click(9_200, None, None)]
    assert told(explain, *few) == [
        ("8", "not_judged", "by_keyboard"),
        ("6", "not_fired", "too_few_clicks"),
        ("7", "not_fired", "too_few_clicks"),
    ]
