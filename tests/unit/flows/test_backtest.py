"""Two rules over the same sessions: which insights are the same, and how they are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from flows.core import backtest
from flows.core.backtest import OTHER_PAGES, Comparison, Sides, matched
from flows.core.given_events import BEGINNING_MS, event_id_of, given_events
from flows.core.insight import Finding

DAY = "1440m"


def finding(at_ms: int, *numbers: int, path: str = "/", kind: str = "burst") -> Finding:
    """Something found, with the events of these numbers."""
    ids = tuple(event_id_of(number) for number in numbers)
    return Finding(kind, 1, "low", ids[0], at_ms, at_ms, "", path, None, None, None, {}, ids)


class Bursts:
    """Finds each `clicks` clicks on one page; a rule so simple that results can be told."""

    insight_type = "burst"
    rule_version = 1
    kinds = frozenset({"click"})
    state_type: Any = tuple

    def __init__(self, clicks: int) -> None:
        self.clicks = clicks

    def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
        """One more click; enough of them are found and forgotten."""
        seen = (*(state or ()), event)
        if len(seen) < self.clicks:
            return seen, ()
        numbers = [int(one.event_id[-12:]) for one in seen]
        return None, [finding(seen[0].at_ms, *numbers, path=event.page.path)]

    def on_time(self, state: Any, now_ms: int) -> Any:
        """Nothing is due."""
        return state, ()

    def wake_at_ms(self, state: Any) -> None:
        """Never."""

    def provisional(self, state: Any) -> Sequence[Finding]:
        """Nothing."""
        return ()


def compared(*sessions: list[str], old: int = 3, new: int = 2) -> Any:
    """The comparison of sessions, which are named s0, s1 ..."""
    comparison = Comparison([Bursts(old)], [Bursts(new)])
    for number, lines in enumerate(sessions):
        comparison.add(f"s{number}", given_events(lines))
    (found,) = comparison.result()
    return found


def test_a_burst_that_begins_elsewhere_is_the_same_if_it_shares_an_event() -> None:
    """Evidence decides, not the anchor; each old finding is matched once."""
    one, two = finding(0, 1, 2, 3), finding(50, 4, 5)
    milder = finding(10, 2, 3)
    other = finding(70, 6)
    assert matched([one, two], [milder, other]) == [
        (milder, "both"),
        (other, "only_new"),
        (two, "only_old"),
    ]
    halves = [finding(0, 1), finding(1, 2)]
    assert [side for _, side in matched([one], halves)] == ["both", "only_new"]
    assert matched([], []) == []


def test_sessions_and_insights_are_counted_by_side() -> None:
    """Who fires under both, only the old, only the new; a session that never fires is in none."""
    three = ["0s click /a", "1s click /a", "2s click /a"]
    found = compared(three, three[:2], three[:1])
    assert found.insights == Sides(both=1, only_new=1)
    assert found.sessions == Sides(both=1, only_new=1)
    assert found.session_ids.both == ("s0",)
    assert found.session_ids.only_new == ("s1",)
    assert found.session_ids.only_old == ()
    back = compared(three, three[:2], old=2, new=3)
    assert back.session_ids.only_old == ("s1",)


def test_days_and_pages_are_those_of_the_visitor() -> None:
    """Each insight counts on its own day in UTC and its own path; most difference first."""
    found = compared(
        ["0s click /c", "0s click /c", "0s click /c"],
        ["0s click /a", "0s click /a"],
        [f"{DAY} click /b", f"{DAY} click /b"],
        ["0s click /b", "0s click /b"],
    )
    assert [(day.day_ms - BEGINNING_MS, day.insights) for day in found.by_day] == [
        (0, Sides(both=1, only_new=2)),
        (86_400_000, Sides(only_new=1)),
    ]
    assert [(page.path, page.insights) for page in found.by_page] == [
        ("/b", Sides(only_new=2)),
        ("/a", Sides(only_new=1)),
        ("/c", Sides(both=1)),
    ]


def test_events_may_come_in_any_order_and_twice() -> None:
    """A session is the set of its events."""
    events = given_events(["0s click /a", "1s click /a", "2s click /a"])
    comparison = Comparison([Bursts(3)], [Bursts(2)])
    comparison.add("s0", [*reversed(events), events[0]])
    (found,) = comparison.result()
    assert found.insights == Sides(both=1)
    assert comparison.kinds == {"click"}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many pages and sessions they are counted, not listed."""
    monkeypatch.setattr(backtest, "PAGES_MAX", 2)
    monkeypatch.setattr(backtest, "SESSIONS_MAX", 2)
    sessions = [[f"0s click /{name}", f"0s click /{name}"] for name in "abcd"]
    found = compared(*sessions)
    assert {page.path: page.insights.only_new for page in found.by_page} == {
        "/a": 1,
        "/b": 1,
        OTHER_PAGES: 2,
    }
    assert found.sessions.only_new == 4
    assert found.session_ids.only_new == ("s0", "s1")


def test_a_detector_of_one_side_only_is_compared_with_nothing() -> None:
    """A rule that is switched on fires under the new alone."""
    comparison = Comparison([], [Bursts(1)])
    comparison.add("s0", given_events(["0s click /a"]))
    (found,) = comparison.result()
    assert found.sessions == Sides(only_new=1)
