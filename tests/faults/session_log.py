"""What went into the behaviour flow and what came out of it, as Kafka has it.

In: topics. Out: `Arrival`s, the records of the raw topic by partition and in the order of the log,
each with the moment at which the broker appended it; and the committed records of the two topics of
results. Records that leave Kafka later stay known here once they were read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from flows.core.insight import Insight
from flows.core.session_row import SessionRow, insight_of_message, row_of_message
from schemas.v1.pipeline_pb2 import Insight as InsightMessage
from schemas.v1.pipeline_pb2 import SessionRevision
from tests.faults.stores import RAW_TOPIC, Kafka, Offsets, Record
from tests.faults.wire import number_at, read_fields, text_at

SESSIONS_TOPIC, INSIGHTS_TOPIC = "gosight.sessions", "gosight.insights"
RAW_PARTS = [(RAW_TOPIC, number) for number in range(12)]
RESULT_PARTS = [(SESSIONS_TOPIC, number) for number in range(12)]
RESULT_PARTS += [(INSIGHTS_TOPIC, number) for number in range(3)]
# Larger differences of clocks are corrected: see `read_arrival`. Source: the gateway's promise.
SKEW_TOLERATED_MS = 2_000
AHEAD_TOLERATED_MS = 60_000
# More than this ahead of its append, a time of receipt is no clock: the flow takes it as of then.
GATEWAY_AHEAD_MS = 5_000
POISON = b"\xff\xff"  # What begins so is no message; put there by a fault.
CALL_S = 30.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record of the raw topic, read by hand.

    `times_ms` are the events in it with their times by the server's clock. `clock_ms` is the
    largest time of receipt in the partition up to here, `appended_at_ms` the broker's.
    """

    project_id: str
    session_id: str
    partition: int
    offset: int
    received_at_ms: int
    appended_at_ms: int
    clock_ms: int
    is_shifted: bool
    times_ms: Mapping[str, int]
    value: bytes


@dataclass
class Results:
    """The committed records of some projects, by session and in the order of the log."""

    rows: dict[tuple[str, str], list[SessionRow]] = field(default_factory=lambda: defaultdict(list))
    insights: dict[tuple[str, str], list[Insight]] = field(
        default_factory=lambda: defaultdict(list)
    )


def stamp_at_append(brokers: str) -> None:
    """Let the broker date records of the raw topic: then it is known when each could be read."""
    resource = ConfigResource(
        ResourceType.TOPIC,
        RAW_TOPIC,
        incremental_configs=[
            ConfigEntry(
                "message.timestamp.type",
                "LogAppendTime",
                incremental_operation=AlterConfigOpType.SET,
            )
        ],
    )
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(CALL_S)


class SessionLog:
    """Reads on from where it was, again and again."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._next: Offsets = {}
        self._clocks: dict[int, int] = defaultdict(int)
        self.arrivals: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
        self.clocks: Mapping[int, int] = self._clocks

    def begin(self) -> None:
        """Read what is there already for its clocks alone."""
        self.read(())

    def read(self, project_ids: Collection[str]) -> None:
        """Take what has come, of these projects."""
        ends = self._kafka.ends_of(RAW_PARTS)
        for record in self._kafka.records(self._next, ends):
            number = record.part[1]
            arrival = read_arrival(record, self._clocks[number])
            if arrival is None:
                continue
            self._clocks[number] = arrival.clock_ms
            if arrival.project_id in project_ids:
                self.arrivals[arrival.project_id, arrival.session_id].append(arrival)
        self._next.update(ends)

    def results(self, since: Offsets, project_ids: Collection[str]) -> Results:
        """All committed results of these projects."""
        found = Results()
        ends = self._kafka.ends_of(RESULT_PARTS)
        for record in self._kafka.records(since, ends, is_committed=True):
            if record.value.startswith(POISON):
                continue
            if record.part[0] == SESSIONS_TOPIC:
                row = row_of_message(SessionRevision.FromString(record.value))
                if row.project_id in project_ids:
                    found.rows[row.project_id, row.session_id].append(row)
            else:
                insight = insight_of_message(InsightMessage.FromString(record.value))
                if insight.project_id in project_ids:
                    found.insights[insight.project_id, insight.session_id].append(insight)
        return found


def read_arrival(record: Record, clock_ms: int) -> Arrival | None:
    """The record; None for one that nobody could read.

    Times of events are those that were sent. If the record was sent at a time that differs from its
    receipt by more than two seconds, the client's clock is off and all are moved by the difference;
    what is then still a minute ahead happened at receipt.
    """
    try:
        fields = read_fields(record.value)
        events = [read_fields(part) for part in fields.get(2, ()) if isinstance(part, bytes)]
        times = [_time_of(event) for event in events]
    except ValueError:
        return None
    received_at_ms, sent_at_ms = number_at(fields, 34), number_at(fields, 3)
    if not received_at_ms or not text_at(fields, 32):
        return None
    skew_ms = received_at_ms - sent_at_ms if sent_at_ms > 0 else 0
    is_shifted = abs(skew_ms) > SKEW_TOLERATED_MS
    is_clock = received_at_ms <= record.at_ms + GATEWAY_AHEAD_MS
    corrected: dict[str, int] = {}
    for event, at_ms in zip(events, times, strict=True):
        moved_ms = at_ms + skew_ms if is_shifted else at_ms
        if moved_ms > received_at_ms + AHEAD_TOLERATED_MS:
            moved_ms = received_at_ms
        corrected.setdefault(text_at(event, 1), moved_ms)
    return Arrival(
        project_id=text_at(fields, 32),
        session_id=text_at(fields, 33),
        partition=record.part[1],
        offset=record.offset,
        received_at_ms=received_at_ms,
        appended_at_ms=record.at_ms,
        clock_ms=max(clock_ms, received_at_ms if is_clock else 0),
        is_shifted=is_shifted,
        times_ms=corrected,
        value=record.value,
    )


def _time_of(event: Mapping[int, Sequence[int | bytes]]) -> int:
    value = event.get(6, [b""])[-1]
    if not isinstance(value, bytes):
        return 0
    at_ms = number_at(read_fields(value), 1)
    return at_ms - (1 << 64) if at_ms >> 63 else at_ms
