"""Dead click: the worked examples D1 to D7 of the rule, its table, and what they leave open."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flows.core.detectors.dead_click import DeadClick
from flows.core.detectors.dead_rules import ROWS, datadog_rule, gosight_rule, posthog_rule
from flows.core.detectors.targets import class_words
from flows.core.session_event import Click, Target
from schemas.detection_settings import ByPath, DeadClickParams
from tests.session_events import Script, found, told

DEAD = DeadClick()


def test_d1_a_button_without_answer_is_dead() -> None:
    """D1: a move of the mouse is no answer."""
    script = Script()
    click = script.click(1_000, 7, 8, name="Buy")
    (finding,) = found(DEAD, click, script.moves(9_000, [(1, 1, 0)]))
    assert finding.at_ms == 1_000
    assert (finding.x, finding.y, finding.target_selector) == (7, 8, "#buy")
    assert finding.details == {
        "reason": "no_handler",
        "expected": "handle",
        "observation_window_ms": 1_000,
        "target_tag": "button",
        "target_name": "Buy",
    }
    assert finding.severity == "medium"


def test_d2_the_window_is_closed() -> None:
    """D2: a mutation after exactly 1000 ms answers, after 1001 it does not."""
    for at_ms, count in ((2_000, 0), (2_001, 1)):
        script = Script()
        assert len(found(DEAD, script.click(1_000), script.mutation(at_ms))) == count


def test_d3_a_link_must_navigate() -> None:
    """D3: a request is no answer for a link, leaving the page is."""
    for kind, reasons in (("fetch_request", ["no_navigation"]), ("page_exit", [])):
        script = Script()
        click = script.click(1_000, tag="a", href="/pricing")
        findings = found(DEAD, click, script.event(1_300, kind))
        assert [finding.details["reason"] for finding in findings] == reasons


def test_d4_what_looks_interactive_must_change_something() -> None:
    """D4: neither scroll nor request answers; without observation it is not judged."""
    for observed, reasons in ((None, ["no_mutation"]), (True, ["no_mutation"]), (False, [])):
        script = Script()
        click = script.click(1_000, tag="div", classes=("card", "btn-wide"), dom_observed=observed)
        rest = (script.event(1_400, "scroll"), script.event(1_500, "fetch_request"))
        assert [f.details["reason"] for f in found(DEAD, click, *rest)] == reasons


def test_d5_these_are_not_judged() -> None:
    """D5: a word is not a part of a word; fields and links to other programs have no answer."""
    script = Script()
    clicks = (
        script.click(0, tag="div", classes=("blink",)),
        script.click(5_000, tag="input", attributes={"type": "email"}),
        script.click(9_000, tag="a", href="mailto:a@example.org"),
    )
    assert found(DEAD, *clicks) == []


def test_d6_repetitions_on_one_element_are_one() -> None:
    """D6: each within 2 s of the last one belongs to it, found or not."""
    script = Script()
    times = (1_000, 1_400, 1_800, 2_200, 2_600, 3_000, 6_000)
    assert [f.at_ms for f in found(DEAD, *map(script.click, times))] == [1_000, 6_000]


def test_d7_a_link_within_the_page_may_scroll() -> None:
    """D7."""
    script = Script()
    click = script.click(1_000, tag="a", href="#faq")
    assert found(DEAD, click, script.event(1_200, "scroll")) == []
    assert len(found(DEAD, click)) == 1


def test_an_answer_of_the_same_millisecond_counts_in_any_order() -> None:
    """The order of ids within a millisecond says nothing about cause."""
    for first_is_answer in (True, False):
        script = Script()
        if first_is_answer:
            events = [script.mutation(1_000), script.click(1_000)]
        else:
            events = [script.click(1_000), script.mutation(1_000)]
        assert found(DEAD, *events) == []
    script = Script()
    assert len(found(DEAD, script.mutation(999), script.click(1_000))) == 1


@pytest.mark.parametrize(
    ("target", "row"),
    [
        (Target(tag="a", href="/x"), "navigate"),
        (Target(tag="a", href=""), "navigate"),
        (Target(tag="A", href="#"), "handle_here"),
        (Target(tag="a", href="JavaScript:void(0)"), "handle"),
        (Target(tag="a"), "mutate"),
        (Target(tag="a", href="/f.pdf", attributes={"download": ""}), ""),
        (Target(tag="a", href="tel:1"), ""),
        (Target(tag="button"), "handle"),
        (Target(tag="input", attributes={"type": "Checkbox"}), "handle"),
        (Target(tag="input"), ""),
        (Target(tag="input", classes=("btn",)), ""),
        (Target(tag="select", classes=("btn",)), ""),
        (Target(tag="textarea", attributes={"onclick": ""}), ""),
        (Target(tag="div", attributes={"@click": ""}), "handle"),
        (Target(tag="li", attributes={"role": "menuitem"}), "mutate"),
        (Target(tag="span", classes=("navLink",)), "mutate"),
        (Target(tag="div", classes=("linkage", "blink")), ""),
        (Target(tag="p"), ""),
    ],
)
def test_targets_are_judged_by_their_row(target: Target, row: str) -> None:
    """The table of the rule."""
    assert gosight_rule(Click(target, 1, 1))[0] == row


def test_words_of_classes() -> None:
    """Split at other characters and at camelCase."""
    words = class_words(("primaryBtn", "nav_link-2", "XMLButton", "BTN"))
    assert words == {"primary", "btn", "nav", "link", "2", "xml", "button"}
    words = class_words(("btn2", "h1Link", "2ndBtn", "col-12Button", "BTN3"))
    assert words == {"btn2", "h1", "link", "2nd", "btn", "col", "12button", "btn3"}


def test_each_row_holds_the_one_before() -> None:
    """What answers a link answers all others as well."""
    rows = [ROWS[name].answers for name in ("navigate", "mutate", "handle", "handle_here")]
    assert rows == sorted(rows, key=len)
    assert all(one < other for one, other in pairwise(rows))


def test_no_more_clicks_wait_than_may() -> None:
    """A flood of clicks is not judged beyond a bound."""
    script = Script()
    clicks = [script.click(1_000, selector=f"#b{i}") for i in range(150)]
    assert len(found(DEAD, *clicks)) == 100


def test_every_click_is_explained() -> None:
    """Fired, repeated, answered, not judged."""
    script = Script()
    events = [
        script.click(1_000),
        script.click(1_500),
        script.click(9_000, tag="p"),
        script.click(10_000),
        script.mutation(10_700),
    ]
    assert told(DeadClick(explain=True), *events) == [
        ("1", "fired", "no_handler"),
        ("2", "part", "repeated"),
        ("3", "not_judged", "not_interactive"),
        ("4", "not_fired", "answered"),
    ]


def test_vendor_rules() -> None:
    """PostHog judges any element but links, with short limits for all but mutations."""
    params = ByPath(DeadClickParams(observation_window_ms=2_500))
    posthog = DeadClick(params, rule=posthog_rule)
    for kind, at_ms, count in (
        ("scroll", 1_100, 0),
        ("scroll", 1_101, 1),
        ("dom_mutation", 3_500, 0),
        ("page_view", 1_001, 1),
    ):
        script = Script()
        click = script.click(1_000, tag="p")
        assert len(found(posthog, click, script.event(at_ms, kind))) == count
    assert posthog_rule(Click(Target(tag="a"), 1, 1))[0] == ""
    assert datadog_rule(Click(Target(tag="canvas"), 1, 1))[0] == ""
    assert datadog_rule(Click(Target(tag="p"), 1, 1))[0] == "datadog"
