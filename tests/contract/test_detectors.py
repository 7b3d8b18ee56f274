"""One suite over all detectors: what `flows.core.detectors.detector` promises of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.detection_rules import rules_of_document
from flows.core.detectors.dead_click import DeadClick
from flows.core.detectors.detector import Detector
from flows.core.detectors.error_click import ErrorClick
from flows.core.detectors.excluding import Excluding
from flows.core.detectors.rage_click import RageClick
from flows.core.detectors.slow_page import SlowPage
from flows.core.detectors.thrashed_cursor import ThrashedCursor
from flows.core.detectors.u_turn import UTurn
from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent
from flows.core.session_run import END_MS, DetectorRun, in_order, run_session
from tests.session_events import Script

DETECTORS: tuple[Detector[Any], ...] = (
    RageClick(),
    DeadClick(),
    ErrorClick(),
    ThrashedCursor(),
    UTurn(),
    SlowPage(),
    RageClick(explain=True),
    DeadClick(explain=True),
    ErrorClick(explain=True),
    ThrashedCursor(explain=True),
    UTurn(explain=True),
    SlowPage(explain=True),
    *rules_of_document({}).detectors(),
    *rules_of_document({}).detectors(explain=True),
    *rules_of_document({"insights": {"preset": "posthog"}}).detectors()[:2],
    *rules_of_document({"insights": {"preset": "datadog"}}).detectors(explain=True)[:2],
)
# States that the end of a session alone may drop: what was visited may be returned to.
KEPT_TO_THE_END = {"u_turn", "slow_page"}
# A generous bound of any state in bytes; most are far below.
STATE_BYTES_MAX = 60_000

Made = Sequence[Finding | Verdict]

_KINDS = (
    "click", "click", "click", "mouse_move", "mouse_move", "page_view", "page_exit", "js_error",
    "dom_mutation", "scroll", "page_load", "web_vitals", "text_select", "fetch_request",
    "page_hidden", "page_visible", "form_submit", "input_change", "media_play",
)  # fmt: skip


def _event(script: Script, at_ms: int, kind: str, number: int) -> SessionEvent:
    path = ("/a", "/a", "/b", "/c#/x")[number % 4]
    if kind == "click":
        tag = ("button", "a", "div", "input")[number % 4]
        return script.click(
            at_ms, 100 + number % 9, 100, f"#b{number % 2}", path, tag=tag,
            href="/b" if tag == "a" else None, attributes={"role": "tab"} if tag == "div" else {},
        )  # fmt: skip
    if kind == "mouse_move":
        positions = [(100 + 60 * ((number + i) % 2), 200, 50 * i) for i in range(number)]
        return script.moves(at_ms, positions, "/a")
    if kind == "js_error":
        return script.error(at_ms, "ab"[number % 2], path=path)
    if kind in ("page_load", "web_vitals"):
        return script.report(at_ms, kind, path, lcp=number * 300, ttfb=number * 50)
    return script.event(at_ms, kind, path, view=f"v{number % 3}")


@st.composite
def sessions(draw: st.DrawFn) -> list[SessionEvent]:
    """Events of one session in order, many of them close to each other or simultaneous."""
    script = Script()
    at_ms = 0
    events = []
    for _ in range(draw(st.integers(1, 60))):
        at_ms += draw(st.sampled_from([0, 0, 1, 100, 100, 300, 700, 1_000, 2_000, 5_000, 20_000]))
        kind = draw(st.sampled_from(_KINDS))
        events.append(_event(script, at_ms, kind, draw(st.integers(0, 30))))
    return in_order(events)


def _ids(detector: Detector[Any]) -> str:
    explains = "-explaining" if getattr(detector, "_explain", False) else ""
    return f"{detector.insight_type}-{type(detector).__name__}{explains}"


every_detector = pytest.mark.parametrize("detector", DETECTORS, ids=_ids)
some = settings(max_examples=25, deadline=None)


def _sorted(made: Made) -> list[str]:
    """Deciding order within one moment is left open; what is decided is not."""
    return sorted(map(repr, made))


@every_detector
@some
@given(events=sessions())
def test_equal_events_give_equal_results(
    detector: Detector[Any], events: list[SessionEvent]
) -> None:
    """No clock, no chance."""
    assert run_session([detector], events) == run_session([detector], events)


@every_detector
@some
@given(events=sessions())
def test_storing_and_restoring_changes_nothing(
    detector: Detector[Any], events: list[SessionEvent]
) -> None:
    """After each event the state is written, read and gone on with; states stay bounded."""
    made: list[Finding | Verdict] = []
    stored: bytes | None = None
    for event in events:
        states = {}
        if stored is not None:
            state = msgspec.msgpack.decode(stored, type=detector.state_type)
            states[detector.insight_type] = state
        run = DetectorRun([detector], states)
        if event.kind in detector.kinds:
            made.extend(run.take(event))
        left = run.states.get(detector.insight_type)
        stored = None if left is None else msgspec.msgpack.encode(left)
        assert stored is None or len(stored) <= STATE_BYTES_MAX
    run = DetectorRun([detector], run.states)
    made.extend(run.pass_until(END_MS))
    assert made == run_session([detector], events)


@every_detector
@some
@given(events=sessions(), late_ms=st.integers(0, 400))
def test_late_and_repeated_calls_of_on_time_change_nothing(
    detector: Detector[Any], events: list[SessionEvent], late_ms: int
) -> None:
    """Deadlines decide, not calls: on_time only before events, or again and again."""
    name = detector.insight_type
    lazy: list[Finding | Verdict] = []
    eager: list[Finding | Verdict] = []
    state: Any = None
    run = DetectorRun([detector])
    for event in events:
        if event.kind not in detector.kinds:
            continue
        # No on_time at all while events come: a step decides what was due before it.
        state, found = detector.on_event(state, event, event.at_ms)
        lazy.extend(found)
        eager.extend(run.take(event))
        for _ in range(2):
            held = run.states.get(name)
            if held is not None:
                # Never past what is still to come, so only what is due by now.
                run.states[name], found = detector.on_time(held, event.at_ms - 1)
                eager.extend(found)
                if run.states[name] is None:
                    del run.states[name]
    while state is not None and detector.wake_at_ms(state) is not None:
        state, found = detector.on_time(state, END_MS - late_ms)
        lazy.extend(found)
    eager.extend(run.pass_until(END_MS))
    expected = _sorted(run_session([detector], events))
    assert _sorted(eager) == expected
    assert _sorted(lazy) == expected


@every_detector
@some
@given(events=sessions())
def test_states_are_never_changed_and_forgotten_when_quiet(
    detector: Detector[Any], events: list[SessionEvent]
) -> None:
    """A state that was handed out stays as it was; after all deadlines nothing is left."""
    run = DetectorRun([detector])
    seen: list[tuple[Any, bytes]] = []
    for event in events:
        run.take(event)
        state = run.states.get(detector.insight_type)
        if state is not None:
            seen.append((state, msgspec.msgpack.encode(state)))
            wake_at_ms = detector.wake_at_ms(state)
            assert wake_at_ms is None or wake_at_ms >= event.at_ms
    run.pass_until(END_MS)
    assert all(msgspec.msgpack.encode(state) == was for state, was in seen)
    if detector.insight_type not in KEPT_TO_THE_END:
        assert run.states == {}
    assert run.wake_at_ms() is None


@every_detector
@some
@given(events=sessions())
def test_previews_carry_the_final_anchor(
    detector: Detector[Any], events: list[SessionEvent]
) -> None:
    """Each episode that was announced is found in the end, with the same anchor."""
    run = DetectorRun([detector])
    announced = set()
    made: list[Finding | Verdict] = []
    for event in events:
        if event.kind in detector.kinds:
            made.extend(run.take(event))
        if (state := run.states.get(detector.insight_type)) is not None:
            announced |= {finding.anchor_event_id for finding in detector.provisional(state)}
    made.extend(run.pass_until(END_MS))
    if isinstance(detector, Excluding):
        return  # What covers an episode may come after it was announced.
    assert announced <= {each.anchor_event_id for each in made if isinstance(each, Finding)}


@every_detector
def test_other_kinds_are_not_asked_for(detector: Detector[Any]) -> None:
    """A detector names what it takes, and its findings carry its type."""
    assert detector.kinds
    assert detector.rule_version >= 1
