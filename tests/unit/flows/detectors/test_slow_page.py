"""Slow page: the worked examples S1 to S5 of the rule, and what they leave open."""

from __future__ import annotations

from flows.core.detectors.slow_page import SlowPage
from flows.core.session_event import SessionEvent
from schemas.detection_settings import ByPath, SlowPageParams
from tests.session_events import Script, found, told

PLAIN = SlowPage(ByPath(SlowPageParams(late_vitals=False)))


def slow(*events: SessionEvent) -> list[tuple[int, str, int, int, list[str]]]:
    """Findings as (time, metric, value, threshold, reasons)."""
    return [
        (
            f.at_ms,
            f.details["metric"],
            f.details["load_time_ms"],
            f.details["threshold_ms"],
            f.details["reasons"],
        )
        for f in found(PLAIN, *events)
    ]


def test_s1_reports_of_one_page_are_one_finding() -> None:
    """S1: only the LCP is above its limit."""
    script = Script()
    events = [
        script.event(0, "page_view"),
        script.report(1_200, "page_load", ttfb=600, load_complete=2_800),
        script.report(3_600, "web_vitals", lcp=3_500, cls=0.1),
        script.event(20_000, "page_view", "/b"),
    ]
    assert slow(*events) == [(0, "lcp", 3_500, 3_000, ["lcp"])]
    (finding,) = found(PLAIN, *events)
    assert finding.details["cls"] == 0.1
    assert (finding.details["ttfb"], finding.details["load_complete"]) == (600, 2_800)
    assert finding.anchor_event_id == events[0].event_id
    assert finding.ended_at_ms == 3_600


def test_s2_the_limits_themselves_are_fast_enough() -> None:
    """S2."""
    assert slow(Script().report(0, "web_vitals", lcp=3_000, ttfb=800)) == []


def test_s3_a_slow_first_byte() -> None:
    """S3: without a view the first report is the anchor."""
    report = Script().report(500, "page_load", ttfb=1_200, load_complete=2_000)
    assert slow(report) == [(500, "ttfb", 1_200, 800, ["ttfb"])]


def test_s4_the_largest_value_counts() -> None:
    """S4: several reports of one metric; the metric is the one furthest above its limit."""
    script = Script()
    events = [script.report(at_ms, "web_vitals", lcp=at_ms) for at_ms in (900, 2_500, 4_200)]
    events.append(script.report(4_300, "page_load", load_complete=3_900, ttfb=300))
    assert slow(*events) == [(900, "lcp", 4_200, 3_000, ["lcp", "load"])]


def test_s5_each_view_of_a_page_is_one() -> None:
    """S5: the next view of the page closes it."""
    script = Script()
    events = [
        script.event(0, "page_view", "/a"),
        script.report(4_000, "web_vitals", "/a", lcp=3_900),
        script.event(6_000, "page_view", "/b"),
        script.event(9_000, "page_view", "/a"),
        script.report(13_200, "web_vitals", "/a", lcp=4_100),
    ]
    assert [at_ms for at_ms, *_ in slow(*events)] == [0, 9_000]


def test_later_reports_are_ignored_until_the_next_view() -> None:
    """10 s after the first report the page is closed; exactly then it is not yet."""
    for last_ms, count in ((11_000, 1), (11_001, 0)):
        script = Script()
        events = [
            script.event(0, "page_view"),
            script.report(1_000, "page_load", load_complete=900),
            script.report(last_ms, "web_vitals", lcp=9_000),
        ]
        assert len(slow(*events)) == count


def test_late_vitals_still_tell() -> None:
    """The LCP that is reported when the page is left counts, however long the visitor stayed."""
    script = Script()
    events = [
        script.event(0, "page_view"),
        script.report(100, "page_load", load_complete=90, ttfb=10),
        script.report(60_000, "web_vitals", lcp=4_500),
        script.report(61_000, "web_vitals", lcp=5_500),
        script.event(70_000, "page_view"),
        script.report(70_100, "page_load", load_complete=90),
        script.report(130_000, "page_load", load_complete=9_000),
        script.report(140_000, "web_vitals", lcp=2_900),
    ]
    assert [(f.at_ms, f.details["lcp"], f.details["ttfb"]) for f in found(SlowPage(), *events)] == [
        (0, 4_500, 10)
    ]
    assert slow(*events) == []


def test_pages_are_bounded() -> None:
    """The oldest page is closed for a new one, and found if it was slow."""
    script = Script()
    events = [script.report(i, "page_load", f"/{i}", load_complete=5_000) for i in range(40)]
    assert len(slow(*events)) == 40


def test_pages_are_explained() -> None:
    """With what was measured."""
    script = Script()
    events = [
        script.event(0, "page_view", "/a"),
        script.report(10, "page_load", "/a", ttfb=900),
        script.event(20, "page_view", "/b"),
        script.report(30, "page_load", "/b", ttfb=9),
    ]
    assert told(SlowPage(explain=True), *events) == [
        ("1", "fired", "slow"),
        ("3", "not_fired", "fast_enough"),
    ]
