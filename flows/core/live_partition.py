"""One partition of keyed states: a machine over its items, its timers, and what has changed.

In: items of the partition in the order of its log, and how far the wall clock is when nothing more
comes. Out: outputs in order and, step by step, what must be stored so that another process can go
on from there: the changed states, the next offset and the clock.

The clock is the largest time of the items so far. A timer due at T fires before any item whose time
is T or later, at its own deadline, earliest first and then by key. So outputs depend on the items
alone, not on how they were cut into batches or steps, nor on where a process ended.

A key whose machine or encoding fails, or whose state is more than a record can hold, begins anew,
and is told of: it must not stop the others, and would stop every process that takes them over.

States are kept packed: encoded, behind the deadline they wait for. Only those used lately are also
kept as objects, so that a restore opens nothing and a hundred thousand quiet keys stay small. All
that is known of a key is in one place, found once for each item: keys are long, and are many.
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
STATE_BYTES_MAX = 3 * 1024 * 1024  # The topic takes records of 4 MiB.
_NEVER = -1
_DEADLINE_BYTES = 8


class StateTooLargeError(Exception):
    """A state has more bytes than a record can hold."""


@dataclass(frozen=True, slots=True)
class Step(Generic[OutputT]):
    """What changed since the step before; a state of None is forgotten. Stored as a whole."""

    progress: Progress
    states: Mapping[str, bytes | None]
    outputs: Sequence[OutputT]


@dataclass(frozen=True, slots=True)
class Workings(Generic[StateT, ItemT, OutputT]):
    """A machine, how its states are stored, and whose an item is, since when (ms).

    `on_failure` is told of a key whose state is forgotten, because one of these raised or it is too
    large.
    """

    machine: Machine[StateT, ItemT, OutputT]
    encode: Callable[[StateT], bytes]
    decode: Callable[[bytes], StateT]
    key_of: Callable[[ItemT], str]
    time_of: Callable[[ItemT], int]
    on_failure: Callable[[str, Exception], None] = lambda _key, _error: None


class _Slot(Generic[StateT]):
    """What is known of one key.

    `packed` is its state as stored, `state` the open one. One that changed since the last step is
    what `state` says, whatever is packed. `due_ms` is that of its one timer that counts, which is
    never later than its deadline.
    """

    __slots__ = ("due_ms", "is_changed", "key", "packed", "state")

    def __init__(self, key: str, packed: bytes | None = None) -> None:
        self.key = key
        self.packed = packed
        self.state: StateT | None = None
        self.due_ms: int | None = None if packed is None else _deadline(packed)
        self.is_changed = False


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
        self._slots: dict[str, _Slot[StateT]] = {
            key: _Slot(key, packed) for key, packed in kept.states.items()
        }
        self._packed_bytes = sum(map(len, kept.states.values()))
        self._live = len(self._slots)
        self._opened: OrderedDict[_Slot[StateT], None] = OrderedDict()
        self._changed: list[_Slot[StateT]] = []
        self._outputs: list[OutputT] = []
        self._timers: list[tuple[int, str]] = []
        self._renew_timers()

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
        time_of, key_of = self._workings.time_of, self._workings.key_of
        on_event, slots = self._machine.on_event, self._slots
        for item in items:
            self._advance(time_of(item))
            key = key_of(item)
            slot = slots.get(key)
            if slot is None:
                slot = slots[key] = _Slot(key)
            try:
                state, made = on_event(self._open(slot), item, self._clock_ms)
                self._keep(slot, state)
            except Exception as error:
                self._fail(slot, error)
                continue
            if made:
                self._outputs.extend(made)
        assert next_offset >= self._next_offset
        self._next_offset = next_offset

    def pass_time(self, now_ms: int) -> None:
        """Nothing more comes that is older than `now_ms`."""
        self._advance(now_ms)

    def step(self) -> Step[OutputT]:
        """What changed since the last call."""
        packed = {slot.key: self._pack(slot) for slot in self._changed}
        outputs = self._outputs
        self._changed, self._outputs = [], []
        while len(self._opened) > self._opened_max:
            self._opened.popitem(last=False)[0].state = None
        self._progress = Progress(self._next_offset, self._clock_ms, self._progress.step + 1)
        return Step(self._progress, packed, outputs)

    def _advance(self, now_ms: int) -> None:
        limit_ms = max(now_ms, self._clock_ms)
        timers = self._timers
        while timers and timers[0][0] <= limit_ms:
            scheduled_ms, key = heappop(timers)
            slot = self._slots.get(key)
            if slot is None or slot.due_ms != scheduled_ms:
                continue
            slot.due_ms = None
            due_ms = self._wake_at_ms(slot)
            if due_ms is None:
                continue
            if due_ms > scheduled_ms:
                self._schedule(slot, due_ms)
                continue
            self._clock_ms = max(self._clock_ms, due_ms)
            state = self._open(slot)
            if state is None:
                continue
            try:
                state, made = self._machine.on_time(state, self._clock_ms)
                assert state is None or self._machine.wake_at_ms(state) != due_ms, (
                    "a machine that is woken must move its deadline"
                )
                self._keep(slot, state)
            except Exception as error:
                self._fail(slot, error)
                continue
            if made:
                self._outputs.extend(made)
        self._clock_ms = limit_ms

    def _open(self, slot: _Slot[StateT]) -> StateT | None:
        state = slot.state
        if state is not None:
            self._opened.move_to_end(slot)
            return state
        if slot.packed is None or slot.is_changed:
            return None
        try:
            state = self._workings.decode(slot.packed[_DEADLINE_BYTES:])
        except Exception:  # Of another version, or damaged: one key must not stop the others.
            self._note(slot)
            slot.due_ms = None
            self._live -= 1
            return None
        self._opened[slot] = None
        slot.state = state
        return state

    def _keep(self, slot: _Slot[StateT], state: StateT | None) -> None:
        if not slot.is_changed:
            self._note(slot)
        if state is None:
            self._forget(slot)
            return
        if slot.state is None:
            self._opened[slot] = None
            self._live += 1
        slot.state = state
        due_ms = self._machine.wake_at_ms(state)
        if due_ms is not None and (slot.due_ms is None or due_ms < slot.due_ms):
            self._schedule(slot, due_ms)

    def _forget(self, slot: _Slot[StateT]) -> None:
        slot.due_ms = None
        if slot.state is not None:
            slot.state = None
            del self._opened[slot]
            self._live -= 1

    def _fail(self, slot: _Slot[StateT], error: Exception) -> None:
        """Forget what is known of a key."""
        self._keep(slot, None)
        self._workings.on_failure(slot.key, error)

    def _note(self, slot: _Slot[StateT]) -> None:
        slot.is_changed = True
        self._changed.append(slot)

    def _wake_at_ms(self, slot: _Slot[StateT]) -> int | None:
        if slot.state is not None:
            return self._machine.wake_at_ms(slot.state)
        assert slot.packed is not None
        return _deadline(slot.packed)

    def _schedule(self, slot: _Slot[StateT], due_ms: int) -> None:
        slot.due_ms = due_ms
        heappush(self._timers, (due_ms, slot.key))
        if len(self._timers) > 2 * len(self._slots) + 1_000:
            self._renew_timers()

    def _renew_timers(self) -> None:
        """Have those that count, and no others."""
        slots = self._slots.values()
        self._timers[:] = [(slot.due_ms, slot.key) for slot in slots if slot.due_ms is not None]
        heapify(self._timers)

    def _pack(self, slot: _Slot[StateT]) -> bytes | None:
        """The state as stored, which is kept here, too."""
        slot.is_changed = False
        if slot.packed is not None:
            self._packed_bytes -= len(slot.packed)
        state = slot.state
        if state is None:
            del self._slots[slot.key]
            return None
        try:
            due_ms = self._machine.wake_at_ms(state)
            deadline = _NEVER if due_ms is None else due_ms
            packed = deadline.to_bytes(_DEADLINE_BYTES, "big", signed=True)
            packed += self._workings.encode(state)
            if len(packed) > STATE_BYTES_MAX:
                raise StateTooLargeError(f"{len(packed)} bytes, at most {STATE_BYTES_MAX}")
        except Exception as error:
            self._forget(slot)
            self._workings.on_failure(slot.key, error)
            del self._slots[slot.key]
            return None
        slot.packed = packed
        self._packed_bytes += len(packed)
        return packed


def _deadline(packed: bytes) -> int | None:
    due_ms = int.from_bytes(packed[:_DEADLINE_BYTES], "big", signed=True)
    return None if due_ms == _NEVER else due_ms
