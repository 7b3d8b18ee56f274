"""The alerts flow: what rules ask for is counted, and evaluated in event time.

    gosight.events.raw ---+
    gosight.insights -----+--> signals of projects with rules --> gosight.alerts.signals --+
    gosight.sessions -----+    (of erased visitors none)                ^                  |
                               rules that changed ----------------------+                  |
                                                                                           |
    gosight.alerts <-- transitions <-- evaluate each T, by the clock of the sources <------+
                                           ^      |
                 gosight.alerts.state -----+ <----+

The first half is a reader of whatever source partitions this process holds; it remembers nothing
(`flows.signal_writer`). The second half is a function of its signals partition, rules and the wall
clock included, so that reading it again decides the same (`flows.core.alerts.partition`). What it
decides is one Kafka transaction with its states (`flows.partition_runs`). Both halves scale by
partitions, the first by those of the sources, the second by those of projects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink
from confluent_kafka import KafkaException
from prometheus_client import Counter, Gauge

from connectors.alert_rules import PostgresAlertRules
from connectors.claims import PostgresClaims
from connectors.erased_visitors import ErasedVisitors
from connectors.errors import RetryableError
from connectors.kafka import KafkaPositionStore, KafkaSource
from connectors.kafka_admin import read_topics
from connectors.kafka_ends import KafkaPartEnds
from connectors.kafka_lag import LagMonitor, TrackedPositions
from connectors.kafka_log import OutRecord, Part, PartOwner
from connectors.kafka_offsets import LATEST, KafkaOffsets
from connectors.kafka_producer import KafkaRecordProducer
from connectors.kafka_progress import KafkaGroupProgress
from connectors.kafka_state import KafkaStateLog
from connectors.lookups import load_agent_parser, load_place_reader
from flows import behaviour
from flows.core.alerts.partition import (
    DELAY_MS,
    EVENTS,
    LAG_MS_MAX,
    RESULTS,
    AlertPartition,
    SignalRecord,
)
from flows.core.alerts.signal_makers import BODY_KINDS
from flows.core.alerts.source_clocks import USUAL_SOURCES, SourceNames, source_name
from flows.core.alerts.transitions import Transition, transition_message
from flows.core.session_batches import BatchReader
from flows.each_sink import EachSink
from flows.health import FlowHealth
from flows.partition_runs import PartitionRuns, TakenItems
from flows.retries import RetryPolicy
from flows.rule_writer import RuleWriter
from flows.runnable import RunnableFlow
from flows.settings import FlowSettings, process_settings
from flows.signal_reader import FLOW, SignalReader
from flows.signal_writer import SignalWriter
from flows.ticks import Tick, TickingSource
from schemas.codec import assert_fast_protobuf
from schemas.kept_states import Kept
from schemas.log import PolledBatch
from schemas.topics import ALERT_SIGNALS, ALERT_STATE, ALERTS, EVENTS_RAW, INSIGHTS, SESSIONS

GROUP = "gosight-alerts"
SOURCES = (EVENTS_RAW, INSIGHTS, SESSIONS)
OFFSETS_TIMEOUT_S = 10.0
# Transitions are told half a second after they are decided at the latest, and a step is small.
STEP_MS = 250

TRANSITIONS = Counter("gosight_alert_transitions_total", "Changes of alert rules.", ["kind"])
BEHIND = Gauge(
    "gosight_alert_clock_behind_seconds",
    "How far the clock of rules is behind the wall clock, of the slowest partition.",
    ["clock"],
)
HELD = Gauge("gosight_alert_rules_held", "Rules that are held back by lag.", ["clock"])
DROPPED = Gauge(
    "gosight_alert_signals_dropped",
    "Signals not counted since the process began to hold their partition.",
    ["reason"],
)
LEFT_OUT = Gauge(
    "gosight_alert_groups_left_out", "Groups that were not judged at the last T: too many."
)

RunPartition = PartitionRuns[SignalRecord, Transition]


class AlertPartitions:
    """The signals partitions that this process evaluates, by number."""

    def __init__(
        self,
        delay_ms: int = DELAY_MS,
        lag_ms_max: int = LAG_MS_MAX,
        sources: SourceNames = USUAL_SOURCES,
    ) -> None:
        self._delay_ms = delay_ms
        self._sources = sources
        self._lag_ms_max = lag_ms_max
        self._held: dict[int, AlertPartition] = {}
        for name in (EVENTS, RESULTS):
            BEHIND.labels(name).set_function(partial(self._behind_s, name))
            HELD.labels(name).set_function(partial(self._rules_held, name))
        LEFT_OUT.set_function(self._groups_left_out)
        for reason in AlertPartition.DROP_REASONS:
            DROPPED.labels(reason).set_function(partial(self._dropped, reason))

    def begin(self, number: int, kept: Kept) -> AlertPartition:
        """A partition that comes to this process, from what is stored of it."""
        found = AlertPartition(
            kept,
            delay_ms=self._delay_ms,
            lag_ms_max=self._lag_ms_max,
            sources=self._sources,
        )
        self._held[number] = found
        return found

    def end(self, numbers: Iterable[int]) -> None:
        """These have left this process."""
        for number in numbers:
            self._held.pop(number, None)

    def held(self) -> Mapping[int, AlertPartition]:
        """Those that are here."""
        return self._held

    def _behind_s(self, name: str) -> float:
        return max((one.behind_ms(name) for one in [*self._held.values()]), default=0) / 1000

    def _rules_held(self, name: str) -> float:
        return float(sum(one.rules_held(name) for one in [*self._held.values()]))

    def _groups_left_out(self) -> float:
        return float(sum(one.groups_left_out() for one in [*self._held.values()]))

    def _dropped(self, reason: str) -> float:
        return float(sum(one.dropped(reason) for one in [*self._held.values()]))


class AlertOwner:
    """A `PartOwner` of both halves: signals are run, sources are read."""

    def __init__(self, writer: PartOwner, runs: PartOwner, partitions: AlertPartitions) -> None:
        self._writer = writer
        self._runs = runs
        self._partitions = partitions

    def begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """See `PartOwner.begin_parts`."""
        signals = [part for part in parts if part[0] == ALERT_SIGNALS.name]
        sources = [part for part in parts if part[0] != ALERT_SIGNALS.name]
        begun = dict(self._runs.begin_parts(signals)) if signals else {}
        if sources:
            begun.update(self._writer.begin_parts(sources))
        return begun

    def end_parts(self, parts: Sequence[Part]) -> None:
        """See `PartOwner.end_parts`."""
        signals = [part for part in parts if part[0] == ALERT_SIGNALS.name]
        self._runs.end_parts(signals)
        self._partitions.end(number for _, number in signals)
        self._writer.end_parts([part for part in parts if part[0] != ALERT_SIGNALS.name])


def hand_to(
    writer: SignalWriter, rules: RuleWriter, runs: RunPartition
) -> Callable[[PolledBatch | Tick], None]:
    """What gives records and ticks to both halves; what one worker reads stays with it."""

    def hand(item: PolledBatch | Tick) -> None:
        if isinstance(item, Tick):
            rules.tick()
            writer.tick()
            runs.tick()
        elif item.topic == ALERT_SIGNALS.name:
            runs.take(signal_records(item))
        else:
            writer.take(item)

    return hand


def signal_records(polled: PolledBatch) -> TakenItems[SignalRecord]:
    """Records of a signals partition as its run takes them."""
    records = [
        SignalRecord(offset, value)
        for offset, value in zip(polled.offsets, polled.values, strict=True)
    ]
    part = polled.topic, polled.partition
    return TakenItems(part, polled.epoch, polled.offsets[-1] + 1, records)


def record_of(change: Transition) -> OutRecord:
    """The record that tells it."""
    TRANSITIONS.labels(change.kind).inc()
    key = f"{change.rule.project_id}:{change.rule.id}".encode()
    return OutRecord(ALERTS.name, key, transition_message(change).SerializeToString())


def build_flow(source: Source[PolledBatch | Tick], sink: Sink[PolledBatch | Tick]) -> Dataflow:
    """Join the steps; all comes from the first worker and stays there."""
    flow = Dataflow(FLOW)
    polled = op.input("read", flow, source)
    # PolledBatch | Tick
    op.output("evaluate", polled, sink)
    return flow


def build(
    settings: FlowSettings,
    health: FlowHealth,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RunnableFlow:
    """The flow on real servers; its partitions come as they are shared out.

    Raises:
        FatalError: a silent slow path is loaded, a topic is missing, or a server refuses us.
        RetryableError: a server does not answer.
    """
    assert_fast_protobuf()
    brokers, own_group = settings.kafka_brokers, settings.consumer_group
    group = f"{own_group}-{FLOW}" if own_group else GROUP
    makers = f"{own_group}-{behaviour.FLOW}" if own_group else behaviour.GROUP
    names = [topic.name for topic in (*SOURCES, ALERT_SIGNALS, ALERT_STATE)]
    topics = read_topics(brokers, names)
    parts = [(name, n) for name in names[:-1] for n in topics[name].partitions]
    claims = PostgresClaims(settings.database_url, group, parts)

    def held(topics: Sequence[str]) -> list[Part]:
        return [part for part in claims.held() if part[0] in topics]

    def sources(of: Sequence[str]) -> list[str]:
        return [source_name(name, n) for name, n in parts if name in of]

    # Where signals are read on is half a minute behind on purpose: it would look like lag.
    lag = LagMonitor(brokers, group, lambda: held(names[:3]))
    health.watch_lag(lag)
    lag.start()
    rules = PostgresAlertRules(settings.database_url)
    rules.start()
    erased = ErasedVisitors(settings.database_url)
    erased.start()
    ends = KafkaPartEnds(brokers, lambda: held(names[:3]))
    progress = KafkaGroupProgress(
        KafkaPositionStore(brokers, makers), lambda: held([EVENTS_RAW.name])
    )
    producer = KafkaRecordProducer(brokers)
    log = KafkaStateLog(
        brokers,
        group,
        ALERT_SIGNALS.name,
        topics[ALERT_SIGNALS.name].topic_id,
        ALERT_STATE.name,
    )
    retry = RetryPolicy(settings.retry_seconds_max)
    partitions = AlertPartitions(
        int(settings.alert_delay_seconds * 1000),
        int(settings.alert_lag_seconds_max * 1000),
        # Those that there are: somebody may have added some.
        SourceNames(sources([EVENTS_RAW.name]), sources([INSIGHTS.name, SESSIONS.name])),
    )
    runs: RunPartition = PartitionRuns(
        FLOW,
        None,
        record_of,
        log,
        claims,
        ends,
        retry=retry,
        is_stopping=is_stopping,
        live_of=partitions.begin,
        step_ms=STEP_MS,
    )
    rule_writer = RuleWriter(rules, partitions.held, producer, retry, is_stopping)
    batch_reader = BatchReader(
        load_agent_parser(), load_place_reader(settings.geoip_database), BODY_KINDS
    )
    writer = SignalWriter(
        SignalReader(
            batch_reader, int(settings.clock_ahead_seconds_max * 1000), erased=erased.known
        ),
        rule_writer.wanted,
        TrackedPositions(KafkaPositionStore(brokers, group), lag),
        producer,
        ends,
        progress,
        lambda parts: _newest(brokers, parts),
        claims.held,
        {name: topics[name].topic_id for name in names[:3]},
        retry=retry,
        is_stopping=is_stopping,
    )
    source = KafkaSource(
        brokers,
        group,
        claims,
        AlertOwner(writer, runs, partitions),
        batch_records=settings.poll_records,
        is_stopping=is_stopping,
        on_end=writer.note_end,
    )
    flow = build_flow(
        TickingSource(source, is_stopping), EachSink(hand_to(writer, rule_writer, runs))
    )
    claims.start()
    ends.start()
    progress.start()

    def close() -> None:
        claims.close()
        ends.close()
        progress.close()
        rules.close()
        erased.close()
        log.close()

    return RunnableFlow(flow, close)


def flow() -> Dataflow:
    """For `python -m bytewax.run flows.alerts`: settings from the environment."""
    return build(process_settings(), FlowHealth()).flow


def _newest(brokers: str, parts: Sequence[Part]) -> Mapping[Part, int]:
    try:
        return KafkaOffsets(brokers).ask(parts, LATEST, OFFSETS_TIMEOUT_S)
    except KafkaException as error:
        raise RetryableError(f"cannot read where partitions end: {error}") from error
