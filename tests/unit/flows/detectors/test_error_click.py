"""Error click: the worked examples E1 to E6 of the rule, and what they leave open."""

from __future__ import annotations

from flows.core.detectors.error_click import ErrorClick
from flows.core.session_event import SessionEvent
from tests.session_events import Script, found, told

ERROR = ErrorClick()


def blamed(*events: SessionEvent) -> list[tuple[int, int]]:
    """Findings as (time of the click, time to the error)."""
    return [(f.at_ms, f.details["time_to_error_ms"]) for f in found(ERROR, *events)]


def test_e1_the_click_before_an_error_is_blamed() -> None:
    """E1: all fields."""
    script = Script()
    click, error = script.click(1_000, 5, 6), script.error(1_040, "boom")
    (finding,) = found(ERROR, click, error)
    assert finding.anchor_event_id == click.event_id
    assert finding.details == {
        "error_event_id": error.event_id,
        "time_to_error_ms": 40,
        "error_message": "boom",
        "error_type": "TypeError",
    }
    assert finding.related_event_ids == (click.event_id, error.event_id)
    assert (finding.x, finding.y, finding.severity) == (5, 6, "high")


def test_e2_the_window_is_closed_at_both_ends() -> None:
    """E2: at once and after exactly 1000 ms count, whichever of the two is told first."""
    script = Script()
    assert blamed(script.click(1_000), script.error(1_000)) == [(1_000, 0)]
    assert blamed(script.error(1_000), script.click(1_000)) == [(1_000, 0)]
    assert blamed(script.click(1_000), script.error(2_000)) == [(1_000, 1_000)]
    assert blamed(script.click(1_000), script.error(2_001)) == []


def test_e3_the_latest_click_is_blamed() -> None:
    """E3."""
    script = Script()
    assert blamed(script.click(1_000), script.click(1_500), script.error(1_600)) == [(1_500, 100)]


def test_e4_a_click_is_blamed_once() -> None:
    """E4: the first error wins."""
    script = Script()
    assert blamed(script.click(1_000), script.error(1_100, "a"), script.error(1_200, "b")) == [
        (1_000, 100)
    ]


def test_e5_the_same_error_there_soon_after_is_the_same_one() -> None:
    """E5: c2 belongs to c1; c3 comes later."""
    script = Script()
    assert blamed(
        script.click(1_000), script.error(1_100), script.click(1_800), script.error(1_900),
        script.click(5_000), script.error(5_100, kind="unhandled_rejection"),
    ) == [(1_000, 100), (5_000, 100)]  # fmt: skip


def test_e6_what_is_not_blamed() -> None:
    """E6: an error before the click; errors of other kinds."""
    script = Script()
    assert blamed(script.error(900), script.click(1_000)) == []
    assert blamed(script.click(1_000), script.event(1_100, "console_error")) == []


def test_repetitions_slide() -> None:
    """Each within 2 s of the last one belongs to it, found or not."""
    script = Script()
    events = []
    for at_ms in (0, 1_900, 3_800, 5_801):
        events += [script.click(at_ms), script.error(at_ms + 50)]
    assert [at_ms for at_ms, _ in blamed(*events)] == [0, 5_801]


def test_another_error_or_element_is_another_one() -> None:
    """The fold key is page, selector, type and message."""
    script = Script()
    events = [
        script.click(0), script.error(10, "a"),
        script.click(500), script.error(510, "b"),
        script.click(1_000, selector="#other"), script.error(1_010, "a"),
        script.click(1_500, path="/p"), script.error(1_510, "a", path="/p"),
    ]  # fmt: skip
    assert len(blamed(*events)) == 4


def test_every_click_and_error_is_explained() -> None:
    """Fired, repeated, spared, and errors without a click."""
    script = Script()
    events = [
        script.click(0), script.error(10), script.click(500), script.error(510),
        script.click(5_000), script.error(9_000),
    ]  # fmt: skip
    assert told(ErrorClick(explain=True), *events) == [
        ("1", "fired", "error_follows"),
        ("3", "part", "repeated"),
        ("5", "not_fired", "no_error_follows"),
        ("6", "not_fired", "no_click_before"),
    ]
