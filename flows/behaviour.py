"""The behaviour flow: what visitors do becomes sessions and insights.

    gosight.events.raw, ticks --> decode --> run the machine of each session --> store a step
                                                           ^                  |
                                                           |                  +--> gosight.sessions
                                                           |                  +--> gosight.insights
                          gosight.behaviour.state ---------+ <----------------+

All that is decided within a fraction of a second, in all partitions of the process, is one Kafka
transaction: changed states, positions, session revisions and insights. Readers of committed records
see each once, whatever happens to the processes (`flows.partition_runs`). The flow keeps nothing in
the engine: states follow their partition to whoever holds it (`connectors.kafka_state`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink
from prometheus_client import Counter

from connectors.claims import PostgresClaims
from connectors.erased_visitors import ErasedVisitors
from connectors.errors import FatalError
from connectors.kafka import KafkaSource
from connectors.kafka_admin import LiveTopic, read_topics
from connectors.kafka_ends import KafkaPartEnds
from connectors.kafka_lag import LagMonitor
from connectors.kafka_log import OutRecord
from connectors.kafka_state import KafkaStateLog
from connectors.lookups import load_agent_parser, load_place_reader
from connectors.project_documents import ProjectDocuments
from connectors.telemetry import get_logger
from flows.core.behaviour import (
    BehaviourMachine,
    BehaviourOutput,
    SessionState,
    decode_state,
    encode_state,
)
from flows.core.insight import Insight
from flows.core.live_partition import Workings
from flows.core.session_batches import BatchReader
from flows.core.session_event import SessionBatch, received_at
from flows.core.session_row import insight_message, session_message
from flows.core.suppression import without_suppressed_events
from flows.counted_sessions import CountedSessions
from flows.detection_file import load_detection_file
from flows.each_sink import EachSink
from flows.hanging_calls import HangWatch
from flows.health import FlowHealth
from flows.partition_runs import PartitionRuns, TakenItems
from flows.project_rules import BESIDE, SECTION, ProjectRules
from flows.retries import RetryPolicy
from flows.runnable import RunnableFlow
from flows.settings import FlowSettings, process_settings
from flows.streams import count_outcome
from flows.ticks import Tick, TickingSource
from flows.user_detectors import DetectorFault, load_user_detectors
from schemas.codec import assert_fast_protobuf
from schemas.erasure import NOBODY, Erased
from schemas.log import PolledBatch
from schemas.reasons import DropReason
from schemas.topics import BEHAVIOUR_STATE, EVENTS_RAW, INSIGHTS, SESSIONS

FLOW = "behaviour"
GROUP = "gosight-behaviour"

UNREADABLE = Counter(
    "gosight_sessions_states_unreadable_total",
    "States of sessions that could not be opened; their sessions began anew.",
)

FAILED = Counter(
    "gosight_sessions_failed_total",
    "Sessions whose state was given up because it could not be gone on with; they began anew.",
)


def hand_to(runs: PartitionRuns[Any, Any]) -> Callable[[TakenItems[Any] | Tick], None]:
    """What gives items and ticks to the partitions' runs; what one worker reads stays with it."""

    def hand(item: TakenItems[Any] | Tick) -> None:
        if isinstance(item, Tick):
            runs.tick()
        else:
            runs.take(item)

    return hand


def build_flow(
    source: Source[PolledBatch | Tick],
    to_items: Callable[[PolledBatch], TakenItems[Any]],
    sink: Sink[TakenItems[Any] | Tick],
) -> Dataflow:
    """Join the steps; items and ticks come from the first worker and stay there."""

    def decode(polled: PolledBatch | Tick) -> TakenItems[Any] | Tick:
        return polled if isinstance(polled, Tick) else to_items(polled)

    flow = Dataflow(FLOW)
    polled = op.input("read", flow, source)
    # PolledBatch | Tick
    taken = op.map("decode", polled, decode)
    # TakenItems | Tick
    op.output("run", taken, sink)
    return flow


def session_items(
    reader: BatchReader,
    ahead_ms_max: int | None = None,
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    erased: Callable[[], Erased] = lambda: NOBODY,
) -> Callable[[PolledBatch], TakenItems[SessionBatch]]:
    """What turns polled records into batches of sessions; what cannot be read is counted.

    So is what the storage flow drops because its visitor was erased: no session begins with it.

    The storage flow writes the dead letters: one is enough. What claims to have been received more
    than `ahead_ms_max` from now is received now: a partition's clock never goes back, so a gateway
    whose own clock is hours ahead would end all sessions of the partition for as long.
    """

    def to_items(polled: PolledBatch) -> TakenItems[SessionBatch]:
        found = reader.read(polled)
        now_ms = clock_ms()
        batches = [
            batch
            if ahead_ms_max is None or batch.received_at_ms <= now_ms + ahead_ms_max
            else received_at(batch, now_ms)
            for batch in found.batches
        ]
        for poison in found.poisons:
            count_outcome(FLOW, "rejected", poison.reason, poison.event_count)
            get_logger().warning("record_unreadable", reason=poison.reason, detail=poison.detail)
        part = polled.topic, polled.partition
        kept = _without_erased(batches, erased())
        return TakenItems(part, polled.epoch, polled.offsets[-1] + 1, kept)

    return to_items


def _without_erased(batches: Sequence[SessionBatch], erased: Erased) -> Sequence[SessionBatch]:
    if not erased:
        return batches
    kept = [without_suppressed_events(batch, erased) for batch in batches]
    dropped = sum(len(batch.events) for batch in batches) - sum(len(one.events) for one in kept)
    count_outcome(FLOW, "dropped", DropReason.SUPPRESSED, dropped)
    return [one for one in kept if one.events]


def record_of(output: BehaviourOutput) -> OutRecord:
    """The record that says it."""
    key = output.project_id.encode()
    if isinstance(output, Insight):
        return OutRecord(INSIGHTS.name, key, insight_message(output).SerializeToString())
    key += b":" + output.session_id.encode()
    return OutRecord(SESSIONS.name, key, session_message(output).SerializeToString())


def session_workings(machine: BehaviourMachine) -> Workings[Any, SessionBatch, BehaviourOutput]:
    """The machine of sessions, counted, and how its states are stored."""
    return Workings(
        machine=CountedSessions(machine),
        encode=encode_state,
        decode=_opened,
        key_of=lambda batch: batch.key,
        time_of=lambda batch: batch.received_at_ms,
        on_failure=_session_failed,
    )


def _session_failed(key: str, error: Exception) -> None:
    """One session's state is given up: it begins anew, and `sessions repair` makes it whole."""
    FAILED.inc()
    get_logger().error("session_failed", session=key, exc_info=error)


def _opened(data: bytes) -> SessionState:
    """The state, or a count and a line in the log, of which there may be many at once."""
    try:
        return decode_state(data)
    except msgspec.MsgspecError as error:
        UNREADABLE.inc()
        get_logger().error("state_unreadable", detail=str(error)[:300], bytes=len(data))
        raise


def tell_faults(faults: Sequence[DetectorFault]) -> None:
    """A line of the log for each thing that is wrong with detectors of a user's own."""
    for fault in faults:
        get_logger().error("detector_not_loaded", about=fault.place, detail=fault.problem)


def build(
    settings: FlowSettings,
    health: FlowHealth,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RunnableFlow:
    """The flow of sessions and insights on real servers.

    Raises:
        FatalError: a silent slow path is loaded, a topic is missing, or a server refuses us.
        RetryableError: a server does not answer.
        SettingsError: the installation's file of detection is not as it must be.
    """
    assert_fast_protobuf()
    of_all = load_detection_file(settings.detection_file)
    reader = BatchReader(load_agent_parser(), load_place_reader(settings.geoip_database))
    documents = ProjectDocuments(settings.database_url, SECTION, BESIDE)
    documents.start()
    erased = ErasedVisitors(settings.database_url)
    erased.start()
    own = load_user_detectors(settings.detectors_dir)
    tell_faults(own.faults)
    machine = BehaviourMachine(ProjectRules(documents, own.isolated(), of_all), previews=True)
    runnable = build_with(
        settings,
        health,
        is_stopping,
        session_workings(machine),
        session_items(reader, int(settings.clock_ahead_seconds_max * 1000), erased=erased.known),
        record_of,
    )
    if own.detectors:
        watch = HangWatch()
        watch.start()
        health.watch_calls(watch.hanging)
    return runnable


def flow() -> Dataflow:
    """For `python -m bytewax.run flows.behaviour`: settings from the environment."""
    return build(process_settings(), FlowHealth()).flow


def check_state_partitions(raw: LiveTopic, state: LiveTopic) -> None:
    """See that each partition of events has one for the states of its sessions.

    Raises:
        FatalError: somebody added some to the one topic alone.
    """
    if not set(raw.partitions) <= set(state.partitions):
        raise FatalError(
            f"{EVENTS_RAW.name} has {len(raw.partitions)} partitions and {BEHAVIOUR_STATE.name} "
            f"{len(state.partitions)}: add as many to the second one (docs/scaling.md)"
        )


def build_with(
    settings: FlowSettings,
    health: FlowHealth,
    is_stopping: Callable[[], bool],
    workings: Workings[Any, Any, Any],
    to_items: Callable[[PolledBatch], TakenItems[Any]],
    record_of: Callable[[Any], OutRecord],
) -> RunnableFlow:
    """A flow with any machine on real servers; its partitions come as they are shared out.

    Raises:
        FatalError: a topic does not exist, or a server refuses us for good.
        RetryableError: a server does not answer.
    """
    # The setting may be that of all flows; here it must not be another flow's group.
    group = f"{settings.consumer_group}-{FLOW}" if settings.consumer_group else GROUP
    brokers = settings.kafka_brokers
    found = read_topics(brokers, [EVENTS_RAW.name, BEHAVIOUR_STATE.name])
    raw = found[EVENTS_RAW.name]
    check_state_partitions(raw, found[BEHAVIOUR_STATE.name])
    parts = [(EVENTS_RAW.name, number) for number in raw.partitions]
    claims = PostgresClaims(settings.database_url, group, parts)
    # Before anything that waits for other servers: the lag is to be seen meanwhile.
    lag = LagMonitor(brokers, group, claims.held)
    health.watch_lag(lag)
    lag.start()
    ends = KafkaPartEnds(brokers, claims.held)
    log = KafkaStateLog(brokers, group, EVENTS_RAW.name, raw.topic_id, BEHAVIOUR_STATE.name)
    runs = PartitionRuns(
        FLOW,
        workings,
        record_of,
        log,
        claims,
        ends,
        on_progress=lag.written,
        retry=RetryPolicy(settings.retry_seconds_max),
        is_stopping=is_stopping,
    )
    source = KafkaSource(
        brokers,
        group,
        claims,
        runs,
        batch_records=settings.poll_records,
        is_stopping=is_stopping,
    )
    flow = build_flow(TickingSource(source, is_stopping), to_items, EachSink(hand_to(runs)))
    claims.start()
    ends.start()

    def close() -> None:
        claims.close()
        ends.close()
        log.close()

    return RunnableFlow(flow, close)
