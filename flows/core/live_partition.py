"""One partition of keyed states: a machine over its items, its timers, and what has changed.

In: items of the partition in the order of its log, and how far the wall clock is when nothing more
comes. Out: outputs in order and, step by step, what must be stored so that another process can go
on from there: the changed states, the next offset and the clock.

The clock is the largest time of the items so far. A timer due at T fires before any item whose time
is T or later, at its own deadline, earliest first and then by key. So outputs depend on the items
alone, not on how they were cut into batches or steps, nor on where a process ended.

States are kept packed: encoded, behind the deadline they wait for. Only those used lately are also
kept as objects, so that a restore opens nothing and a hundred thousand quiet keys stay small.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from flows.core.machine import Machine
from schemas.kept_states import Kept, Progress

StateT = TypeVar("StateT")
ItemT = TypeVar("ItemT")
OutputT = TypeVar("OutputT")

# Opened states kept beside their packed form; one takes some kilobytes.
OPENED_MAX = 1_000
_NEVER = -1
_DEADLINE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Step(Generic[OutputT]):
    """What changed since the step before; a state of None is forgotten. Stored as a whole."""

    progress: Progress
    states: Mapping[str, bytes | None]
    outputs: Sequence[OutputT]


@dataclass(frozen=True, slots=True)
class Workings(Generic[StateT, ItemT, OutputT]):
    """A machine, how its states are stored, and whose an item is, since when (ms)."""

    machine: Machine[StateT, ItemT, OutputT]
    encode: Callable[[StateT], bytes]
    decode: Callable[[bytes], StateT]
    key_of: Callable[[ItemT], str]
    time_of: Callable[[ItemT], int]


class LivePartition(Generic[StateT, ItemT, OutputT]):
    """The live states of one partition; see the module."""

    def __init__(
        self,
        workings: Workings[StateT, ItemT, OutputT],
        kept: Kept,
        *,
        opened_max: int = OPENED_MAX,
    ) -> None:
        self._workings = workings
        self._machine = workings.machine
        self._opened_max = opened_max
        self._progress = kept.progress
        self._clock_ms = kept.progress.clock_ms
        self._next_offset = kept.progress.next_offset
        self._packed: dict[str, bytes] = dict(kept.states)
        self._packed_bytes = sum(map(len, self._packed.values()))
        self._live = len(self._packed)
        self._opened: OrderedDict[str, StateT] = OrderedDict()
        self._changed: dict[str, None] = {}
        self._outputs: list[OutputT] = []
        # A key has at most one entry that counts; it is never later than the key's deadline.
        self._scheduled = {
            key: due_ms
            for key, packed in self._packed.items()
            if (due_ms := _deadline(packed)) is not None
        }
        self._timers = [(due_ms, key) for key, due_ms in self._scheduled.items()]
        heapify(self._timers)

    @property
    def next_offset(self) -> int:
        """The next record to take; all before are taken."""
        return self._next_offset

    @property
    def clock_ms(self) -> int:
        """The largest time seen."""
        return self._clock_ms

    @property
    def keys_live(self) -> int:
        """Keys that have a state; may be asked for by any thread."""
        return self._live

    @property
    def packed_bytes(self) -> int:
        """Size of the states as stored; may be asked for by any thread."""
        return self._packed_bytes

    @property
    def changes(self) -> int:
        """States changed and outputs made since the last step."""
        return len(self._changed) + len(self._outputs)

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to store; a clock that went on alone is nothing."""
        return bool(self._changed or self._outputs) or (
            self._next_offset != self._progress.next_offset
        )

    def take(self, items: Iterable[ItemT], next_offset: int) -> None:
        """Take items in order; all records before `next_offset` are done with."""
        workings = self._workings
        for item in items:
            time_ms = workings.time_of(item)
            self._advance(time_ms)
            key = workings.key_of(item)
            before = self._open(key)
            state, made = self._machine.on_event(before, item, self._clock_ms)
            self._live += (state is not None) - (before is not None)
            self._keep(key, state)
            self._outputs.extend(made)
        assert next_offset >= self._next_offset
        self._next_offset = next_offset

    def pass_time(self, now_ms: int) -> None:
        """Nothing more comes that is older than `now_ms`."""
        self._advance(now_ms)

    def step(self) -> Step[OutputT]:
        """What changed since the last call."""
        packed: dict[str, bytes | None] = {key: self._pack(key) for key in self._changed}
        outputs = self._outputs
        self._changed, self._outputs = {}, []
        while len(self._opened) > self._opened_max:
            self._opened.popitem(last=False)
        self._progress = Progress(self._next_offset, self._clock_ms, self._progress.step + 1)
        return Step(self._progress, packed, outputs)

    def _advance(self, now_ms: int) -> None:
        limit_ms = max(now_ms, self._clock_ms)
        timers = self._timers
        while timers and timers[0][0] <= limit_ms:
            scheduled_ms, key = heappop(timers)
            if self._scheduled.get(key) != scheduled_ms:
                continue
            del self._scheduled[key]
            due_ms = self._due_ms(key)
            if due_ms is None:
                continue
            if due_ms > scheduled_ms:
                self._schedule(key, due_ms)
                continue
            self._clock_ms = max(self._clock_ms, due_ms)
            state = self._open(key)
            if state is None:
                continue
            state, made = self._machine.on_time(state, self._clock_ms)
            assert state is None or self._machine.wake_at_ms(state) != due_ms, (
                "a machine that is woken must move its deadline"
            )
            self._live -= state is None
            self._keep(key, state)
            self._outputs.extend(made)
        self._clock_ms = limit_ms

    def _open(self, key: str) -> StateT | None:
        state = self._opened.get(key)
        if state is not None:
            self._opened.move_to_end(key)
            return state
        packed = self._packed.get(key)
        if packed is None or key in self._changed:
            return None
        try:
            state = self._workings.decode(packed[_DEADLINE_BYTES:])
        except Exception:  # Of another version, or damaged: one key must not stop the others.
            self._changed[key] = None
            self._scheduled.pop(key, None)
            self._live -= 1
            return None
        self._opened[key] = state
        return state

    def _keep(self, key: str, state: StateT | None) -> None:
        self._changed[key] = None
        if state is None:
            self._opened.pop(key, None)
            self._scheduled.pop(key, None)
            return
        self._opened[key] = state
        due_ms = self._machine.wake_at_ms(state)
        if due_ms is not None and due_ms < self._scheduled.get(key, due_ms + 1):
            self._schedule(key, due_ms)

    def _due_ms(self, key: str) -> int | None:
        state = self._opened.get(key)
        if state is not None:
            return self._machine.wake_at_ms(state)
        return _deadline(self._packed[key])

    def _schedule(self, key: str, due_ms: int) -> None:
        self._scheduled[key] = due_ms
        heappush(self._timers, (due_ms, key))
        if len(self._timers) > 2 * len(self._scheduled) + 1_000:
            self._timers[:] = [(at_ms, name) for name, at_ms in self._scheduled.items()]
            heapify(self._timers)

    def _pack(self, key: str) -> bytes | None:
        """The state as stored, which is kept here, too."""
        before = self._packed.pop(key, None)
        if before is not None:
            self._packed_bytes -= len(before)
        state = self._opened.get(key)
        if state is None:
            return None
        due_ms = self._machine.wake_at_ms(state)
        deadline = _NEVER if due_ms is None else due_ms
        packed = deadline.to_bytes(_DEADLINE_BYTES, "big", signed=True)
        packed += self._workings.encode(state)
        self._packed[key] = packed
        self._packed_bytes += len(packed)
        return packed


def _deadline(packed: bytes) -> int | None:
    due_ms = int.from_bytes(packed[:_DEADLINE_BYTES], "big", signed=True)
    return None if due_ms == _NEVER else due_ms
