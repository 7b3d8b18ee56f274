"""The rage rules of PostHog and Datadog, as far as they are published."""

from __future__ import annotations

from flows.core.detection_rules import rules_of_document
from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent
from flows.core.session_run import run_session
from tests.session_events import Script


def rages(preset: str, *events: SessionEvent) -> list[tuple[int, int]]:
    """Findings as (time, clicks)."""
    (rage, *_) = rules_of_document({"insights": {"preset": preset}}).detectors()
    made = run_session([rage], events)
    return [(f.at_ms, f.details["click_count"]) for f in made if isinstance(f, Finding)]


def test_posthog_finds_a_chain_once_at_its_third_click() -> None:
    """However long it is; each click less than a second and 30 px over both axes from the last."""
    script = Script()
    assert rages("posthog", *(script.click(900 * i) for i in range(7))) == [(0, 3)]
    assert rages("posthog", *(script.click(1_000 * i) for i in range(7))) == []
    assert rages("posthog", *(script.click(100 * i, 15 * i, 14 * i) for i in range(3))) == [(0, 3)]
    assert rages("posthog", *(script.click(100 * i, 15 * i, 15 * i) for i in range(3))) == []


def test_datadog_finds_a_chain_when_it_has_ended() -> None:
    """With all its clicks, if three of them came within a second, on one target."""
    script = Script()
    times = (0, 900, 1_800, 2_000, 2_800)
    assert rages("datadog", *map(script.click, times)) == [(0, 5)]
    assert rages("datadog", *(script.click(600 * i) for i in range(7))) == []
    mixed = [script.click(100 * i, selector=f"#b{i % 2}") for i in range(8)]
    assert rages("datadog", *mixed) == []
    far = [script.click(100 * i, 100 * i, 0) for i in range(3)]
    assert rages("datadog", *far) == [(0, 3)]
    further = [script.click(100 * i, 101 * i, 0) for i in range(3)]
    assert rages("datadog", *further) == []


def test_enough_clicks_that_were_too_slow_are_explained() -> None:
    """By the least time that so many of them took."""
    (rage, *_) = rules_of_document({"insights": {"preset": "datadog"}}).detectors(explain=True)
    script = Script()
    slow = [script.click(at_ms) for at_ms in (0, 900, 1_800, 2_100)]
    few = [script.click(at_ms) for at_ms in (10_000, 10_100)]
    made = [each for each in run_session([rage], [*slow, *few]) if isinstance(each, Verdict)]
    assert [each.reason for each in made] == ["too_slow"] * 4 + ["too_few_clicks"] * 2
    assert made[0].measured == {"clicks": 4, "duration_ms": 1_200}
    assert made[0].limits == {"clicks": 3, "duration_ms": 1_000}
    assert made[-1].measured == {"clicks": 2}
