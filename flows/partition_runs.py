"""The partitions of this process, each with its live states: taking, timing, storing.

In: items of partitions as they are read, and ticks. Effects: steps. A step is everything that was
decided since the one before in all partitions of the process (changed states, next offsets, clocks,
output records), and is stored as a whole (`connectors.state_log`). What decides is pure
(`flows.core.live_partition`); what was taken and not stored is repeated by the next holder, from
the states and the offset that were.

Before a step is stored the claims must be sure; partitions that have left are taken out of it. If
that was not true any more when it was stored, the next holder has shut this writer out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from connectors.claims import Claims
from connectors.errors import RetryableError
from connectors.kafka_ends import PartEnds
from connectors.kafka_log import OutRecord, Part
from connectors.state_log import PartChanges, StateLog
from connectors.telemetry import get_logger
from flows.core.live_partition import LivePartition, Step, Workings
from flows.retries import RetryPolicy, try_effect
from flows.write_figures import LAST_COMMIT, WRITING_SINCE
from schemas.kept_states import Kept

ItemT = TypeVar("ItemT")
OutputT = TypeVar("OutputT")
ResultT = TypeVar("ResultT")
ItemIn_contra = TypeVar("ItemIn_contra", contravariant=True)

# A quiet partition's time is this far behind the wall clock: a record is stamped before it is
# appended, and clocks of machines differ a little.
QUIET_BEHIND_MS = 1_000
STEP_MS = 100
# A step begins no sooner than so many times as long after the last one as that took to store; but
# one that waited for a broker to come back says nothing of how long the next will take.
PAUSE_TIMES = 3
PAUSE_S_MAX = 1.0
# Changed states and outputs at which a step is stored before its time.
STEP_CHANGES_MAX = 10_000

KEYS_LIVE = Gauge("gosight_flow_keys_live", "Keys (sessions) with a live state.", ["flow"])
STATE_BYTES = Gauge(
    "gosight_flow_state_bytes", "Size of the live states as they are stored.", ["flow"]
)
STEP_CHANGES = Histogram(
    "gosight_flow_step_changes",
    "Changed states and outputs of a stored step.",
    ["flow"],
    buckets=(1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
)
OUTPUTS_FAILED = Counter(
    "gosight_flow_outputs_failed_total", "Outputs that no record could be made of.", ["flow"]
)
RESTORE_SECONDS = Histogram(
    "gosight_flow_restore_duration_seconds",
    "Time to take partitions over and read their states.",
    ["flow"],
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0),
)


@dataclass(frozen=True, slots=True)
class TakenItems(Generic[ItemT]):
    """Items of consecutive records of one partition, in order; `next_offset` is after them."""

    part: Part
    epoch: int
    next_offset: int
    items: Sequence[ItemT]


class Live(Protocol[ItemIn_contra, OutputT]):
    """One partition that is run; see `flows.core.live_partition`."""

    @property
    def next_offset(self) -> int:
        """The next record to take; all before are taken."""

    @property
    def keys_live(self) -> int:
        """Keys that have a state; may be asked for by any thread."""

    @property
    def packed_bytes(self) -> int:
        """Size of the states as stored; may be asked for by any thread."""

    @property
    def changes(self) -> int:
        """States changed and outputs made since the last step."""

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to store."""

    def take(self, items: Sequence[ItemIn_contra], next_offset: int) -> None:
        """Take items in order; all records before `next_offset` are done with."""

    def pass_time(self, now_ms: int) -> None:
        """Nothing more comes that is older than `now_ms`."""

    def step(self) -> Step[OutputT]:
        """What changed since the last call."""


def _by_keys(workings: Workings[Any, Any, Any] | None, kept: Kept) -> Live[Any, Any]:
    assert workings is not None
    return LivePartition(workings, kept)


@dataclass(slots=True)
class _Run:
    part: Part
    epoch: int
    live: Live[Any, Any]


class PartitionRuns(Generic[ItemT, OutputT]):
    """A `PartOwner` that runs a machine over the partitions of one topic; for one thread."""

    def __init__(
        self,
        flow: str,
        workings: Workings[Any, ItemT, OutputT] | None,
        record_of: Callable[[OutputT], OutRecord],
        log: StateLog,
        claims: Claims,
        ends: PartEnds,
        *,
        on_progress: Callable[[Part, int], None] = lambda _part, _offset: None,
        retry: RetryPolicy | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        live_of: Callable[[int, Kept], Live[ItemT, OutputT]] | None = None,
        step_ms: int = STEP_MS,
        changes_max: int = STEP_CHANGES_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_progress` is told up to where a partition is stored.

        `live_of` makes what runs the partition of a number, if that is not a machine by keys: then
        there are no `workings`.
        """
        self._flow = flow
        self._live_of = live_of or (lambda _number, kept: _by_keys(workings, kept))
        self._record_of = record_of
        self._log = log
        self._claims = claims
        self._ends = ends
        self._on_progress = on_progress
        self._retry = retry or RetryPolicy()
        self._is_stopping = is_stopping
        self._step_s = step_ms / 1000
        self._changes_max = changes_max
        self._monotonic = monotonic
        self._runs: dict[int, _Run] = {}
        self._next_step_at = monotonic() + self._step_s
        KEYS_LIVE.labels(flow).set_function(lambda: float(self._sum(lambda run: run.keys_live)))
        STATE_BYTES.labels(flow).set_function(
            lambda: float(self._sum(lambda run: run.packed_bytes))
        )

    def begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """See `PartOwner.begin_parts`; waits for servers that are just starting."""
        held = self._claims.held()
        wanted = {part[1]: part for part in parts if part in held}
        if not wanted:
            return {}
        began = self._monotonic()
        with RESTORE_SECONDS.labels(self._flow).time():
            kept = self._try("restore", lambda: self._log.begin(sorted(wanted)))
        for number, found in kept.items():
            part = wanted[number]
            self._runs[number] = _Run(part, held[part], self._live_of(number, found))
            if found.progress.next_offset >= 0:
                self._on_progress(part, found.progress.next_offset)
        get_logger().info(
            "states_restored",
            partitions=len(kept),
            keys=sum(len(found.states) for found in kept.values()),
            duration_ms=round((self._monotonic() - began) * 1000),
        )
        return {wanted[number]: found.progress.next_offset for number, found in kept.items()}

    def end_parts(self, parts: Sequence[Part]) -> None:
        """See `PartOwner.end_parts`: what is held to the last moment is stored before."""
        numbers = [number for number, run in self._runs.items() if run.part in set(parts)]
        own = self._own(numbers)
        try:
            if own and self._claims.is_sure():
                steps = self._steps(own)
                if steps:
                    self._write(steps)
                self._log.leave(own)
        except RetryableError as error:
            # The next holder repeats what was not stored.
            get_logger().warning("partitions_left_in_haste", detail=str(error))
        for number in numbers:
            del self._runs[number]

    def take(self, taken: TakenItems[ItemT]) -> None:
        """Run the machine over items, unless their partition has left since they were read."""
        run = self._runs.get(taken.part[1])
        if run is not None and run.epoch == taken.epoch:
            run.live.take(taken.items, taken.next_offset)
            self._step_if_due()

    def tick(self) -> None:
        """Let time pass in partitions where nothing more comes, and store what is due."""
        ends = self._ends.known()
        for run in self._runs.values():
            end = ends.get(run.part)
            # One that never had a record is quiet, too: its first one's clock may be off.
            if end is not None and max(run.live.next_offset, 0) >= end.offset:
                run.live.pass_time(end.asked_at_ms - QUIET_BEHIND_MS)
        self._step_if_due()
        if self._claims.is_sure():
            self._log.tell(self._own(self._runs))

    def _step_if_due(self) -> None:
        is_large = self._sum(lambda live: live.changes) >= self._changes_max
        if is_large or self._monotonic() >= self._next_step_at:
            self.step()

    def step(self) -> None:
        """Store all that was decided since the last step.

        Raises:
            RetryableError: the world stayed away for too long, or the process is stopping.
            FatalError: a record can never be written.
        """
        began = self._monotonic()
        steps = self._steps(self._runs)
        if steps:
            WRITING_SINCE.labels(self._flow).set_to_current_time()
            self._try("step", lambda: self._write(steps))
            WRITING_SINCE.labels(self._flow).set(0)
            LAST_COMMIT.labels(self._flow).set_to_current_time()
        ended = self._monotonic()
        pause_s = min(PAUSE_TIMES * (ended - began), PAUSE_S_MAX)
        self._next_step_at = ended + max(self._step_s, pause_s)

    def _steps(self, numbers: Iterable[int]) -> dict[int, Step[OutputT]]:
        """What is to be stored; it must be stored, or the process or the partition must end."""
        runs = {number: self._runs[number].live for number in numbers}
        return {number: live.step() for number, live in runs.items() if live.is_changed}

    def _write(self, steps: Mapping[int, Step[OutputT]]) -> None:
        self._log.ready()
        own = {number: steps[number] for number in self._own(steps)}
        if not own:
            return
        if not self._claims.is_sure():
            raise RetryableError("it is not certain who holds the partitions")
        changes = [PartChanges(n, step.progress, step.states) for n, step in own.items()]
        records = self._records(own.values())
        self._log.commit(changes, records)
        STEP_CHANGES.labels(self._flow).observe(
            len(records) + sum(len(change.states) for change in changes)
        )
        for number, step in own.items():
            self._on_progress(self._runs[number].part, step.progress.next_offset)

    def _records(self, steps: Iterable[Step[OutputT]]) -> list[OutRecord]:
        """Those of the outputs; one that none can be made of must not stop the others."""
        records: list[OutRecord] = []
        for step in steps:
            for one in step.outputs:
                try:
                    records.append(self._record_of(one))
                except Exception as error:
                    OUTPUTS_FAILED.labels(self._flow).inc()
                    get_logger().error("output_failed", kind=type(one).__name__, exc_info=error)
        return records

    def _own(self, numbers: Iterable[int]) -> list[int]:
        """Those of these partitions that are held as they were when they were begun."""
        held, runs = self._claims.held(), self._runs
        return [n for n in numbers if held.get(runs[n].part) == runs[n].epoch]

    def _try(self, effect: str, call: Callable[[], ResultT]) -> ResultT:
        return try_effect(self._flow, effect, call, self._retry, self._is_stopping)

    def _sum(self, size: Callable[[Live[Any, Any]], int]) -> int:
        runs: Iterable[_Run] = list(self._runs.values())
        return sum(size(run.live) for run in runs)
