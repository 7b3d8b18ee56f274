"""Where a partition that comes to this process is read on, and finishing what was begun before.

In: partitions. Out: the offset each is read from. The group's commits say where a block was begun,
the store says what is complete; whichever is further counts, so what is stored is never written
under another name, and a group whose offsets were lost or reset does not start from the beginning.

A begun block is finished as a whole before anything else of its partitions is written, by the
process that holds its first partition (the leader): it reads the block's records again, also those
of partitions it does not hold, and writes them under the same name. Holders of the other partitions
wait for that. So a block has the same token whatever became of the processes, and no two of them
write parts of it under different names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto

import stamina

from connectors.errors import FatalError
from connectors.event_store import EventStore
from connectors.kafka_log import (
    EARLIEST,
    BlockName,
    Part,
    Position,
    PositionStore,
    Span,
    SpanReader,
)
from connectors.telemetry import get_logger
from flows.block_writer import BlockWriter
from flows.retries import waiting_for


class PartStarts:
    """A `PartOwner` for the storage flow."""

    def __init__(
        self,
        positions: PositionStore,
        store: EventStore,
        reader: SpanReader,
        writer: BlockWriter,
        on_start: Callable[[Part, int], None] = lambda _part, _offset: None,
        *,
        retry_seconds_max: float = 60.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._positions = positions
        self._store = store
        self._reader = reader
        self._writer = writer
        self._on_start = on_start
        self._retry_seconds_max = retry_seconds_max
        self._is_stopping = is_stopping

    def begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """See `PartOwner.begin_parts`; waits for servers that are just starting."""
        for attempt in stamina.retry_context(
            on=waiting_for("partitions", self._is_stopping),
            attempts=None,
            timeout=self._retry_seconds_max,
            wait_max=2.0,
        ):
            with attempt:
                return self._begin_parts(parts)
        raise AssertionError("a retry context ends with a result or an error")

    def end_parts(self, parts: Sequence[Part]) -> None:
        """See `PartOwner.end_parts`."""
        self._writer.forget(parts)

    def _begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        positions = self._positions.load(parts)
        for position in positions.values():
            begun = position.begun
            if begun is not None and begun.block is not None:
                self._finish(begun.block, begun.at_ms)
        positions = self._positions.load(parts)
        ends = dict(self._store.stored_ends(parts))
        untold = {p: ends.get(p, 0) for p in parts if _is_lost(positions.get(p), ends.get(p))}
        for part, last in self._store.rows_last(untold).items():
            self._repeat(BlockName((Span(*part, untold[part], last),)), None)
            ends[part] = last + 1
        starts = {
            part: _start(positions.get(part), ends.get(part))
            for part in parts
            if not self._is_waiting(part, positions.get(part))
        }
        for part, offset in starts.items():
            if offset != EARLIEST:
                self._on_start(part, offset)
        return starts

    def _finish(self, name: BlockName, begun_ms: int) -> None:
        """Finish a block that a partition of ours leads."""
        state = self._state(name)
        if state is _State.UNFINISHED:
            self._repeat(name, begun_ms)
        elif state is _State.COMPLETE:
            self._review(name)
            self._positions.finish(name)

    def _is_waiting(self, part: Part, position: Position | None) -> bool:
        """Whether a block of this partition must still be finished by the holder of its leader."""
        if position is None or position.begun is None or position.begun.block is not None:
            return False
        leader = position.begun.leader
        noted = self._positions.load([leader]).get(leader)
        if noted is None or noted.begun is None or noted.begun.block is None:
            return False
        name = noted.begun.block
        is_same = (part, position.next_offset) in {(s.part, s.first_offset) for s in name.spans}
        return is_same and self._state(name) is _State.UNFINISHED

    def _state(self, name: BlockName) -> _State:
        ends = self._store.stored_ends([span.part for span in name.spans])
        done = [(span, ends.get(span.part, 0)) for span in name.spans]
        if any(span.first_offset < end <= span.last_offset for span, end in done):
            return _State.SUPERSEDED
        if all(end > span.last_offset for span, end in done):
            return _State.COMPLETE
        return _State.UNFINISHED

    def _repeat(self, name: BlockName, begun_ms: int | None) -> None:
        self._writer.repeat(name, list(self._reader.read(name.spans)), begun_ms)

    def _review(self, name: BlockName) -> None:
        try:
            self._writer.review(name, lambda: list(self._reader.read(name.spans)))
        except FatalError as error:
            # Its records are gone, or cannot be read: all that a start needs of it is stored.
            get_logger().warning("begun_block_not_reviewed", detail=str(error))


class _State(Enum):
    """What became of a block that was noted as begun."""

    UNFINISHED = auto()
    COMPLETE = auto()
    # Its partitions were cut otherwise: it was noted by a process that had lost its claims, which
    # then wrote nothing.
    SUPERSEDED = auto()


def _is_lost(position: Position | None, end: int | None) -> bool:
    """Whether the group's commit says less than the store may know, and no begun block says why.

    A first block that was not completed has left rows, but no end.
    """
    if position is None or position.begun is not None:
        return position is None
    return position.next_offset < end if end is not None else position.next_offset == 0


def _start(position: Position | None, end: int | None) -> int:
    if position is None and end is None:
        return EARLIEST
    return max(position.next_offset if position is not None else 0, end or 0)
