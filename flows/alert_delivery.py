"""The delivery of alerts: transitions become history and messages, and messages are sent.

    gosight.alerts --> read transitions --> outbox (PostgreSQL) --> Telegram
                              |                    ^      |-------> webhooks
                              |                    +-- retries, over hours
    gosight.events.rejected <-+

The evaluator (`flows.alerts`) says what is true. Here is decided who hears of it: cooldown, mute,
channels. A transition and what follows from it are one transaction, and what is in the outbox is
sent until it arrives or is given up, whatever dies in between: at least once, under one id.
"""

from __future__ import annotations

from collections.abc import Callable

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.alert_outbox import AlertOutbox
from connectors.claims import PostgresClaims
from connectors.kafka import KafkaPositionStore, KafkaSource
from connectors.kafka_admin import read_topics
from connectors.kafka_lag import LagMonitor, TrackedPositions
from connectors.kafka_producer import KafkaRecordProducer
from flows.alert_sender import sender_on
from flows.alert_writer import AlertWriter
from flows.core.alert_records import AlertBatch, alert_batch
from flows.each_sink import EachSink
from flows.health import FlowHealth
from flows.results import CommittedStarts
from flows.retries import RetryPolicy
from flows.runnable import RunnableFlow
from flows.settings import FlowSettings, process_settings
from schemas.codec import assert_fast_protobuf
from schemas.log import PolledBatch
from schemas.topics import ALERTS

GROUP = "gosight-alert-delivery"


def build_flow(source: Source[PolledBatch], outbox: Sink[AlertBatch]) -> Dataflow:
    """Join the steps."""
    flow = Dataflow("alert_delivery")
    polled = op.input("read", flow, source)
    # PolledBatch
    batches = op.map("transitions", polled, alert_batch)
    # AlertBatch
    op.output("outbox", batches, outbox)
    return flow


def build(
    settings: FlowSettings,
    health: FlowHealth,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RunnableFlow:
    """The flow on real servers, and the sender beside it.

    Raises:
        FatalError: a silent slow path is loaded, or a server refuses us for good.
        RetryableError: a server does not answer.
    """
    assert_fast_protobuf()
    group = f"{settings.consumer_group}-alert-delivery" if settings.consumer_group else GROUP
    brokers = settings.kafka_brokers
    found = read_topics(brokers, [ALERTS.name])
    parts = [(name, number) for name, topic in found.items() for number in topic.partitions]
    claims = PostgresClaims(settings.database_url, group, parts)
    lag = LagMonitor(brokers, group, claims.held)
    health.watch_lag(lag)
    lag.start()
    positions = TrackedPositions(KafkaPositionStore(brokers, group), lag)
    sender = sender_on(settings)
    outbox = AlertOutbox(settings.database_url)
    writer = AlertWriter(
        outbox,
        positions,
        KafkaRecordProducer(brokers),
        claims,
        settings.dashboard_url,
        on_written=sender.wake,
        late_after_ms=int(1000 * (settings.alert_delay_seconds + settings.alert_lag_seconds_max)),
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
    flow = build_flow(source, EachSink(writer.write))
    claims.start()
    sender.start()

    def close() -> None:
        claims.close()
        sender.close()
        outbox.close()

    return RunnableFlow(flow, close)


def flow() -> Dataflow:
    """For `python -m bytewax.run flows.alert_delivery`: settings from the environment."""
    return build(process_settings(), FlowHealth()).flow
