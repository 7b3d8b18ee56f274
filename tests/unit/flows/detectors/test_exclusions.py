"""Exclusions: what each keeps away, what it must not, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from flows.core.detection_rules import rules_of_document
from flows.core.detectors.exclusions import all_exclusions
from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent, Vitals
from flows.core.session_run import run_session
from schemas.detection_settings import DEFAULTS, EXCLUSIONS, PRESET_EXCLUSIONS
from tests.session_events import Script

Events = Sequence[SessionEvent]


def kinds(events: Events, *off: str) -> list[str]:
    """Types of what is found, with these exclusions switched off."""
    rules = rules_of_document({"insights": {"exclusions": list(off)}})
    assert rules.problems == ()
    made = run_session(rules.detectors(), events)
    return [each.insight_type for each in made if isinstance(each, Finding)]


def burst(script: Script, count: int = 6, step_ms: int = 200, **target: Any) -> list[SessionEvent]:
    """Clicks that are rage by the bare rule, and not dead."""
    target = {"tag": "p", **target}
    return [script.click(1_000 + step_ms * i, **target) for i in range(count)]


def answered(script: Script, clicks: Events, every: int = 1) -> list[SessionEvent]:
    """The clicks, with a marker of a change after each one that is due."""
    made = list(clicks)
    for place, click in enumerate(clicks):
        if place % every == 0:
            made.append(script.mutation(click.at_ms + 5, click))
    return made


def pager(script: Script, *, works: bool) -> list[SessionEvent]:
    """Clicks on "next" on a page that reports what they change: nothing, or only the first does."""
    clicks = burst(script, text="Next", dom_observed=True)
    return answered(script, clicks, every=len(clicks)) if works else clicks


def at_the_end(script: Script, at_ms: int, count: int = 1, **target: Any) -> list[SessionEvent]:
    """Clicks on a pager that is disabled now."""
    target = {"selector": "#older", "attributes": {"disabled": ""}, **target}
    return [script.click(at_ms + 200 * i, **target) for i in range(count)]


def sweep(script: Script) -> list[SessionEvent]:
    """Three seconds to and fro."""
    return script.way([(50 * i, 100 + 40 * (i % 2), 200) for i in range(60)])


def twins(script: Script) -> list[SessionEvent]:
    """Three presses on a label."""
    made = []
    for i in range(3):
        made.append(script.click(1_000 + 300 * i, selector="label", tag="label"))
        made.append(script.click(1_001 + 300 * i, selector="box", tag="i"))
    return made


def slow_link(
    script: Script,
    *,
    view: str = "/next",
    ttfb: int = 1_700,
    between: str = "",
    href: str = "/next",
) -> list[SessionEvent]:
    """A link whose page is left after 1.7 s."""
    made = [
        script.click(1_000, tag="a", href=href, selector="#go"),
        script.event(2_700, "page_exit", view="v1"),
        script.event(2_710, "page_view", view, view="v2"),
        script.event(2_800, "page_load", view, Vitals(ttfb=ttfb), view="v2"),
    ]
    if between:
        made.append(script.click(2_300, selector=between, tag="p"))
    return [_seen(each, "v1") if each.kind == "click" else each for each in made]


def _seen(event: SessionEvent, view: str) -> SessionEvent:
    visitor = msgspec.structs.replace(event.visitor, page_view_id=view)
    return msgspec.structs.replace(event, visitor=visitor)


def visits(script: Script, *more: tuple[int, str, str, str]) -> list[SessionEvent]:
    """/a, /b after 5 s, back after 8 s, with further events (time, kind, path, view)."""
    views = ((0, "page_view", "/a", "v1"), (5_000, "page_view", "/b", "v2"))
    back = ((8_000, "page_view", "/a", "v3"),)
    return [script.event(at, kind, path, view=view) for at, kind, path, view in
            sorted((*views, *more, *back))]  # fmt: skip


EXITS = ((4_990, "page_exit", "/a", "v1"), (7_990, "page_exit", "/b", "v2"))

# Name of the exclusion, type it keeps away, the events that it is for.
CASES: tuple[tuple[str, str, Callable[[Script], list[SessionEvent]]], ...] = (
    ("opt_out", "rage_click", lambda s: burst(s, attributes={"data-gosight-no-rage": ""})),
    ("opt_out", "rage_click", lambda s: burst(s, attributes={"data-gosight-ignore": "true"})),
    ("opt_out", "rage_click", lambda s: burst(s, classes=("card", "gosight-ignore"))),
    (
        "opt_out",
        "dead_click",
        lambda s: [s.click(0, attributes={"data-gosight-no-dead": ""})],
    ),
    (
        "opt_out",
        "error_click",
        lambda s: [s.click(0, tag="p", attributes={"data-gosight-ignore": ""}), s.error(9)],
    ),
    ("labels", "rage_click", lambda s: burst(s, text=" Next ")),
    ("labels", "rage_click", lambda s: burst(s, attributes={"aria-label": "previous"})),
    ("text_field", "rage_click", lambda s: burst(s, tag="textarea")),
    ("text_field", "dead_click", lambda s: [
        s.click(0, tag="div", attributes={"role": "button", "contenteditable": ""})
    ]),
    ("canvas", "rage_click", lambda s: burst(s, tag="canvas")),
    ("canvas", "dead_click", lambda s: [s.click(0, tag="canvas", attributes={"onclick": ""})]),
    ("labels", "rage_click", lambda s: pager(s, works=True)),
    ("canvas", "thrashed_cursor", lambda s: [*sweep(s), s.click(900, tag="canvas")]),
    ("canvas", "thrashed_cursor", lambda s: [
        *sweep(s), s.click(3_200, tag="input", attributes={"type": "range"})
    ]),
    ("canvas", "thrashed_cursor", lambda s: [
        *sweep(s), s.click(3_200, tag="i", attributes={"role": "slider"})
    ]),
    ("label_twin", "rage_click", twins),
    ("text_selection", "rage_click", lambda s: [*burst(s), s.event(1_300, "text_select")]),
    ("scrolled", "rage_click", lambda s: [*burst(s), s.event(1_300, "scroll")]),
    ("answered", "rage_click", lambda s: answered(s, burst(s))),
    ("new_tab", "dead_click", lambda s: [
        s.click(0, tag="a", href="/x", attributes={"target": "_blank"})
    ]),
    ("native_control", "dead_click", lambda s: [
        s.click(0, tag="input", attributes={"type": "file"})
    ]),
    ("answered", "rage_click", lambda s: [
        *answered(s, burst(s, selector="#older")), *at_the_end(s, 2_200, 2)
    ]),
    ("clicked_again", "dead_click", lambda s: [
        *answered(s, [s.click(0)]), s.click(1_000)
    ]),
    ("clicked_again", "dead_click", lambda s: [
        *answered(s, [s.click(0, selector="#older")]), *at_the_end(s, 2_000)
    ]),
    ("player_moved", "dead_click", lambda s: [s.click(0), s.event(1_000, "media_seek")]),
    ("page_moved", "dead_click", lambda s: [s.click(0), s.event(300, "scroll")]),
    ("slow_navigation", "dead_click", slow_link),
    ("slow_navigation", "dead_click", lambda s: slow_link(s, view="/login")),
    ("slow_navigation", "dead_click", lambda s: [
        each for each in slow_link(s) if each.kind != "page_exit"
    ]),
    ("background_error", "error_click", lambda s: [
        s.error(0), s.click(30_000, tag="p"), s.error(30_500)
    ]),
    ("browser_noise", "error_click", lambda s: [
        s.click(0, tag="p"), s.error(9, "ResizeObserver loop limit exceeded")
    ]),
    ("beside", "u_turn", lambda s: visits(
        s, (4_950, "page_hidden", "/a", "v1"), (7_500, "page_visible", "/a", "v1"),
        (7_900, "page_exit", "/a", "v1"),
    )),
    ("form_sent", "u_turn", lambda s: visits(s, *EXITS, (7_000, "form_submit", "/b", "v2"))),
    ("hidden_page", "slow_page", lambda s: [
        s.event(0, "page_view", view="v1"), s.event(900, "page_hidden", view="v1"),
        s.report(5_000, "page_load", load_complete=4_900),
    ]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "insight_type", "make"),
    CASES,
    ids=[f"{name}-{kind}-{i}" for i, (name, kind, _) in enumerate(CASES)],
)
def test_an_exclusion_keeps_away_what_it_is_for(
    name: str, insight_type: str, make: Callable[[Script], list[SessionEvent]]
) -> None:
    """It alone does: without it the insight is there; when explaining, its name is told."""
    events = make(Script())
    assert insight_type not in kinds(events)
    assert insight_type in kinds(events, name)
    explained = run_session(rules_of_document({}).detectors(explain=True), events)
    assert (insight_type, name) in {
        (each.insight_type, each.reason)
        for each in explained
        if isinstance(each, Verdict) and each.outcome == "suppressed"
    }
    assert insight_type not in {
        each.insight_type for each in explained if isinstance(each, Finding)
    }


@pytest.mark.parametrize(
    ("insight_type", "make"),
    [
        # On a control, selected text is a by-product; a toggle that fails is not answered.
        ("rage_click", lambda s: [*burst(s, tag="button"), s.event(1_300, "text_select")]),
        ("rage_click", lambda s: [*answered(s, burst(s)), s.error(1_500)]),
        ("rage_click", lambda s: answered(s, burst(s), every=2)),
        ("rage_click", lambda s: [*burst(s), s.event(3_000, "scroll")]),
        ("rage_click", lambda s: burst(s, text="Next page")),
        # A pager that is dead; half of the clicks are on one that works.
        ("rage_click", lambda s: pager(s, works=False)),
        (
            "rage_click",
            lambda s: [*pager(s, works=True), *burst(s, 6, 190, selector="#b", text="Buy")],
        ),
        (
            "thrashed_cursor",
            lambda s: [*sweep(s), s.click(900, tag="input", attributes={"type": "text"})],
        ),
        ("rage_click", lambda s: burst(s, attributes={"data-gosight-no-dead": ""})),
        ("rage_click", lambda s: burst(s, attributes={"data-gosight-ignore": "false"})),
        ("rage_click", lambda s: burst(s, step_ms=40)),
        ("dead_click", lambda s: [s.click(0), s.event(1_001, "media_seek")]),
        # Disabled from the start, for longer, or after a click that did nothing.
        ("rage_click", lambda s: at_the_end(s, 0, 6)),
        (
            "rage_click",
            lambda s: [*answered(s, burst(s, selector="#older")), *at_the_end(s, 2_200, 6)],
        ),
        ("dead_click", lambda s: at_the_end(s, 0)),
        (
            "dead_click",
            lambda s: [*answered(s, [s.click(0, selector="#older")]), *at_the_end(s, 2_001)],
        ),
        ("dead_click", lambda s: [s.click(0, selector="#older"), *at_the_end(s, 900)]),
        ("dead_click", lambda s: [*answered(s, [s.click(0)]), s.click(1_001)]),
        ("dead_click", lambda s: [*answered(s, [s.click(0, selector="#a")]), s.click(100)]),
        ("dead_click", lambda s: [*answered(s, [s.click(0)]), s.click(500), s.click(2_501)]),
        # The visitor scrolls: later, or already before.
        ("dead_click", lambda s: [s.click(0), s.event(301, "scroll")]),
        ("dead_click", lambda s: [s.event(0, "scroll"), s.click(300), s.event(310, "scroll")]),
        # The page was left for something else, from another link, or much later.
        ("dead_click", lambda s: slow_link(s, view="/other", ttfb=100)),
        ("dead_click", lambda s: slow_link(s, between="#else")),
        (
            "dead_click",
            lambda s: [each for each in slow_link(s, view="/login") if each.kind != "page_exit"],
        ),
        ("dead_click", lambda s: slow_link(s, href="https://elsewhere.example/next")),
        ("error_click", lambda s: [s.error(0, "b"), s.click(30_000), s.error(30_500)]),
        ("error_click", lambda s: [s.error(0), s.click(400_000), s.error(400_500)]),
        (
            "error_click",
            lambda s: [s.click(0), s.error(10), s.click(9_000), s.error(9_010)],
        ),
        ("u_turn", lambda s: visits(s, *EXITS)),
        ("u_turn", lambda s: visits(s, *EXITS, (4_991, "page_hidden", "/a", "v1"))),
        (
            "u_turn",
            lambda s: visits(
                s, *EXITS, (7_000, "form_submit", "/b", "v2"), (7_100, "form_error", "/b", "v2")
            ),
        ),
        (
            "slow_page",
            lambda s: [
                s.event(0, "page_view", view="v1"),
                s.report(5_000, "page_load", load_complete=4_900),
                s.event(6_000, "page_hidden", view="v1"),
            ],
        ),
    ],
)
def test_an_exclusion_goes_no_further(
    insight_type: str, make: Callable[[Script], list[SessionEvent]]
) -> None:
    """What looks like a reason, and is none."""
    assert insight_type in kinds(make(Script()))


def test_a_dead_link_is_found_after_its_wait() -> None:
    """What may be covered later is not found before, and then it is."""
    (_, dead, *_) = rules_of_document({}).detectors()
    script = Script()
    click = script.click(1_000, tag="a", href="/next")
    state, made = dead.on_event(None, click, 1_000)
    for now_ms in (2_000, 10_999):
        state, made = dead.on_time(state, now_ms)
        assert list(made) == []
    state, made = dead.on_time(state, 11_000)
    assert [each.at_ms for each in made if isinstance(each, Finding)] == [1_000]
    assert state is None


def test_every_name_is_an_exclusion_and_the_other_way_round() -> None:
    """Names in settings, presets and rules are the same."""
    known = {each.name for group in all_exclusions(frozenset()).values() for each in group}
    assert known == set(EXCLUSIONS)
    assert set(all_exclusions(frozenset())) == set(DEFAULTS)
    assert all(names <= known for names in PRESET_EXCLUSIONS.values())
