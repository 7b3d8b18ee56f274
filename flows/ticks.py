"""Ticks among the batches of a source, for what must happen when nothing comes.

One source and not two: where two inputs meet, the engine spins on a core for as long as one of them
is an epoch ahead of the other, which two that wake up at times of their own mostly are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from bytewax.inputs import DynamicSource, StatelessSourcePartition

ItemT = TypeVar("ItemT")

TICK_EVERY = timedelta(milliseconds=100)


class Tick:
    """Time has passed."""


class _TickingPart(StatelessSourcePartition[ItemT | Tick], Generic[ItemT]):
    """Goes on with ticks alone when the source has ended before it is to stop."""

    def __init__(
        self, inner: StatelessSourcePartition[ItemT], is_stopping: Callable[[], bool]
    ) -> None:
        self._inner = inner
        self._is_stopping = is_stopping
        self._has_ended = False
        self._tick_at = datetime.now(UTC)

    def next_batch(self) -> list[ItemT | Tick]:
        batch: list[ItemT | Tick] = []
        if not self._has_ended:
            try:
                batch += self._inner.next_batch()
            except StopIteration:
                self._has_ended = True
        if self._has_ended and self._is_stopping():
            raise StopIteration
        now = datetime.now(UTC)
        if now >= self._tick_at:
            self._tick_at = now + TICK_EVERY
            batch.append(Tick())
        return batch

    def next_awake(self) -> datetime | None:
        if self._has_ended:
            return self._tick_at
        inner_at = self._inner.next_awake()
        return None if inner_at is None else min(inner_at, self._tick_at)

    def close(self) -> None:
        self._inner.close()


class TickingSource(DynamicSource[ItemT | Tick], Generic[ItemT]):
    """What a source gives, and a tick about every 100 ms on the first worker, which is to read.

    It ends when the source has ended and `is_stopping` says so.
    """

    def __init__(self, inner: DynamicSource[ItemT], is_stopping: Callable[[], bool]) -> None:
        self._inner = inner
        self._is_stopping = is_stopping

    def build(
        self, step_id: str, worker_index: int, worker_count: int
    ) -> StatelessSourcePartition[ItemT | Tick]:
        """Ticks for the worker that reads; the others end as the source's do."""
        part = self._inner.build(step_id, worker_index, worker_count)
        if worker_index != 0:
            return _TickingPart(part, lambda: True)
        return _TickingPart(part, self._is_stopping)
