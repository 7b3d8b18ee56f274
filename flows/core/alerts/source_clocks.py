"""How far the source partitions are, and what that makes the clocks of rules.

In: reports of partitions of three topics, each with a clock of its own and as far as it got. Out:
two clocks. Rules over events are at the slowest raw partition. Rules over results (insights,
sessions) are where the behaviour flow was in the slowest raw partition, at a moment up to which all
result partitions have been read; so they stand still while that flow is behind, although nothing
waits in its topics.

A report continues where the one before ended. What overlaps was written again after a crash, and is
skipped; what leaves a gap was written by somebody who is not the reader any more, and is ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from flows.core.alerts.signals import Report, SignalBatch
from schemas.topics import EVENTS_RAW, INSIGHTS, SESSIONS

# Moments that wait for the result partitions; one a second comes.
MARKS_MAX = 600


class Source(msgspec.Struct, array_like=True):
    """How far a source partition is: next offset, clocks in ms (0: not known)."""

    next_offset: int
    clock_ms: int
    results_ms: int = 0
    topic_id: str = ""


def source_name(topic: str, partition: int) -> str:
    """How reports name a source partition."""
    return f"{topic}:{partition}"


RAW_SOURCES = tuple(source_name(EVENTS_RAW.name, n) for n in range(EVENTS_RAW.partitions))
RESULT_SOURCES = tuple(
    source_name(topic.name, n) for topic in (INSIGHTS, SESSIONS) for n in range(topic.partitions)
)


class SourceNames(NamedTuple):
    """The source partitions that there are: of raw events, and of results."""

    raw: Sequence[str] = RAW_SOURCES
    results: Sequence[str] = RESULT_SOURCES


USUAL_SOURCES = SourceNames()


def _copy(found: Source) -> Source:
    return Source(found.next_offset, found.clock_ms, found.results_ms, found.topic_id)


class SourceClocks:
    """The sources of one signals partition. Mutable."""

    def __init__(
        self,
        sources: Mapping[str, Source] | None = None,
        names: SourceNames = USUAL_SOURCES,
    ) -> None:
        self._raw, self._result_sources = names
        self._sources = {name: _copy(found) for name, found in (sources or {}).items()}
        self._marks: dict[str, deque[tuple[int, int]]] = {}  # (wall clock, results_ms)
        self.holes = 0

    def snapshot(self) -> dict[str, Source]:
        """Where all sources are now."""
        return {name: _copy(found) for name, found in self._sources.items()}

    def source(self, name: str) -> Source | None:
        """Where a source is now."""
        found = self._sources.get(name)
        return found and _copy(found)

    def take(self, report: Report) -> tuple[bool, int, Sequence[SignalBatch]]:
        """Whether the report counts, the source's clock before it, and its batches that are new."""
        source = self._sources.get(report.source)
        if source is None:
            source = Source(report.first_offset, 0, 0, report.topic_id)
            self._sources[report.source] = source
        elif report.topic_id != source.topic_id and report.is_first:
            source.next_offset, source.topic_id = report.first_offset, report.topic_id
        elif report.first_offset > source.next_offset:
            if not report.is_first:
                return False, source.clock_ms, ()
            self.holes += 1
            source.next_offset = report.first_offset
        if report.next_offset < source.next_offset:
            return False, source.clock_ms, ()
        before_ms = source.clock_ms
        batches = [batch for batch in report.batches if batch.offset >= source.next_offset]
        source.next_offset = report.next_offset
        source.clock_ms = max(before_ms, report.clock_ms)
        if report.results_ms:
            marks = self._marks.setdefault(report.source, deque(maxlen=MARKS_MAX))
            if not marks or report.results_ms > marks[-1][1]:
                marks.append((report.results_at_ms, report.results_ms))
        return True, before_ms, batches

    def events_ms(self) -> int:
        """The clock of rules over events; 0 while it is not known."""
        sources = self._sources
        return min(
            (sources[name].clock_ms if name in sources else 0 for name in self._raw), default=0
        )

    def newest_ms(self) -> int:
        """The clock of the raw partition that is furthest."""
        sources = self._sources
        return max((sources[name].clock_ms for name in self._raw if name in sources), default=0)

    def results_ms(self) -> int:
        """The clock of rules over results; 0 while it is not known."""
        sources = self._sources
        read_ms = min(
            (sources[name].clock_ms if name in sources else 0 for name in self._result_sources),
            default=0,
        )
        for name, marks in self._marks.items():
            while marks and marks[0][0] <= read_ms:
                sources[name].results_ms = max(sources[name].results_ms, marks.popleft()[1])
        return min(
            (sources[name].results_ms if name in sources else 0 for name in self._raw), default=0
        )
