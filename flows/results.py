"""The results flow: what was found about sessions becomes rows, and is shown at once.

    gosight.sessions --+                 +--> show as they come ------------> Redis
                       +--> read rows ---+
    gosight.insights --+                 +--> cut into blocks --> write ----> ClickHouse
                                                                    |
    gosight.events.rejected <------ records that cannot be rows ----+

At least once is enough here: both tables keep one row of a key, the one of the highest revision. A
position is committed after ClickHouse took the rows, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import bytewax.operators as op
import stamina
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.claims import PostgresClaims
from connectors.clickhouse import connect
from connectors.kafka import KafkaPositionStore, KafkaSource
from connectors.kafka_admin import read_topics
from connectors.kafka_lag import LagMonitor, TrackedPositions
from connectors.kafka_log import EARLIEST, Part, PositionStore
from connectors.kafka_producer import KafkaRecordProducer
from connectors.live_results import RedisLiveResults
from connectors.project_documents import ProjectDocuments
from connectors.result_store import ClickHouseResultStore
from connectors.write_gate import PostgresWriteGate
from flows.core.blocks import Block, BlockCutter
from flows.core.results import ResultChunk, result_chunk
from flows.each_sink import EachSink
from flows.health import FlowHealth
from flows.live_board import show
from flows.machine_step import run_machine
from flows.result_writer import SECTION, ResultWriter
from flows.retries import RetryPolicy, waiting_for
from flows.runnable import RunnableFlow
from flows.settings import FlowSettings, process_settings
from flows.streams import key_by
from schemas.codec import assert_fast_protobuf
from schemas.log import PolledBatch
from schemas.topics import INSIGHTS, SESSIONS

GROUP = "gosight-results"
TOPICS = (SESSIONS, INSIGHTS)


class CommittedStarts:
    """A `PartOwner` that reads on from the group's offsets, or from the first record there is."""

    def __init__(
        self,
        positions: PositionStore,
        on_start: Callable[[Part, int], None] = lambda _part, _offset: None,
        *,
        retry_seconds_max: float = 60.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._positions = positions
        self._on_start = on_start
        self._retry_seconds_max = retry_seconds_max
        self._is_stopping = is_stopping

    def begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """See `PartOwner.begin_parts`; waits for a broker that is just starting."""
        for attempt in stamina.retry_context(
            on=waiting_for("partitions", self._is_stopping),
            attempts=None,
            timeout=self._retry_seconds_max,
            wait_max=2.0,
        ):
            with attempt:
                known = self._positions.load(parts)
        for part, position in known.items():
            self._on_start(part, position.next_offset)
        return {part: known[part].next_offset if part in known else EARLIEST for part in parts}

    def end_parts(self, parts: Sequence[Part]) -> None:
        """See `PartOwner.end_parts`; nothing is remembered of a partition."""


def build_flow(
    source: Source[PolledBatch],
    store: Sink[Block[ResultChunk]],
    live: Sink[ResultChunk],
    cutter: BlockCutter[ResultChunk],
) -> Dataflow:
    """Join the steps; the source may deliver either topic."""
    flow = Dataflow("results")
    polled = op.input("read", flow, source)
    # PolledBatch
    chunks = op.map("rows", polled, result_chunk)
    # ResultChunk
    op.output("show", chunks, live)
    keyed = key_by("together", chunks, lambda _chunk: "all")
    # one key, ResultChunk
    blocks = run_machine("cut", keyed, cutter, finish_at_eof=True)
    # one key, Block
    op.output("write", op.key_rm("unkey", blocks), store)
    return flow


def build(
    settings: FlowSettings,
    health: FlowHealth,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RunnableFlow:
    """The flow on real servers; its partitions come as they are shared out.

    Raises:
        FatalError: a silent slow path is loaded, or a server refuses us for good.
        RetryableError: a server does not answer.
    """
    assert_fast_protobuf()
    # A group of its own also where one is named for all flows: members share what they read.
    group = f"{settings.consumer_group}-results" if settings.consumer_group else GROUP
    brokers = settings.kafka_brokers
    found = read_topics(brokers, [topic.name for topic in TOPICS])
    parts = [(name, number) for name, topic in found.items() for number in topic.partitions]
    claims = PostgresClaims(settings.database_url, group, parts)
    # Before anything that waits for other servers: the lag is to be seen meanwhile.
    lag = LagMonitor(brokers, group, claims.held)
    health.watch_lag(lag)
    lag.start()
    retention = ProjectDocuments(settings.database_url, SECTION)
    retention.start()
    positions = TrackedPositions(KafkaPositionStore(brokers, group), lag)
    gate = PostgresWriteGate(settings.database_url, group)
    writer = ResultWriter(
        ClickHouseResultStore(
            connect(settings.clickhouse_url), [topic.topic_id for topic in found.values()]
        ),
        positions,
        KafkaRecordProducer(brokers),
        claims,
        retention,
        gate=gate,
        retry=RetryPolicy(seconds_max=settings.retry_seconds_max),
        is_stopping=is_stopping,
    )
    source = KafkaSource(
        brokers,
        group,
        claims,
        CommittedStarts(positions, lag.written, is_stopping=is_stopping),
        batch_records=settings.poll_records,
        is_stopping=is_stopping,
    )
    cutter: BlockCutter[ResultChunk] = BlockCutter(
        rows_max=settings.batch_rows, age_ms_max=int(settings.batch_seconds * 1000)
    )
    live = EachSink(partial(show, RedisLiveResults(settings.redis_url), gate=gate))
    flow = build_flow(source, EachSink(writer.write), live, cutter)
    claims.start()

    def close() -> None:
        claims.close()
        retention.close()
        gate.close()

    return RunnableFlow(flow, close)


def flow() -> Dataflow:
    """For `python -m bytewax.run flows.results`: settings from the environment."""
    return build(process_settings(), FlowHealth()).flow
