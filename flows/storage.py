"""The storage flow: every accepted event becomes one row.

    gosight.events.raw ------+
                             +--> cut into blocks --> decode, enrich, write once --> ClickHouse
    gosight.events.rejected -+      (per process)               |                    Redis
                                                                |
    gosight.events.rejected <--- records that cannot be read ---+

All partitions of a process share its blocks, each in the order of its log. The flow keeps nothing
that a restart must restore, or that must follow a partition to another process: positions are the
group's offsets, and what makes an event a repetition is in the store (`flows.block_writer`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.claims import PostgresClaims
from connectors.clickhouse import connect
from connectors.event_store import ClickHouseEventStore
from connectors.kafka import KafkaPositionStore, KafkaSource, KafkaSpanReader
from connectors.kafka_admin import read_topics
from connectors.kafka_lag import LagMonitor, TrackedPositions
from connectors.kafka_producer import KafkaRecordProducer
from connectors.live_counters import RedisLiveCounters
from connectors.lookups import load_agent_parser, load_place_reader
from connectors.write_gate import PostgresWriteGate
from flows.block_writer import BlockWriter
from flows.core.blocks import Block, BlockCutter
from flows.core.event_blocks import BlockBuilder
from flows.core.event_rows import EnrichedChunk
from flows.core.refusals import refusal_chunk
from flows.each_sink import EachSink
from flows.health import FlowHealth
from flows.machine_step import run_machine
from flows.part_starts import PartStarts
from flows.retries import RetryPolicy
from flows.runnable import RunnableFlow
from flows.same_topics import check_same_topics
from flows.settings import FlowSettings, process_settings
from flows.streams import key_by
from schemas.codec import assert_fast_protobuf
from schemas.log import PolledBatch
from schemas.topics import EVENTS_RAW, EVENTS_REJECTED

GROUP = "gosight-event-processor"
TOPICS = (EVENTS_RAW, EVENTS_REJECTED)


def chunk_maker(builder: BlockBuilder) -> Callable[[Sequence[PolledBatch]], list[EnrichedChunk]]:
    """What turns polled records of either topic into a chunk each, in order."""

    def to_chunks(polled: Sequence[PolledBatch]) -> list[EnrichedChunk]:
        made: list[EnrichedChunk] = []
        for topic, parts in groupby(polled, lambda part: part.topic):
            if topic == EVENTS_REJECTED.name:
                made += map(refusal_chunk, parts)
            else:
                made += builder.build(list(parts))
        return made

    return to_chunks


def build_flow(
    source: Source[PolledBatch],
    sink: Sink[Block[PolledBatch]],
    cutter: BlockCutter[PolledBatch],
) -> Dataflow:
    """Join the steps; the source may deliver any topic of the two."""
    flow = Dataflow("storage")
    polled = op.input("read", flow, source)
    # PolledBatch
    keyed = key_by("together", polled, lambda _polled: "all")
    # one key, PolledBatch
    blocks = run_machine("cut", keyed, cutter, finish_at_eof=True)
    # one key, Block
    op.output("write", op.key_rm("unkey", blocks), sink)
    return flow


def build(
    settings: FlowSettings,
    health: FlowHealth,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RunnableFlow:
    """The flow on real servers; its partitions come as they are shared out.

    Raises:
        FatalError: a silent slow path is loaded, the topics are not those whose records are stored,
            or a server refuses us for good.
        RetryableError: a server does not answer.
    """
    assert_fast_protobuf()
    group = settings.consumer_group or GROUP
    brokers = settings.kafka_brokers
    to_chunks = chunk_maker(
        BlockBuilder(load_agent_parser(), load_place_reader(settings.geoip_database))
    )
    found = read_topics(brokers, [topic.name for topic in TOPICS])
    parts = [(name, number) for name, topic in found.items() for number in topic.partitions]
    claims = PostgresClaims(settings.database_url, group, parts)
    # Before anything that waits for other servers: the lag is to be seen meanwhile.
    lag = LagMonitor(brokers, group, claims.held)
    health.watch_lag(lag)
    lag.start()
    store = ClickHouseEventStore(connect(settings.clickhouse_url))
    positions = TrackedPositions(KafkaPositionStore(brokers, group), lag)
    ids = {name: topic.topic_id for name, topic in found.items()}
    check_same_topics(store, ids, positions, parts)
    gate = PostgresWriteGate(settings.database_url, group)
    writer = BlockWriter(
        store,
        positions,
        KafkaRecordProducer(brokers),
        RedisLiveCounters(settings.redis_url),
        claims,
        to_chunks,
        gate=gate,
        retry=RetryPolicy(seconds_max=settings.retry_seconds_max),
        is_stopping=is_stopping,
    )
    owner = PartStarts(
        positions,
        store,
        KafkaSpanReader(brokers, group),
        writer,
        lag.written,
        is_stopping=is_stopping,
    )
    source = KafkaSource(
        brokers,
        group,
        claims,
        owner,
        batch_records=settings.poll_records,
        is_stopping=is_stopping,
    )
    cutter: BlockCutter[PolledBatch] = BlockCutter(
        rows_max=settings.batch_rows, age_ms_max=int(settings.batch_seconds * 1000)
    )
    flow = build_flow(source, EachSink(writer.write), cutter)
    claims.start()

    def close() -> None:
        claims.close()
        gate.close()

    return RunnableFlow(flow, close)


def flow() -> Dataflow:
    """For `python -m bytewax.run flows.storage`: settings from the environment."""
    return build(process_settings(), FlowHealth()).flow
