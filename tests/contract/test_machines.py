"""The machine contract, over all machines, and the adapter that runs them."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from flows.core.behaviour import BehaviourMachine
from flows.core.blocks import BlockCutter
from flows.core.machine import Machine
from flows.machine_step import _MachineLogic, run_machine
from tests.session_schedules import ACTIONS, deliver, make_visit
from tests.toy_detectors import SIX, ToyRules
from tests.unit.flows.test_blocks import Run


@dataclass(frozen=True)
class Case:
    """A machine, a stream of (time, event) of one key, and the bound of its state."""

    machine: Machine[Any, Any, Any]
    stream: Sequence[tuple[int, Any]]
    state_bound: int


def cutter_case() -> Case:
    """The block cutter over runs of random sizes."""
    chance = random.Random(3)
    stream, offset, now_ms = [], 0, 0
    for _ in range(200):
        size = chance.randint(1, 5)
        stream.append((now_ms, Run(offset, offset + size - 1, size)))
        offset += size
        now_ms += chance.choice((0, 10, 400, 3_000))
    return Case(BlockCutter(rows_max=20, age_ms_max=1_000), stream, 20_000)


def behaviour_case() -> Case:
    """A session with the six detectors, its events received within the hold."""
    chance = random.Random(4)
    events = make_visit(4, [(chance.choice(ACTIONS), chance.randint(0, 4_000)) for _ in range(30)])
    deliveries = deliver(events, [chance.randint(0, 6_000) for _ in events], chance)
    rules = ToyRules(SIX)
    return Case(
        BehaviourMachine(lambda _project_id: rules),
        [(delivery.now_ms, delivery.batch) for delivery in deliveries],
        100_000,
    )


CASES: dict[str, Callable[[], Case]] = {
    "block_cutter": cutter_case,
    "behaviour": behaviour_case,
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Every machine there is."""
    return CASES[request.param]()


def play(case: Case, *, store_at: int | None = None, late_ms: int = 0) -> list[Any]:
    """Run the stream; wake at deadlines, `late_ms` too late; store and restore once."""
    state: Any = None
    outputs: list[Any] = []
    for index, (now_ms, event) in enumerate(case.stream):
        while state is not None:
            wake_at_ms = case.machine.wake_at_ms(state)
            if wake_at_ms is None or wake_at_ms + late_ms > now_ms:
                break
            state, made = case.machine.on_time(state, wake_at_ms + late_ms)
            outputs += made
        if index == store_at:
            state = pickle.loads(pickle.dumps(state))
        state, made = case.machine.on_event(state, event, now_ms)
        outputs += made
        assert len(pickle.dumps(state)) <= case.state_bound
    return outputs


def test_same_input_same_output(case: Case) -> None:
    """No clock, no chance, nothing kept in the machine."""
    assert play(case) == play(case)


def test_store_and_restore_change_nothing(case: Case) -> None:
    """At any point of the stream."""
    whole = play(case)
    for point in range(0, len(case.stream), 17):
        assert play(case, store_at=point) == whole


def test_a_quiet_key_is_forgotten(case: Case) -> None:
    """After its last deadline a machine asks for nothing more."""
    state: Any = None
    for now_ms, event in case.stream[:5]:
        state, _made = case.machine.on_event(state, event, now_ms)
    for _ in range(100):
        if state is None:
            return
        wake_at_ms = case.machine.wake_at_ms(state)
        assert wake_at_ms is not None
        state, _made = case.machine.on_time(state, wake_at_ms)
    raise AssertionError("the key is never forgotten")


@dataclass(frozen=True)
class Sleeper:
    """A machine for the adapter: counts events and reports them `after_ms` after the first."""

    after_ms: int = 1_000

    def on_event(self, state: Any, event: int, now_ms: int) -> tuple[Any, Sequence[Any]]:
        """Count."""
        began, count = state or (now_ms, 0)
        return (began, count + 1), ()

    def on_time(self, state: Any, now_ms: int) -> tuple[Any, Sequence[Any]]:
        """Report and forget."""
        return None, [(state[0] + self.after_ms, state[1])]

    def wake_at_ms(self, state: Any) -> int | None:
        """A second after the first event."""
        return int(state[0]) + self.after_ms


def test_event_time_passes_with_events_not_with_the_clock() -> None:
    """A backlog read in no time wakes at the deadlines of its own times."""
    logic = _MachineLogic(Sleeper(), lambda event: event, lambda: 50_000, False, None)
    outputs, is_done = logic.on_batch([0, 500, 999, 1_000, 1_500, 2_700])
    assert outputs == [(1_000, 3), (2_000, 2)]
    assert not is_done


def test_quiet_time_passes_with_the_clock() -> None:
    """A key without events is woken as long after its last event as its deadline is away."""
    now_ms = 50_000
    logic = _MachineLogic(Sleeper(), lambda event: event, lambda: now_ms, False, None)
    logic.on_batch([0, 400])
    assert logic.notify_at() == datetime.fromtimestamp((50_000 + 600) / 1000, UTC)
    now_ms = 50_600
    assert logic.on_notify() == ([(1_000, 2)], True)


def test_a_snapshot_goes_on_where_it_was() -> None:
    """State and reached time are restored."""
    first = _MachineLogic(Sleeper(), lambda event: event, lambda: 0, False, None)
    first.on_batch([0, 400])
    resumed = pickle.loads(pickle.dumps(first.snapshot()))
    second = _MachineLogic(Sleeper(), lambda event: event, lambda: 0, False, resumed)
    assert second.on_batch([1_200]) == ([(1_000, 2)], False)


def test_the_adapter_runs_machines_by_key() -> None:
    """Keys do not see each other; the end of the input brings deadlines forward if asked."""
    out: list[Any] = []
    flow = Dataflow("test")
    stream = op.input("in", flow, TestingSource([("a", 0), ("b", 10), ("a", 20)]))
    outputs = run_machine(
        "sleep", stream, Sleeper(), event_time=lambda event: event, finish_at_eof=True
    )
    op.output("out", outputs, TestingSink(out))
    run_main(flow)
    assert sorted(out) == [("a", (1_000, 2)), ("b", (1_010, 1))]
