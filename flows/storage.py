"""The storage flow: every accepted event becomes one row.

    gosight.events.raw ------> decode, enrich --+
                                                +--> cut into blocks --> write once --> ClickHouse
    gosight.events.rejected -> count refusals --+      (per partition)        |         Redis
                                                                              |
    gosight.events.rejected <-------- records that cannot be read ------------+

Keyed by source partition throughout, so each partition is written in the order of its log by one
worker. The flow keeps nothing that a restart must restore: positions are the group's offsets, and
what makes an event a repetition is in the store (`flows.block_writer`).
"""

from __future__ import annotations

from collections.abc import Callable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from connectors.clickhouse import connect
from connectors.event_store import ClickHouseEventStore
from connectors.kafka import KafkaPositionStore, KafkaSource
from connectors.kafka_producer import KafkaRecordProducer
from connectors.lease import Lease
from connectors.live_counters import RedisLiveCounters
from connectors.lookups import load_agent_parser, load_place_reader
from flows.block_writer import BlockWriter, RetryPolicy
from flows.core.blocks import Block, BlockCutter
from flows.core.event_rows import EnrichedChunk, RowBuilder
from flows.core.refusals import refusal_chunk
from flows.machine_step import run_machine
from flows.positions import CheckedPositions
from flows.runnable import RunnableFlow
from flows.settings import FlowSettings, process_settings
from flows.streams import key_by
from schemas.codec import assert_fast_protobuf
from schemas.log import PolledBatch
from schemas.topics import EVENTS_RAW, EVENTS_REJECTED

GROUP = "gosight-event-processor"
LEASE_WAIT_S = 15.0  # A process that was just killed gives its leases back within this time.


class BlockSink(DynamicSink[Block[EnrichedChunk]]):
    """Hands blocks to a writer made once per worker; nothing is buffered between calls."""

    def __init__(self, build_writer: Callable[[], BlockWriter]) -> None:
        self._build_writer = build_writer

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _BlockSinkPart:
        """One writer a worker."""
        return _BlockSinkPart(self._build_writer())


class _BlockSinkPart(StatelessSinkPartition[Block[EnrichedChunk]]):
    def __init__(self, writer: BlockWriter) -> None:
        self._writer = writer

    def write_batch(self, items: list[Block[EnrichedChunk]]) -> None:
        for block in items:
            self._writer.write(block)


def partition_key(chunk: EnrichedChunk) -> str:
    """`topic:partition`, the key under which order is kept."""
    return f"{chunk.topic}:{chunk.partition}"


def build_flow(
    source: Source[PolledBatch],
    sink: BlockSink,
    builder: RowBuilder,
    cutter: BlockCutter[EnrichedChunk],
) -> Dataflow:
    """Join the steps; the source may deliver any topic of the two."""

    def to_chunk(polled: PolledBatch) -> EnrichedChunk:
        if polled.topic == EVENTS_REJECTED.name:
            return refusal_chunk(polled)
        return builder.build(polled)

    flow = Dataflow("storage")
    polled = op.input("read", flow, source)
    # PolledBatch
    chunks = op.map("enrich", polled, to_chunk)
    # EnrichedChunk
    keyed = key_by("by_partition", chunks, partition_key)
    # (topic:partition, EnrichedChunk)
    blocks = run_machine("cut", keyed, cutter, finish_at_eof=True)
    # (topic:partition, Block)
    op.output("write", op.key_rm("unkey", blocks), sink)
    return flow


def build(settings: FlowSettings, is_stopping: Callable[[], bool] = lambda: False) -> RunnableFlow:
    """The flow on real servers, once this process holds the leases of its partitions.

    Raises:
        FatalError: a silent slow path is loaded, another process writes these partitions, or a
            server refuses us for good.
        RetryableError: a server does not answer.
    """
    assert_fast_protobuf()
    group = settings.consumer_group or GROUP
    parse_agent = load_agent_parser()
    find_place = load_place_reader(settings.geoip_database)
    positions = CheckedPositions(
        KafkaPositionStore(settings.kafka_brokers, group),
        ClickHouseEventStore(connect(settings.clickhouse_url)),
        is_stopping=is_stopping,
    )
    source = KafkaSource(
        settings.kafka_brokers,
        [EVENTS_RAW, EVENTS_REJECTED],
        group,
        positions=positions,
        share=settings.share,
        batch_records=settings.poll_records,
        is_stopping=lambda: is_stopping() or lease.lost.is_set(),
    )
    lease = Lease(settings.database_url, group, source.list_parts())

    def build_writer() -> BlockWriter:
        return BlockWriter(
            ClickHouseEventStore(connect(settings.clickhouse_url)),
            positions,
            KafkaRecordProducer(settings.kafka_brokers),
            RedisLiveCounters(settings.redis_url),
            retry=RetryPolicy(seconds_max=settings.retry_seconds_max),
            is_stopping=is_stopping,
            may_write=lambda: not lease.lost.is_set(),
        )

    cutter: BlockCutter[EnrichedChunk] = BlockCutter(
        rows_max=settings.batch_rows, age_ms_max=int(settings.batch_seconds * 1000)
    )
    flow = build_flow(source, BlockSink(build_writer), RowBuilder(parse_agent, find_place), cutter)
    lease.acquire(LEASE_WAIT_S)
    return RunnableFlow(flow, lease.lost.is_set, lease.close)


def flow() -> Dataflow:
    """For `python -m bytewax.run flows.storage`: settings from the environment."""
    return build(process_settings()).flow
