"""The alerts flow on twins: servers' memory, processes on it, a wall clock that tests move."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from connectors.alert_rules import AlertRules
from connectors.kafka_ends import End
from connectors.kafka_log import OutRecord, Part
from connectors.kafka_progress import Place
from connectors.lookups import load_agent_parser, load_place_reader
from connectors.memory_alert_rules import MemoryAlertRules
from connectors.memory_kafka import (
    MemoryClaims,
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    all_parts,
)
from connectors.memory_state import MemoryPartEnds, MemoryStateLog, MemoryStates
from flows.alerts import (
    SOURCES,
    AlertOwner,
    AlertPartitions,
    RunPartition,
    record_of,
    signal_records,
)
from flows.core.alerts.signal_makers import BODY_KINDS
from flows.core.insight import Insight
from flows.core.session_batches import BatchReader
from flows.core.session_row import insight_message
from flows.partition_runs import PartitionRuns
from flows.retries import RetryPolicy
from flows.rule_writer import RuleWriter
from flows.signal_reader import SignalReader
from flows.signal_writer import SignalWriter
from schemas.alert_rules import AlertRule
from schemas.erasure import NOBODY, Erased
from schemas.log import PolledBatch
from schemas.topics import ALERT_SIGNALS, ALERTS, EVENTS_RAW, INSIGHTS
from schemas.v1.alerts_pb2 import AlertTransition
from schemas.v1.events_pb2 import Event, EventType
from tests.factories import NOW_MS, PROJECT, make_event, make_raw, make_uuid, raw_record

CHANCE = random.Random(7)
READER = BatchReader(load_agent_parser(), load_place_reader(None), BODY_KINDS)


class Progress:
    """Twin of `KafkaGroupProgress`: behaviour is where the test says."""

    def __init__(self) -> None:
        self.places: dict[Part, Place] = {}

    def known(self) -> dict[Part, Place]:
        """See `GroupProgress.known`."""
        return self.places


class Process:
    """One life of the flow on the servers' memory, with a wall clock that the test moves."""

    def __init__(
        self,
        log: MemoryLog,
        kept: MemoryStates,
        positions: MemoryPositionStore,
        rules: AlertRules,
        now_ms: int,
        erased: Callable[[], Erased],
    ) -> None:
        self.log = log
        self.now_ms = now_ms
        parts = all_parts([*SOURCES, ALERT_SIGNALS])
        self.claims = MemoryClaims(parts)
        self.ends = MemoryPartEnds()
        self.progress = Progress()
        self.partitions = AlertPartitions()
        producer = MemoryRecordProducer(log)
        retry = RetryPolicy(0.01, 0.001)
        self.runs: RunPartition = PartitionRuns(
            "alerts-test",
            None,
            record_of,
            MemoryStateLog(kept),
            self.claims,
            self.ends,
            retry=retry,
            live_of=self.partitions.begin,
            step_ms=0,
            monotonic=lambda: self.now_ms / 1000,
        )
        self.rules = RuleWriter(
            rules,
            self.partitions.held,
            producer,
            retry,
            clock_ms=lambda: self.now_ms,
            monotonic=lambda: self.now_ms / 1000,
        )
        self.writer = SignalWriter(
            SignalReader(READER, erased=erased),
            self.rules.wanted,
            positions,
            producer,
            self.ends,
            self.progress,
            lambda found: {part: len(log.partitions[part]) for part in found},
            self.claims.held,
            {},
            retry=retry,
            clock_ms=lambda: self.now_ms,
            monotonic=lambda: self.now_ms / 1000,
        )
        owner = AlertOwner(self.writer, self.runs, self.partitions)
        starts = owner.begin_parts(parts)
        self.read_to = {part: max(0, offset) for part, offset in starts.items()}

    def run(
        self, seconds: float, *, reads: Sequence[str] = ("raw", "insights", "sessions")
    ) -> None:
        """Let time pass in ticks of half a second; the named sources are read to their ends."""
        for _ in range(round(seconds * 2)):
            self.now_ms += 500
            self._read([part for part in self.read_to if part[0].rpartition(".")[2] in reads])
            for part in self.read_to:
                self.ends.ends[part] = End(len(self.log.partitions[part]), self.now_ms)
                if part[0] == EVENTS_RAW.name:
                    self.progress.places[part] = Place(len(self.log.partitions[part]), self.now_ms)
            self.rules.tick()
            self.writer.tick()
            self._read([part for part in self.read_to if part[0] == ALERT_SIGNALS.name])
            self.runs.tick()

    def _read(self, parts: Sequence[Part]) -> None:
        for part in parts:
            records = self.log.partitions[part][self.read_to[part] :]
            if not records:
                continue
            self.read_to[part] += len(records)
            polled = PolledBatch.of(*part, records, epoch=1)
            if part[0] == ALERT_SIGNALS.name:
                self.runs.take(signal_records(polled))
            else:
                self.writer.take(polled)


class World:
    """Servers' memory and the processes that live on it.

    Rules are those of `source`, if there is one.
    """

    def __init__(
        self,
        *rules: AlertRule,
        source: AlertRules | None = None,
        project_id: str = PROJECT,
    ) -> None:
        self.project_id = project_id
        self.source = source
        self.log = MemoryLog()
        self.kept = MemoryStates(self.log)
        self.positions = MemoryPositionStore()
        self.rules = MemoryAlertRules(*rules)
        self.erased = NOBODY
        self.process = self.start(NOW_MS)

    def start(self, now_ms: int) -> Process:
        """A process, after the one before has died."""
        self.process = Process(
            self.log,
            self.kept,
            self.positions,
            self.source or self.rules,
            now_ms,
            lambda: self.erased,
        )
        return self.process

    def send(self, count: int, kind: EventType.ValueType, path: str = "/pay") -> None:
        """Events of as many sessions, received now."""
        for _ in range(count):
            now_ms = self.process.now_ms
            session_id = make_uuid(CHANCE)
            event = make_event(make_uuid(CHANCE), session_id, at_ms=now_ms, path=path, kind=kind)
            self.send_events([event], session_id)

    def send_events(self, events: Iterable[Event], session_id: str) -> None:
        """A batch of a session, received now."""
        now_ms = self.process.now_ms
        raw = make_raw(events, session_id, received_at_ms=now_ms, project_id=self.project_id)
        self.log.append(raw_record(raw), now_ms)

    def find(
        self,
        count: int,
        at_ms: int,
        path: str = "/pay",
        insight_type: str = "rage_click",
        session_id: str = "",
    ) -> None:
        """Insights, told by the behaviour flow now; of as many sessions, unless one is named."""
        for _ in range(count):
            insight = Insight(
                make_uuid(CHANCE), self.project_id, session_id or make_uuid(CHANCE), insight_type,
                at_ms, at_ms + 800, "", path, None, None, None, "high", 1, "{}", (),
            )  # fmt: skip
            value = insight_message(insight).SerializeToString()
            record = OutRecord(INSIGHTS.name, self.project_id.encode(), value)
            self.log.append(record, self.process.now_ms)

    def told(self) -> list[AlertTransition]:
        """What is in gosight.alerts."""
        return [AlertTransition.FromString(value) for value in self.log.values(ALERTS.name)]

    def kinds(self) -> list[str]:
        """Of what was told, without what holds on."""
        return [one.kind for one in self.told() if one.kind != "still_firing"]
