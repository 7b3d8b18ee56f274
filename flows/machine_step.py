"""The one adapter between machines and Bytewax: a keyed stateful step.

In: (key, item). Out: (key, output). The machine's state is what Bytewax snapshots, so a machine
never sees the engine and the engine never sees what a state means.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from flows.core.machine import Machine

StateT = TypeVar("StateT")
ItemT = TypeVar("ItemT")
OutputT = TypeVar("OutputT")


def wall_clock_ms() -> int:
    """Milliseconds since the epoch, now."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[StateT]):
    """What the recovery store keeps of one key: the machine's state and the time it had reached."""

    state: StateT
    now_ms: int


class _MachineLogic(StatefulBatchLogic[ItemT, OutputT, Snapshot[Any]]):
    """One key of one machine.

    Without `event_time` the machine lives in wall-clock time. With it, time is the largest time
    of the key's items; while the key is quiet it goes on at the wall clock's pace from there, so
    that a backlog read fast is not taken for a quiet key.
    """

    def __init__(
        self,
        machine: Machine[Any, ItemT, OutputT],
        event_time: Callable[[ItemT], int] | None,
        clock: Callable[[], int],
        finish_at_eof: bool,
        resumed: Snapshot[Any] | None,
    ) -> None:
        self._machine = machine
        self._event_time = event_time
        self._clock = clock
        self._finish_at_eof = finish_at_eof
        self._state = resumed.state if resumed is not None else None
        self._now_ms = resumed.now_ms if resumed is not None else 0
        self._seen_at_ms = clock()

    def on_batch(self, values: list[ItemT]) -> tuple[list[OutputT], bool]:
        outputs: list[OutputT] = []
        for value in values:
            self._advance(value)
            outputs.extend(self._wake_if_due())
            self._state, made = self._machine.on_event(self._state, value, self._now_ms)
            outputs.extend(made)
        return outputs, self._state is None

    def on_notify(self) -> tuple[list[OutputT], bool]:
        self._now_ms = self._quiet_time_ms()
        self._seen_at_ms = self._clock()
        return self._wake_if_due(), self._state is None

    def on_eof(self) -> tuple[list[OutputT], bool]:
        if self._finish_at_eof and self._state is not None:
            wake_at_ms = self._machine.wake_at_ms(self._state)
            if wake_at_ms is not None:
                self._now_ms = max(self._now_ms, wake_at_ms)
                return self._wake_if_due(), self._state is None
        return [], False

    def notify_at(self) -> datetime | None:
        if self._state is None:
            return None
        wake_at_ms = self._machine.wake_at_ms(self._state)
        if wake_at_ms is None:
            return None
        wait_ms = max(0, wake_at_ms - self._now_ms)
        return datetime.fromtimestamp((self._seen_at_ms + wait_ms) / 1000, UTC)

    def snapshot(self) -> Snapshot[Any]:
        return Snapshot(self._state, self._now_ms)

    def _advance(self, value: ItemT) -> None:
        self._seen_at_ms = self._clock()
        if self._event_time is None:
            self._now_ms = self._seen_at_ms
        else:
            self._now_ms = max(self._now_ms, self._event_time(value))

    def _quiet_time_ms(self) -> int:
        if self._event_time is None:
            return self._clock()
        return self._now_ms + max(0, self._clock() - self._seen_at_ms)

    def _wake_if_due(self) -> list[OutputT]:
        outputs: list[OutputT] = []
        while self._state is not None:
            wake_at_ms = self._machine.wake_at_ms(self._state)
            if wake_at_ms is None or wake_at_ms > self._now_ms:
                break
            self._state, made = self._machine.on_time(self._state, self._now_ms)
            outputs.extend(made)
            assert self._state is None or self._machine.wake_at_ms(self._state) != wake_at_ms, (
                "a machine that is woken must move its deadline"
            )
        return outputs


def run_machine(
    step_id: str,
    stream: KeyedStream[ItemT],
    machine: Machine[Any, ItemT, OutputT],
    *,
    event_time: Callable[[ItemT], int] | None = None,
    clock: Callable[[], int] = wall_clock_ms,
    finish_at_eof: bool = False,
) -> KeyedStream[OutputT]:
    """Run `machine` over each key of `stream`; a key whose state becomes None is forgotten.

    `event_time` gives an item's time in ms and switches the machine to event time.
    `finish_at_eof` brings the next deadline forward when the input ends; only for machines whose
    state is not kept over a restart. `step_id` is part of stored state: renaming it is a
    breaking change.
    """

    def build(resumed: Snapshot[Any] | None) -> _MachineLogic[ItemT, OutputT]:
        return _MachineLogic(machine, event_time, clock, finish_at_eof, resumed)

    return op.stateful_batch(step_id, stream, build)
