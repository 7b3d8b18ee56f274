"""The machine of sessions, example by example."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest

from flows.core.behaviour import (
    HELD_MAX,
    IDLE_MS,
    LATENESS_MS,
    BehaviourMachine,
    SessionState,
    decode_state,
    encode_state,
)
from flows.core.detector_memory import DetectorMemory, Opened
from flows.core.detectors.detector import Detector
from flows.core.insight import Finding
from flows.core.live_detectors import LiveDetectors
from flows.core.live_partition import STATE_BYTES_MAX
from flows.core.results import latest
from flows.core.seen_ids import IDS_MAX, folded_ids, new_events
from flows.core.session_event import (
    Click,
    Goal,
    Moves,
    Page,
    Place,
    SessionBatch,
    SessionEvent,
    Target,
    Visitor,
    Vitals,
)
from flows.core.session_step import HELD_BYTES_MAX
from tests.session_schedules import DEVICE, PROJECT, SESSION, START_MS, Clock, Delivery
from tests.toy_detectors import SIX, TOYS, Faulty, ToyRules

HOME = Page("https://a.example/", "/", "/")
CART = Page("https://a.example/cart", "/cart", "/cart")
BUY = Target("#buy", "button", text="Buy")


def event(
    number: int,
    at_ms: int,
    kind: str = "click",
    page: Page = HOME,
    body: Any = None,
) -> SessionEvent:
    """An event, not received yet; times count from the start of the session."""
    if kind == "click" and body is None:
        body = Click(BUY, 100, 100)
    return SessionEvent(
        str(UUID(int=number)), kind, START_MS + at_ms, 0, page, Visitor(), DEVICE, body
    )


def batch(received_ms: int, *events: SessionEvent, clock_ms: int | None = None) -> Delivery:
    """Events received together; the processing clock may be further."""
    received_at_ms = START_MS + received_ms
    received = tuple(msgspec.structs.replace(one, received_at_ms=received_at_ms) for one in events)
    now_ms = received_at_ms if clock_ms is None else START_MS + clock_ms
    return Delivery(SessionBatch(PROJECT, SESSION, received_at_ms, received, Place(), 30), now_ms)


def machine(
    *detectors: Detector[Any], hold_ms: int = 6_000, previews: bool = False
) -> BehaviourMachine:
    """A machine with these detectors, the six by default."""
    rules = ToyRules(detectors or SIX, hold_ms)
    return BehaviourMachine(lambda _project_id: rules, previews=previews)


def run(of: BehaviourMachine, deliveries: Sequence[Delivery], until_ms: int | None = None) -> Clock:
    """The deliveries, and then nothing more until then (by default until all is forgotten)."""
    clock = Clock(of)
    for delivery in deliveries:
        clock.take(delivery)
    last_ms = deliveries[-1].now_ms + 2 * LATENESS_MS
    clock.finish(last_ms if until_ms is None else START_MS + until_ms)
    return clock


def found(clock: Clock) -> list[str]:
    """Types of the insights, in order."""
    return [insight.insight_type for insight in clock.insights]


def held_ids(clock: Clock) -> list[str]:
    """Ids of the events that wait."""
    assert clock.state is not None
    return [one.event_id for held in clock.state.held for one in held.events]


def test_a_row_is_written_at_once_then_every_ten_seconds_of_change_and_at_the_end() -> None:
    """Quiet time writes nothing; the revisions count up."""
    deliveries = [
        batch(0, event(1, 0, "page_view")),
        batch(2_000, event(2, 1_900, "scroll")),
        batch(4_000, event(3, 3_900, "scroll")),
        batch(60_000, event(4, 59_000, "scroll")),
        batch(61_000, event(5, 60_500, "scroll")),
    ]
    clock = run(machine(), deliveries)
    assert [(row.revision, row.event_count, row.is_closed) for row in clock.rows] == [
        (1, 1, False),  # At 0.
        (2, 3, False),  # At 11 s, with what is shown then.
        (3, 4, False),  # At 60 s, at once.
        (4, 5, False),  # At 71 s.
        (5, 5, True),
    ]
    assert clock.state is None


def test_a_row_that_nothing_goes_with_is_written_alone() -> None:
    """When rows are written changes nothing else: the second view is due after the row's 5 s."""
    deliveries = [
        batch(0, event(1, 0, "page_view")),
        batch(9_000, event(2, 8_900, "page_view", CART)),
    ]
    clock = run(machine(), deliveries, until_ms=14_999)
    assert len(clock.rows) == 1
    clock.finish(START_MS + 20_000)
    assert [row.page_count for row in clock.rows] == [1, 2]
    assert held_ids(clock) == [str(UUID(int=2))]
    clock.finish(START_MS + 20_001)
    assert held_ids(clock) == []


def test_a_response_that_arrives_five_seconds_after_its_click_clears_it() -> None:
    """A click is not dead before the hold is over."""
    deliveries = [
        batch(100, event(1, 0)),
        batch(5_500, event(2, 500, "fetch_request")),
    ]
    assert found(run(machine(), deliveries)) == []
    assert found(run(machine(), deliveries[:1])) == ["dead_click"]


def test_a_deadline_is_decided_by_time_when_nothing_more_comes() -> None:
    """A click is shown the hold and the linger after its receipt, and then known to be dead.

    A page whose reports are collected for 10 s after it is judged so much later.
    """
    slow = Vitals(lcp=9_000)
    clock = run(
        machine(), [batch(100, event(1, 0), event(2, 50, "web_vitals", CART, slow))], 11_100
    )
    assert found(clock) == []
    clock.finish(START_MS + 11_101)
    assert found(clock) == ["dead_click"]
    clock.finish(START_MS + 21_100)
    assert found(clock) == ["dead_click"]
    clock.finish(START_MS + 21_101)
    assert found(clock) == ["dead_click", "slow_page"]


@pytest.mark.parametrize(("received_ms", "types"), [(7_100, []), (7_101, ["dead_click"])])
def test_what_is_due_is_done_when_the_next_batch_comes(received_ms: int, types: list[str]) -> None:
    """A dead click is due when its second and the hold are over, not before."""
    deliveries = [
        batch(100, event(1, 0)),
        batch(received_ms, event(2, received_ms - 50, "scroll")),
    ]
    assert found(run(machine(), deliveries, until_ms=received_ms)) == types


@pytest.mark.parametrize(("received_ms", "types"), [(11_100, []), (11_101, ["dead_click"])])
def test_a_batch_is_looked_at_together_with_what_is_due(received_ms: int, types: list[str]) -> None:
    """An answer that comes before the linger is over is in time, later it is late."""
    deliveries = [batch(100, event(1, 0)), batch(received_ms, event(2, 500, "fetch_request"))]
    clock = run(machine(), deliveries)
    assert found(clock) == types


@pytest.mark.parametrize("habit", ["exact", "late", "lazy", "eager"])
def test_timers_that_come_late_do_what_was_due_at_their_time(habit: str) -> None:
    """The first click is shown at 11.1 s; the second, due at 14 s, not before the batch at 15 s.

    So the answer to the first one is late, and that to the second is in time.
    """
    deliveries = [
        batch(100, event(1, 0)),
        batch(8_000, event(2, 7_900)),
        batch(13_000, event(3, 900, "fetch_request")),
        batch(15_000, event(4, 8_000, "fetch_request")),
    ]
    clock = Clock(machine(), seed=4, habit=habit)
    for delivery in deliveries:
        clock.take(delivery)
    assert clock.state is not None
    assert clock.state.late_count == 1
    assert held_ids(clock) == [str(UUID(int=4))]
    clock.finish(START_MS + IDLE_MS)
    assert found(clock) == ["dead_click"]


def test_a_deadline_waits_for_events_that_are_held_up_to_it() -> None:
    """A late answer shows how late events are: another one may come as late as it did."""
    deliveries = [
        batch(0, event(1, 0)),
        batch(5_000, event(3, 900, "mouse_move")),  # Nobody but the cursor detector takes it.
        batch(10_500, event(2, 800, "fetch_request")),
    ]
    assert found(run(machine(), deliveries)) == []


def test_an_event_before_what_was_shown_is_late_but_counted_in_the_totals() -> None:
    """Detectors never see time go back."""
    deliveries = [
        batch(0, event(1, 0, "page_view")),
        batch(1_000, event(2, 900, "page_view", CART)),
        batch(20_000, event(3, 800)),
    ]
    clock = run(machine(), deliveries, until_ms=60_000)
    assert clock.state is not None
    assert clock.state.late_count == 1
    assert found(clock) == []
    assert clock.rows[-1].click_count == 1


@pytest.mark.parametrize("received_ms", [20_000, 200_000])
def test_an_event_before_a_deadline_that_was_decided_is_late(received_ms: int) -> None:
    """The visitor's time stands at the deadline, though no event was there.

    The last one to be decided here is that of the dead click, after 1 s. What is only forgotten,
    soon or after a while, makes nothing late.
    """
    deliveries = [
        batch(0, event(1, 0)),
        batch(received_ms, event(2, 900, "fetch_request"), event(3, 1_000), event(4, 1_001)),
    ]
    clock = run(machine(), deliveries, until_ms=received_ms + 1_000)
    assert clock.state is not None
    assert clock.state.late_count == 2
    assert held_ids(clock) == [str(UUID(int=4))]


def test_a_millisecond_waits_for_the_last_of_its_events() -> None:
    """Each comes the hold after the one before it; the others wait, and those before do not."""
    deliveries = [
        batch(10, event(1, 5, "page_view"), event(2, 10), event(3, 10)),
        batch(6_010, event(4, 10), event(5, 11, "page_view")),
        batch(6_011, event(6, 12, "goal", body=Goal("signup"))),
        batch(12_010, event(7, 10), event(8, 11, "page_view", CART)),
        batch(12_011, event(9, 12, "goal", body=Goal("signup"))),
    ]
    clock = run(machine(), deliveries, until_ms=12_011)
    assert clock.state is not None
    assert clock.state.mark_ms == START_MS + 5
    assert sorted(held_ids(clock)) == [str(UUID(int=number)) for number in (2, 3, 4, 5, 7, 8)]
    clock = run(machine(), deliveries, until_ms=60_000)
    assert clock.state is not None
    assert (clock.state.mark_ms, clock.state.late_count) == (START_MS + 11, 0)


@pytest.mark.parametrize(
    ("between_ms", "received_ms", "late_count"),
    [
        (7_000, 7_001, 0),
        (7_001, 7_001, 1),
        (7_001, 12_000, 1),
        (2_000, 11_000, 0),
        (2_000, 11_001, 1),
    ],
)
def test_the_hold_ends_with_a_batch_that_comes_after_it(
    between_ms: int, received_ms: int, late_count: int
) -> None:
    """What is received exactly the hold after a later event still counts, or with the next batch;

    without one it counts until the linger is over.
    """
    deliveries = [
        batch(0, event(1, 0, "page_view")),
        batch(1_000, event(2, 900, "page_view", CART)),
        batch(between_ms, event(4, between_ms, "scroll")),
        batch(received_ms, event(3, 800)),
    ]
    clock = run(machine(), deliveries, until_ms=60_000)
    assert clock.state is not None
    assert clock.state.late_count == late_count


def test_what_comes_when_a_session_is_forgotten_does_not_take_its_place() -> None:
    """An offline device, a request sent again, a purchase that a server tells of hours later."""
    visit = [
        batch(0, event(1, 0, "page_view"), event(2, 500)),
        batch(9_000, event(3, 8_000, "page_view", CART)),
    ]
    whole = run(machine(), visit).rows[-1]
    for_long = 2 * LATENESS_MS
    for later in (
        [event(4, 60_000, "page_view"), event(5, 61_000, "page_view", CART), event(6, 62_000)],
        [event(3, 8_000, "page_view", CART)],
        [event(7, for_long - 1_000, "purchase", body=Goal("purchase", 49.0, "USD"))],
    ):
        deliveries = [batch(for_long, one) for one in later]
        clock = run(machine(), [*visit, *deliveries])
        (kept,) = latest(clock.rows)
        assert kept == whole
        alone = run(machine(), deliveries).rows
        assert {row.revision for row in alone} == {0}
        assert alone[-1].is_closed
        assert alone[-1].event_count == len(later)


def test_a_session_is_seen_to_begin() -> None:
    """Its rows count from then on, whatever came first."""
    deliveries = [
        batch(0, event(2, 0)),
        batch(12_000, event(3, 11_000, "scroll")),
        batch(24_000, event(1, -10, "page_view")),
        batch(36_000, event(4, 35_000)),
    ]
    clock = run(machine(), deliveries)
    revisions = [row.revision for row in clock.rows]
    first = revisions.index(1)
    assert first > 0
    assert revisions == [0] * first + list(range(1, len(revisions) - first + 1))


def test_a_session_is_reopened_by_a_late_event() -> None:
    """Example E: closed after 1800 s, then reopened: the same row, a higher revision."""
    deliveries = [
        batch(0, event(1, 0, "page_view")),
        batch(2_000_000, event(2, 2_000_000)),
    ]
    clock = run(machine(), deliveries)
    assert [(row.revision, row.is_closed) for row in clock.rows] == [
        (1, False),
        (2, True),
        (3, False),
        (4, False),  # The click was found dead.
        (5, True),
    ]
    last = clock.rows[-1]
    assert (last.duration_ms, last.engaged_ms, last.dead_click_count) == (2_000_000, 10_000, 1)
    assert len({row.session_id for row in clock.rows}) == 1


def test_exactly_thirty_minutes_do_not_close_a_session() -> None:
    """Example D: the click at 1800.000 s belongs to the session as it is."""
    deliveries = [batch(0, event(1, 0, "page_view")), batch(IDLE_MS, event(2, IDLE_MS))]
    clock = run(machine(), deliveries, until_ms=IDLE_MS)
    assert [row.is_closed for row in clock.rows] == [False, False]
    assert clock.rows[-1].duration_ms == 1_800_000


def test_findings_of_before_the_closing_are_kept_when_a_session_is_reopened() -> None:
    """The counts go on, and the score with them."""
    deliveries = [batch(0, event(1, 0)), batch(2_000_000, event(2, 2_000_000, "page_view"))]
    clock = run(machine(), deliveries)
    assert found(clock) == ["dead_click"]
    assert [row.dead_click_count for row in clock.rows] == [0, 1, 1, 1, 1]
    assert clock.rows[-1].has_dead_click


def test_a_session_is_forgotten_an_hour_after_its_last_event() -> None:
    """What comes within the hour reopens it, later it is another state."""
    clock = run(machine(), [batch(0, event(1, 0, "page_view"))], until_ms=LATENESS_MS)
    assert clock.state is not None
    assert clock.state.is_closed
    clock.finish(START_MS + LATENESS_MS + 1)
    assert clock.state is None


def test_a_closed_session_knows_its_events() -> None:
    """A repetition within the hour changes neither counts nor revisions."""
    first = batch(0, event(1, 0, "page_view"))
    clock = run(machine(), [first, batch(2_000_000, event(1, 0, "page_view"))])
    assert [(row.revision, row.is_closed, row.event_count) for row in clock.rows] == [
        (1, False, 1),
        (2, True, 1),
    ]


def test_repetitions_count_once_within_a_batch_and_across() -> None:
    """The first one counts; the others are told."""
    one = event(1, 0, "page_view")
    deliveries = [
        batch(0, one, one),
        batch(50, one, event(2, 20, "page_view", CART)),
        batch(60, one),
    ]
    clock = run(machine(), deliveries, until_ms=20_000)
    assert clock.state is not None
    assert clock.state.repeated_count == 3
    assert clock.rows[-1].page_count == 2


def test_a_burst_of_an_offline_visitor_is_shown_in_order() -> None:
    """25 s of events received at once, in any order, give what they would have given live."""
    clicks = [event(number, 200 * number) for number in range(1, 8)]
    later = [
        event(20, 20_000, "page_view", CART),
        event(21, 22_000, "page_view"),
        event(22, 25_000, "page_view", CART),
    ]
    events = [*clicks, *later]
    random.Random(5).shuffle(events)
    clock = run(machine(), [batch(25_000, *events)])
    assert sorted(found(clock)) == ["dead_click", "rage_click", "u_turn"]


def test_without_a_hold_events_are_shown_after_their_millisecond() -> None:
    """With the next batch, or when the linger is over; the batch itself is put in order."""
    deliveries = [batch(10, event(2, 5, "page_view", CART), event(1, 0, "page_view"))]
    clock = run(machine(hold_ms=0), deliveries, until_ms=5_010)
    assert clock.state is not None
    assert len(held_ids(clock)) == 2
    clock.finish(START_MS + 5_011)
    assert clock.state.held == ()
    assert clock.state.mark_ms == START_MS + 5
    assert clock.state.late_count == 0


def test_a_clock_that_is_ahead_shows_a_batch_at_once() -> None:
    """Other sessions of the partition moved the clock on: the hold of this batch is over."""
    clock = run(machine(), [batch(0, event(1, 0, "page_view"), clock_ms=8_000)], until_ms=8_000)
    assert clock.state is not None
    assert clock.state.held == ()


def test_batches_received_long_before_the_clock_are_one_session() -> None:
    """A gateway whose clock is two hours behind splits no session into its batches."""
    clock_ms = 2 * LATENESS_MS
    deliveries = [
        batch(0, event(1, 0, "page_view"), clock_ms=clock_ms),
        batch(5_000, event(2, 5_000), clock_ms=clock_ms + 5_000),
        batch(9_000, event(3, 9_000), clock_ms=clock_ms + 9_000),
    ]
    rows = run(machine(), deliveries).rows
    assert [row.revision for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1].is_closed
    assert (rows[-1].event_count, rows[-1].click_count) == (3, 2)


def test_the_preview_of_an_episode_has_the_id_of_its_insight() -> None:
    """It is announced once, while the burst is still held, and changes nothing."""
    deliveries = [
        batch(1_000, *(event(number, 100 * number) for number in range(1, 6))),
        batch(1_800, *(event(number, 100 * number) for number in range(6, 9))),
    ]
    clock = run(machine(previews=True), deliveries)
    plain = run(machine(), deliveries)
    previews = [insight for insight in clock.insights if insight.is_provisional]
    assert len(previews) == 1
    assert clock.outputs.index(previews[0]) < clock.outputs.index(clock.rows[0])
    [rage] = [insight for insight in plain.insights if insight.insight_type == "rage_click"]
    assert previews[0].insight_id == rage.insight_id
    assert [output for output in clock.outputs if output is not previews[0]] == plain.outputs


def test_an_episode_that_came_whole_in_one_batch_is_announced() -> None:
    """It is over before its batch is, and due six seconds later."""
    clicks = [event(number, 100 * number) for number in range(1, 7)]
    clock = run(machine(previews=True), [batch(9_000, *clicks, event(7, 8_900, "scroll"))], 9_000)
    (preview,) = clock.insights
    assert preview.is_provisional
    clock.finish(START_MS + IDLE_MS)
    finals = [each for each in clock.insights if each.insight_type == preview.insight_type]
    assert [each.insight_id for each in finals] == [preview.insight_id] * 2


def test_what_nobody_does_so_fast_is_not_tried_again_with_each_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty batches a second of clicks: each is looked at a few times, not all with each batch."""
    shown: list[int] = []
    show = LiveDetectors.show

    def counted(
        self: LiveDetectors, events: Sequence[SessionEvent], until_ms: int = 0
    ) -> list[Finding]:
        shown.append(len(events))
        return show(self, events, until_ms)

    monkeypatch.setattr(LiveDetectors, "show", counted)
    clicks = [event(number, 5 * number) for number in range(1, 2_001)]
    deliveries = [
        batch(5 * place + 100, *clicks[place : place + 10]) for place in range(0, 2_000, 10)
    ]
    clock = run(machine(previews=True), deliveries)
    assert len([each for each in clock.insights if each.is_provisional]) == 1
    assert sum(shown) < 3 * len(clicks)


@pytest.mark.parametrize("fault", ["on_event", "on_time", "stands_still"])
def test_a_detector_that_fails_is_dropped_and_the_others_go_on(fault: str) -> None:
    """Its fault is counted once for the session; totals and other findings are there."""
    clicks = [event(number, 100 * number) for number in range(4)]
    deliveries = [
        batch(500, *clicks),
        batch(20_000, *(event(n + 10, 15_000 + n) for n in range(3))),
    ]
    clock = run(machine(Faulty(fault), *TOYS), deliveries, until_ms=60_000)
    assert clock.state is not None
    assert clock.state.failure_count == 1
    assert clock.state.memory.opened.failed == ("faulty",)
    assert found(clock).count("burst") == 2
    assert "faulty" not in found(clock)
    assert clock.rows[-1].click_count == 7


def test_states_of_unknown_detectors_are_kept_until_the_session_closes() -> None:
    """A detector that is switched off and on again goes on where it was."""
    all_of_them, one = ToyRules(TOYS), ToyRules(TOYS[:1])
    rules = [all_of_them]
    of = BehaviourMachine(lambda _project_id: rules[0])
    state: SessionState | None = None
    for number, at_ms in enumerate((0, 1_100, 2_200), 1):
        delivery = batch(at_ms, event(number, at_ms, "page_view", (HOME, CART, HOME)[number - 1]))
        state, _ = of.on_event(state, delivery.batch, delivery.now_ms)
    assert state is not None
    state, _ = of.on_time(state, START_MS + 14_000)
    assert state is not None
    assert set(state.memory.opened.states) == {"returned"}
    rules[0] = one
    state = decode_state(encode_state(state))
    state, _ = of.on_time(state, START_MS + 15_000)
    assert state is not None
    assert set(state.memory.opened.states) == {"returned"}
    rules[0] = all_of_them
    kept, made = of.on_time(decode_state(encode_state(state)), START_MS + IDLE_MS + 2_201)
    assert kept is not None
    assert kept.memory.opened.states == {}
    rules[0] = one
    kept, made = of.on_time(state, START_MS + IDLE_MS + 2_201)
    assert kept is not None
    assert kept.memory.opened.states == {}
    assert [row.is_closed for row in made] == [True]  # type: ignore[union-attr]


def test_a_state_of_another_version_begins_anew() -> None:
    """It cannot be read; the detector goes on, and the fault is counted."""
    of = machine(*TOYS)
    delivery = batch(0, event(1, 0, "page_view"))
    state, _ = of.on_event(None, delivery.batch, delivery.now_ms)
    assert state is not None
    state, _ = of.on_time(state, START_MS + 11_001)
    assert state is not None
    assert set(state.memory.opened.states) == {"returned"}
    opened = Opened(states={"returned": msgspec.Raw(msgspec.msgpack.encode(["no views"]))})
    broken = msgspec.structs.replace(state, memory=DetectorMemory(opened))
    delivery = batch(12_000, event(2, 11_500, "page_view", CART))
    after, _ = of.on_event(broken, delivery.batch, delivery.now_ms)
    assert after is not None
    after, _ = of.on_time(after, START_MS + 23_001)
    assert after is not None
    assert after.failure_count == 1
    assert after.memory.opened.failed == ()


def test_a_step_does_not_change_the_state_it_was_given() -> None:
    """A step that is taken again gives the same."""
    of = machine()
    state: SessionState | None = None
    for at_ms in range(0, 30_000, 700):
        before = None if state is None else encode_state(state)
        delivery = batch(at_ms + 50, event(at_ms, at_ms))
        first = of.on_event(state, delivery.batch, delivery.now_ms)
        assert of.on_event(state, delivery.batch, delivery.now_ms) == first
        assert before is None or encode_state(state) == before  # type: ignore[arg-type]
        state = first[0]


def test_held_events_are_bounded() -> None:
    """Beyond the bound the oldest are shown before their time."""
    events = [event(number, number, "page_view") for number in range(HELD_MAX + 10)]
    clock = run(machine(*TOYS), [batch(6_000, *events)], until_ms=6_000)
    assert clock.state is not None
    assert len(held_ids(clock)) == HELD_MAX
    assert clock.state.mark_ms == START_MS + 9


def test_held_events_are_bounded_by_their_bytes() -> None:
    """Whatever is sent, the state stays something that can be stored, and all of it counts."""
    moves = Moves(tuple((10**6 - n % 7, 10**6 - n % 5, 60_000 + n) for n in range(200)))
    deliveries = [
        batch(at_ms, *[event(at_ms + n, at_ms + n, "mouse_move", body=moves) for n in range(100)])
        for at_ms in range(0, 5_000, 100)
    ]
    clock = run(machine(), deliveries, until_ms=5_000)
    assert clock.state is not None
    assert sum(held.byte_count for held in clock.state.held) <= HELD_BYTES_MAX
    assert len(encode_state(clock.state)) < STATE_BYTES_MAX
    assert clock.state.totals.event_count == 5_000
    assert clock.state.late_count == 0


def test_the_state_of_a_quiet_session_is_about_a_kilobyte() -> None:
    """Forty events of a visit that went on are remembered by eight bytes each."""
    kinds = ("page_view", "mouse_move", "scroll", "click")
    deliveries = [
        batch(
            at_ms + 50, event(at_ms, at_ms, kinds[at_ms // 1_000 % 4], (HOME, CART)[at_ms % 7 % 2])
        )
        for at_ms in range(0, 40_000, 1_000)
    ]
    clock = run(machine(), deliveries, until_ms=120_000)
    assert clock.state is not None
    assert clock.state.held == ()
    assert len(encode_state(clock.state)) < 1_600


def test_ids_are_folded_by_their_halves_and_the_oldest_forgotten() -> None:
    """Eight bytes an id, the newest 20,000."""
    first, second = 0x0123456789ABCDEF, 0x1111111111111111
    folded = folded_ids([str(UUID(int=first << 64 | second))])
    assert folded.tobytes() == (first ^ second).to_bytes(8, "big")
    chance = random.Random(3)
    events = [event(chance.getrandbits(128), 0, "scroll") for _ in range(IDS_MAX + 5)]
    seen, fresh = new_events(b"", events)
    assert len(fresh) == IDS_MAX + 5
    assert len(seen) == 8 * IDS_MAX
    assert new_events(seen, events[:5])[1] == events[:5]
    assert new_events(seen, events[5:25])[1] == []
    assert new_events(seen, [events[-1], events[0], events[0]])[1] == [events[0]]


def test_ids_are_found_at_their_places_only() -> None:
    """The end of one id and the beginning of the next are not a third one."""
    low, high = 0x1122334455667788, 0x99AABBCCDDEEFF00
    seen, _ = new_events(b"", [event(low, 0), event(high, 0)])
    between = int.from_bytes(seen[4:12], "little")
    for _ in range(2):
        seen, fresh = new_events(seen, [event(between, 0)])
    assert fresh == []
    assert len(seen) == 24


@pytest.mark.parametrize(
    ("currency", "expected"), [("", ("EUR", 1_000)), ("USD", ("USD", 2_000)), ("CHF", ("CHF", 0))]
)
def test_revenue_is_told_in_the_projects_currency(currency: str, expected: tuple[str, int]) -> None:
    """In that of the first purchase if the project has set none; nothing is converted."""
    rules = ToyRules(SIX, currency=currency)
    paid = [
        event(1, 0, "purchase", body=Goal("purchase", 10.0, "EUR")),
        event(2, 50, "purchase", body=Goal("purchase", 20.0, "USD")),
    ]
    clock = run(BehaviourMachine(lambda _project_id: rules), [batch(100, *paid)])
    assert {(row.currency, row.revenue_minor) for row in clock.rows} == {expected}
