"""How far a consumer group is behind in each of its partitions, whatever its flow does now.

In: a group, the partitions that this process holds, and how far each is written. Out: gauges. A
thread of its own asks Kafka, so the figures are also right while the flow is stuck in a write,
before it has read a first record, and for partitions on which nothing happens. Behind means not
written, not merely not read:

- records: the end of the partition minus the position up to which it is written; for a group that
  has no position, the whole partition;
- seconds: the age of the oldest record that is not written, by its time stamp; 0 if there is none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from prometheus_client import Gauge

from connectors.kafka_log import BlockName, Part, Position, PositionStore
from connectors.kafka_offsets import EARLIEST, LATEST, KafkaOffsets
from connectors.telemetry import get_logger

REFRESH_S = 5.0
RETRY_S = 1.0  # After Kafka did not answer, or a new partition had no leader yet.
FOLLOW_S = 0.2
CALL_TIMEOUT_S = 4.0
OLDEST_TIMEOUT_S = 3.0

_LABELS = ["group", "topic", "partition"]
LAG_RECORDS = Gauge(
    "gosight_kafka_consumer_lag_records", "Records of the partition not yet written.", _LABELS
)
LAG_SECONDS = Gauge(
    "gosight_kafka_consumer_lag_seconds", "Age of the oldest record not yet written.", _LABELS
)
POSITION = Gauge(
    "gosight_kafka_consumer_position_offset", "Up to where the partition is written.", _LABELS
)
END = Gauge(
    "gosight_kafka_partition_end_offset", "Where the partition ends.", ["topic", "partition"]
)


class LagMonitor:
    """The lag of the partitions of one process; `start` once."""

    def __init__(
        self,
        brokers: str,
        group: str,
        parts: Callable[[], Iterable[Part]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`parts` is asked again and again: partitions come and go."""
        self._group = group
        self._clock = clock
        self._parts_now = parts
        self._parts: list[Part] = []
        common: dict[str, Any] = {"bootstrap.servers": brokers, "log_level": 2}
        self._asked = KafkaOffsets(brokers)
        self._consumer = Consumer(
            {
                **common,
                "group.id": group,
                "enable.auto.commit": False,
                # A look only: the flow itself stops at a hole in the log.
                "auto.offset.reset": "earliest",
                # One record of a partition is wanted, now and then.
                "fetch.message.max.bytes": 1,
                "queued.min.messages": 1,
                "fetch.wait.max.ms": 100,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        self._written: dict[Part, int] = {}
        self._ends: dict[Part, int] = {}
        # Position -> time stamp of the record there, in milliseconds.
        self._oldest: dict[Part, tuple[int, int]] = {}
        self._closing = threading.Event()
        self._is_failing = False

    def start(self) -> None:
        """Refresh the figures every five seconds from now on, and when partitions come or go."""
        threading.Thread(target=self._run, name="lag", daemon=True).start()

    def close(self) -> None:
        """Refresh no more."""
        self._closing.set()

    def written(self, part: Part, next_offset: int) -> None:
        """Everything before `next_offset` is stored."""
        self._written[part] = max(next_offset, self._written.get(part, 0))

    def known_parts(self) -> int:
        """Partitions whose lag is known."""
        return sum(self._records(part) is not None for part in self._parts)

    def lag_records(self) -> int:
        """Records not yet written, of all partitions."""
        return sum(self._records(part) or 0 for part in self._parts)

    def lag_seconds(self) -> float:
        """Age of the oldest record not yet written, of all partitions."""
        return max((self._seconds(part) for part in self._parts), default=0.0)

    def refresh(self) -> None:
        """Ask Kafka once.

        Raises:
            KafkaException: it does not answer.
        """
        self._follow(sorted(self._parts_now()))
        if not self._parts:
            return
        ends = self._asked.ask(self._parts, LATEST, CALL_TIMEOUT_S)
        committed = self._committed()
        unknown = [part for part in self._parts if part not in self._written | committed.keys()]
        starts = self._asked.ask(unknown, EARLIEST, CALL_TIMEOUT_S)
        for part in self._parts:
            found = committed.get(part, starts.get(part, 0))
            self._written[part] = max(found, self._written.get(part, 0))
        self._ends = ends
        for topic, number in self._parts:
            self._publish(topic, number)
        self._read_oldest()

    def _follow(self, parts: list[Part]) -> None:
        """Forget what is said of partitions that are another's now."""
        for topic, number in set(self._parts) - set(parts):
            for gauge in (LAG_RECORDS, LAG_SECONDS, POSITION):
                gauge.remove(self._group, topic, str(number))
            END.remove(topic, str(number))
            for known in (self._written, self._ends, self._oldest):
                known.pop((topic, number), None)
        self._parts = parts

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self.refresh()
            except KafkaException as error:
                if not self._is_failing:
                    get_logger().warning("lag_unknown", reason=str(error.args[0]))
                self._is_failing = True
            else:
                self._is_failing = False
            self._pause(RETRY_S if self._is_failing else REFRESH_S)

    def _pause(self, seconds: float) -> None:
        """A process is ready when it knows its lag: what it has just taken is asked for at once."""
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s and sorted(self._parts_now()) == self._parts:
            if self._closing.wait(FOLLOW_S):
                return

    def _committed(self) -> dict[Part, int]:
        wanted = [TopicPartition(topic, number) for topic, number in self._parts]
        found = self._consumer.committed(wanted, timeout=CALL_TIMEOUT_S)
        for entry in found:
            if entry.error is not None:
                raise KafkaException(entry.error)
        return {
            (entry.topic, entry.partition): entry.offset for entry in found if entry.offset >= 0
        }

    def _read_oldest(self) -> None:
        """The time stamps of the first records that are not written, as far as they are news."""
        wanted: dict[Part, int] = {}
        for part in self._parts:
            position = self._written.get(part, 0)
            if self._ends.get(part, 0) <= position:
                self._oldest.pop(part, None)
            elif self._oldest.get(part, (-1, 0))[0] != position:
                wanted[part] = position
        if not wanted:
            return
        self._consumer.assign([TopicPartition(*part, offset) for part, offset in wanted.items()])
        deadline = time.monotonic() + OLDEST_TIMEOUT_S
        while wanted and time.monotonic() < deadline and not self._closing.is_set():
            for message in self._consumer.consume(len(wanted), timeout=0.1):
                part = (message.topic() or "", message.partition() or 0)
                offset = wanted.pop(part, None)
                error = message.error()
                if offset is None:
                    continue
                if error is None:
                    self._oldest[part] = (offset, message.timestamp()[1])
                elif error.code() == KafkaError._PARTITION_EOF:
                    # What is left are marks of transactions: they have offsets, and no record.
                    self.written(part, message.offset() or 0)
        self._consumer.unassign()

    def _records(self, part: Part) -> int | None:
        end, position = self._ends.get(part), self._written.get(part)
        return None if end is None or position is None else max(0, end - position)

    def _seconds(self, part: Part) -> float:
        oldest = self._oldest.get(part)
        if oldest is None or not self._records(part):
            return 0.0
        return max(0.0, self._clock() - oldest[1] / 1000)

    def _publish(self, topic: str, number: int) -> None:
        part = (topic, number)
        labels = (self._group, topic, str(number))
        LAG_RECORDS.labels(*labels).set_function(lambda: float(self._records(part) or 0))
        LAG_SECONDS.labels(*labels).set_function(lambda: self._seconds(part))
        POSITION.labels(*labels).set_function(lambda: float(self._written.get(part, 0)))
        END.labels(topic, str(number)).set_function(lambda: float(self._ends.get(part, 0)))


class TrackedPositions:
    """A `PositionStore` that tells a monitor what it learns."""

    def __init__(self, positions: PositionStore, monitor: LagMonitor) -> None:
        self._positions = positions
        self._monitor = monitor

    def load(self, parts: Sequence[Part]) -> Mapping[Part, Position]:
        """See `PositionStore.load`."""
        found = self._positions.load(parts)
        for part, position in found.items():
            self._monitor.written(part, position.next_offset)
        return found

    def begin(self, block: BlockName, at_ms: int) -> None:
        """See `PositionStore.begin`."""
        self._positions.begin(block, at_ms)
        for span in block.spans:
            self._monitor.written(span.part, span.first_offset)

    def finish(self, block: BlockName) -> None:
        """See `PositionStore.finish`."""
        self._positions.finish(block)
        for span in block.spans:
            self._monitor.written(span.part, span.last_offset + 1)
