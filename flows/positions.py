"""Where the storage flow starts: the group's offsets, checked against what is stored.

The group's commits name the block that was being written. The store knows which blocks are
complete. Whichever is further counts: what is stored is never written under another name, and a
group whose offsets were lost or reset does not start again from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import stamina

from connectors.errors import RetryableError
from connectors.event_store import EventStore
from connectors.kafka_log import Position, PositionStore


def further(committed: Position | None, stored: Position | None) -> Position | None:
    """The position that leaves out nothing and repeats nothing.

    At equal offsets the committed one wins: its block end was written before any row was.
    """
    if committed is None or stored is None:
        return committed or stored
    return stored if stored.next_offset > committed.next_offset else committed


class CheckedPositions:
    """A `PositionStore` that asks the event store, too, where to start."""

    def __init__(
        self,
        committed: PositionStore,
        store: EventStore,
        retry_seconds_max: float = 60.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._committed = committed
        self._store = store
        self._retry_seconds_max = retry_seconds_max
        self._is_stopping = is_stopping

    def load(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See `PositionStore.load`; waits for servers that are just starting."""
        for attempt in stamina.retry_context(
            on=self._is_passing, attempts=None, timeout=self._retry_seconds_max, wait_max=2.0
        ):
            with attempt:
                return self._load(topic, partitions)
        raise AssertionError("a retry context ends with a result or an error")

    def _is_passing(self, error: Exception) -> bool:
        return isinstance(error, RetryableError) and not self._is_stopping()

    def _load(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        committed = self._committed.load(topic, partitions)
        found = {
            partition: further(
                committed.get(partition), self._store.stored_position(topic, partition)
            )
            for partition in partitions
        }
        return {number: position for number, position in found.items() if position is not None}

    def save(self, topic: str, partition: int, position: Position, *, wait: bool = True) -> None:
        """See `PositionStore.save`."""
        self._committed.save(topic, partition, position, wait=wait)
