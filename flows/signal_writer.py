"""Source partitions of this process: their signals are written to where rules are evaluated.

In: polled records of raw events, insights and sessions, and ticks. Effects, again and again:

1. for each source partition a report to each signals partition, acknowledged by Kafka: what the
   source had in a span of offsets, and its clock;
2. the positions after those spans.

A process that dies in between writes the spans again, perhaps cut otherwise: each report says which
offsets it covers, and its reader skips what it has and ignores what does not continue it
(`flows.core.alerts.source_clocks`). So once is enough without transactions, and a frozen process
that wakes up can do no harm. A span whose signals are more than a record holds is several.

A source's clock is the largest time of its records. If nothing is left to read it follows the wall
clock, a second behind, as of when the broker said so.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from prometheus_client import Counter

from connectors.kafka_ends import PartEnds
from connectors.kafka_log import BlockName, OutRecord, Part, PositionStore, RecordProducer, Span
from connectors.kafka_progress import GroupProgress
from flows.core.alerts.signals import (
    Report,
    SignalBatch,
    Wanted,
    encode_record,
    signals_partition,
)
from flows.core.alerts.source_clocks import source_name
from flows.partition_runs import QUIET_BEHIND_MS
from flows.retries import RetryPolicy, try_effect
from flows.signal_reader import FLOW, SignalReader
from flows.write_figures import LAST_COMMIT, WRITING_SINCE
from schemas.log import PolledBatch
from schemas.topics import ALERT_SIGNALS, EVENTS_RAW

WRITE_EVERY_S = 0.5
# A source with nothing new reports its clock so often.
QUIET_EVERY_MS = 1_000
# Batches at which reports are written before their time.
BATCHES_MAX = 2_000
# Longer reports are cut; the topic takes 4 MiB.
REPORT_BYTES_MAX = 1024 * 1024
# Where a source was at which clock, for a flow that is behind.
TRAIL_MAX = 10_000

ResultT = TypeVar("ResultT")

SIGNALS = Counter("gosight_alert_signals_total", "Signals of events, insights and sessions.")


@dataclass
class _Source:
    """One source partition that is read here."""

    epoch: int
    first_offset: int  # Of the next report.
    next_offset: int
    last_read: int | None = None  # Offset of the last record since the last report.
    clock_ms: int = 0
    reported_ms: int = 0
    results_ms: int = 0
    reported_results_ms: int = 0
    is_first: bool = True
    batches: list[SignalBatch] = field(default_factory=list)
    ended: tuple[int, int] | None = None  # Fetched up to, and where the end is.
    trail: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=TRAIL_MAX))


class SignalWriter:
    """A `PartOwner` of the source topics; for one thread."""

    def __init__(
        self,
        reader: SignalReader,
        wanted: Callable[[], Wanted],
        positions: PositionStore,
        producer: RecordProducer,
        ends: PartEnds,
        behaviour: GroupProgress,
        newest: Callable[[Sequence[Part]], Mapping[Part, int]],
        epochs: Callable[[], Mapping[Part, int]],
        topic_ids: Mapping[str, str],
        *,
        retry: RetryPolicy | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`newest` says where partitions end, for a group that has no position yet.

        `behaviour` is how far the flow is that makes insights and sessions.
        """
        self._reader = reader
        self._wanted = wanted
        self._positions = positions
        self._producer = producer
        self._ends = ends
        self._behaviour = behaviour
        self._newest = newest
        self._epochs = epochs
        self._topic_ids = topic_ids
        self._retry = retry or RetryPolicy()
        self._is_stopping = is_stopping
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._sources: dict[Part, _Source] = {}
        self._write_at = monotonic()

    def begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """See `PartOwner.begin_parts`: a group that is new begins with what comes from now on."""
        starts = self._try("start", lambda: self._starts(parts))
        epochs = self._epochs()
        for part, offset in starts.items():
            self._sources[part] = _Source(epochs.get(part, 0), offset, offset)
        return starts

    def _starts(self, parts: Sequence[Part]) -> dict[Part, int]:
        known = self._positions.load(parts)
        unknown = [part for part in parts if part not in known]
        newest = self._newest(unknown) if unknown else {}
        if newest:
            # Durable before anything is read: who comes after a death must not begin later.
            spans = [Span(*part, offset, offset - 1) for part, offset in sorted(newest.items())]
            self._positions.finish(BlockName(tuple(spans)))
        return {p: known[p].next_offset if p in known else newest[p] for p in parts}

    def end_parts(self, parts: Sequence[Part]) -> None:
        """See `PartOwner.end_parts`: what was not written is read again by the next holder."""
        for part in parts:
            self._sources.pop(part, None)

    def note_end(self, part: Part, fetched_to: int, end: int) -> None:
        """The source has fetched a partition to its end; see `connectors.kafka.OnEnd`."""
        source = self._sources.get(part)
        if source is not None:
            source.ended = fetched_to, end

    def take(self, polled: PolledBatch) -> None:
        """Make signals of records, unless their partition has left since they were read."""
        part = polled.topic, polled.partition
        source = self._sources.get(part)
        if source is None or source.epoch != polled.epoch:
            return
        found = self._reader.read(polled, self._wanted())
        source.batches += found.batches
        source.clock_ms = max(source.clock_ms, found.clock_ms)
        source.last_read = polled.offsets[-1]
        source.next_offset = source.last_read + 1
        if polled.topic == EVENTS_RAW.name:
            source.trail.append((source.next_offset, source.clock_ms))
        if sum(len(one.batches) for one in self._sources.values()) >= BATCHES_MAX:
            self.write()

    def tick(self) -> None:
        """Let time pass where nothing is left to read, and write what is due."""
        ends = self._ends.known()
        for part, source in self._sources.items():
            if source.ended is not None and source.next_offset >= source.ended[0]:
                source.next_offset = max(source.next_offset, source.ended[1])
            end = ends.get(part)
            if end is not None and source.next_offset >= end.offset:
                source.clock_ms = max(source.clock_ms, end.asked_at_ms - QUIET_BEHIND_MS)
        if self._monotonic() >= self._write_at:
            self.write()

    def write(self) -> None:
        """Write reports and positions.

        Raises:
            RetryableError: the world stayed away for too long, or the process is stopping.
        """
        records: list[OutRecord] = []
        spans: list[Span] = []
        done: list[_Source] = []
        wall_ms = self._clock_ms()
        for part, source in sorted(self._sources.items()):
            results = self._results(part, source)
            is_quiet = (
                source.clock_ms - source.reported_ms < QUIET_EVERY_MS
                and results[0] - source.reported_results_ms < QUIET_EVERY_MS
            )
            if source.next_offset == source.first_offset and is_quiet and not source.is_first:
                continue
            records += self._reports(part, source, wall_ms, *results)
            source.reported_results_ms = results[0]
            done.append(source)
            if source.last_read is not None:
                spans.append(
                    Span(*part, min(source.first_offset, source.last_read), source.last_read)
                )
        if records:
            WRITING_SINCE.labels(FLOW).set_to_current_time()
            self._try("signals", lambda: self._producer.produce_all(records))
            WRITING_SINCE.labels(FLOW).set(0)
            LAST_COMMIT.labels(FLOW).set_to_current_time()
        for source in done:
            SIGNALS.inc(sum(len(batch.signals) for batch in source.batches))
            source.first_offset, source.last_read = source.next_offset, None
            source.reported_ms, source.is_first = source.clock_ms, False
            source.batches = []
        if spans:
            self._try("position", lambda: self._positions.finish(BlockName(tuple(spans))))
        self._write_at = self._monotonic() + WRITE_EVERY_S

    def _reports(
        self, part: Part, source: _Source, wall_ms: int, results_ms: int, asked_at_ms: int
    ) -> list[OutRecord]:
        """The report of a source to each signals partition."""
        of_partition: dict[int, list[SignalBatch]] = defaultdict(list)
        for batch in source.batches:
            number = signals_partition(batch.project_id, ALERT_SIGNALS.partitions)
            of_partition[number].append(batch)
        name = source_name(*part)
        return [
            OutRecord(ALERT_SIGNALS.name, name.encode(), value, partition=number)
            for number in range(ALERT_SIGNALS.partitions)
            for value in _records_of(
                Report(
                    name,
                    source.first_offset,
                    source.next_offset,
                    source.clock_ms,
                    results_ms,
                    wall_ms,
                    source.is_first,
                    tuple(of_partition[number]),
                    asked_at_ms,
                    self._topic_ids.get(part[0], ""),
                ),
                is_raw=part[0] == EVENTS_RAW.name,
            )
        ]

    def _results(self, part: Part, source: _Source) -> tuple[int, int]:
        """The clock that the behaviour flow has reached in a raw partition, and when that was."""
        place = self._behaviour.known().get(part)
        if place is None:
            return 0, 0
        if place.offset >= source.next_offset:
            source.results_ms = source.clock_ms
        while source.trail and source.trail[0][0] <= place.offset:
            source.results_ms = max(source.results_ms, source.trail.popleft()[1])
        return source.results_ms, place.asked_at_ms

    def _try(self, effect: str, call: Callable[[], ResultT]) -> ResultT:
        return try_effect(FLOW, effect, call, self._retry, self._is_stopping)


def _records_of(report: Report, *, is_raw: bool) -> list[bytes]:
    """The report as one record, or as several that continue each other if it is too long for one.

    Only the last says how far the source is; those before it, how far it was with what they hold.
    """
    value = encode_record(report)
    batches = report.batches
    if len(value) <= REPORT_BYTES_MAX or len(batches) < 2:
        return [value]
    middle = len(batches) // 2
    cut = batches[middle].offset
    begin = msgspec.structs.replace(
        report,
        next_offset=cut,
        # When a result counts is no clock of its topic.
        clock_ms=max(batch.arrived_ms for batch in batches[:middle]) if is_raw else 0,
        results_ms=0,
        batches=batches[:middle],
    )
    rest = msgspec.structs.replace(
        report, first_offset=cut, is_first=False, batches=batches[middle:]
    )
    return [*_records_of(begin, is_raw=is_raw), *_records_of(rest, is_raw=is_raw)]
