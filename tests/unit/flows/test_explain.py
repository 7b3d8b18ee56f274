"""What is told of a session: every click, each verdict as it was given, and the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from flows.core.explain import UnknownEventError, explain_one, explain_session
from flows.core.given_events import event_id_of, given_events
from flows.core.insight import Finding, Verdict, insight_id

EVENTS = given_events(
    [
        "0s page_view /a",
        "1s click /a selector=#one x=3 y=4",
        "2s click /a selector=#two",
        "3s js_error /a message=broken",
        "4s click /b selector=#three",
    ]
)
PROJECT, SESSION = "p", "s"


class Pairs:
    """Says something of each click; two on one page are found."""

    insight_type = "pair"
    rule_version = 1
    kinds = frozenset({"click"})
    state_type: Any = tuple

    def on_event(self, state: Any, event: Any, now_ms: int) -> Any:
        """The second click of a page is part of what the first began."""
        if state is None or state.page.key != event.page.key:
            missed = Verdict(
                "pair", event.event_id, "not_fired", "alone", {"clicks": 1}, {"clicks": 2}
            )
            return event, [missed]
        ids = (state.event_id, event.event_id)
        found = Finding(
            "pair", 1, "low", ids[0], state.at_ms, now_ms, "", "/a", 3, 4, "#one", {"n": 2}, ids
        )
        return None, [found, Verdict("pair", ids[1], "fired", "pair", {"clicks": 2}, {}, ids)]

    def on_time(self, state: Any, now_ms: int) -> Any:
        """Nothing is due."""
        return state, ()

    def wake_at_ms(self, state: Any) -> None:
        """Never."""

    def provisional(self, state: Any) -> Sequence[Finding]:
        """Nothing."""
        return ()


def whole() -> Any:
    """The explanation of the session, from events in another order."""
    return explain_session([Pairs()], reversed(EVENTS), PROJECT, SESSION)


def test_every_click_is_told_with_what_was_measured() -> None:
    """In order of time; other events only if something was said of them."""
    found = whole()
    assert found.event_count == 5
    assert [told.event.event_id for told in found.events] == [event_id_of(n) for n in (2, 3, 5)]
    first = found.events[0]
    assert (first.event.about, first.event.x, first.event.y) == ("#one", 3, 4)
    assert [v.outcome for v in first.verdicts] == ["not_fired"]
    assert (first.verdicts[0].measured, first.verdicts[0].limits) == ({"clicks": 1}, {"clicks": 2})
    assert [v.outcome for v in found.events[1].verdicts] == ["fired"]


def test_without_a_verdict_a_click_is_still_told() -> None:
    """A person who asks about a click is not told that there is none."""
    found = explain_session([], EVENTS, PROJECT, SESSION)
    assert [len(told.verdicts) for told in found.events] == [0, 0, 0]


def test_insights_have_the_ids_under_which_they_are_stored() -> None:
    """The id is that of the row, and every event that is named can be looked up."""
    found = whole()
    (insight,) = found.insights
    assert insight.insight_id == insight_id(PROJECT, SESSION, "pair", event_id_of(2), 1)
    assert set(found.evidence) == {event_id_of(2), event_id_of(3)}
    assert found.evidence[event_id_of(3)].about == "#two"


def test_one_event_is_told_with_the_insights_it_is_evidence_of() -> None:
    """An event in an insight, an event in none, and one that nobody looks at."""
    found = explain_one(whole(), event_id_of(3).upper(), EVENTS)
    assert [told.event.about for told in found.events] == ["#two"]
    assert len(found.insights) == 1
    assert explain_one(whole(), event_id_of(5), EVENTS).insights == ()
    (told,) = explain_one(whole(), event_id_of(4), EVENTS).events
    assert (told.event.about, told.verdicts) == ("broken", ())


def test_an_insight_is_told_with_its_evidence() -> None:
    """By the id of the insight: all events it was made of."""
    (insight,) = whole().insights
    found = explain_one(whole(), insight.insight_id, EVENTS)
    assert [told.event.event_id for told in found.events] == [event_id_of(2), event_id_of(3)]
    assert found.insights == (insight,)


def test_an_id_of_nothing_is_refused() -> None:
    """Neither event nor insight."""
    with pytest.raises(UnknownEventError):
        explain_one(whole(), event_id_of(99), EVENTS)


def test_the_shape_of_the_json_is_kept() -> None:
    """Programs read it: fields may be added, none renamed."""
    document = msgspec.to_builtins(whole())
    assert set(document) == {
        "project_id", "session_id", "event_count", "events", "insights", "evidence",
    }  # fmt: skip
    assert set(document["events"][0]) == {"event", "verdicts"}
    assert set(document["events"][0]["event"]) == {
        "event_id", "kind", "at_ms", "path", "about", "x", "y",
    }  # fmt: skip
    assert set(document["events"][0]["verdicts"][0]) == {
        "insight_type", "outcome", "reason", "measured", "limits", "evidence",
    }  # fmt: skip
    assert set(document["insights"][0]) == {
        "insight_id", "insight_type", "severity", "rule_version", "anchor_event_id", "at_ms",
        "ended_at_ms", "path", "target_selector", "details", "related_event_ids",
    }  # fmt: skip
