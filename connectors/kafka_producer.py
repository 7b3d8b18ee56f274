"""Kafka output: records count as written when all in-sync replicas have acknowledged them.

In: `OutRecord`s. Out: nothing, or an exception. Bytewax's own sink ignores failed deliveries; this
one raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from bytewax.outputs import DynamicSink, StatelessSinkPartition
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.errors import FatalError, RetryableError
from connectors.kafka_log import OutRecord


def producer_config(brokers: str) -> dict[str, Any]:
    """Producer settings that keep promises: all replicas, idempotent, bounded memory and time."""
    return {
        "bootstrap.servers": brokers,
        "log_level": 2,  # What goes wrong is raised or logged by us, as JSON.
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",  # The same partition as the Java clients choose.
        "linger.ms": 2,
        "delivery.timeout.ms": 30_000,
        "queue.buffering.max.kbytes": 64 * 1024,
        "message.max.bytes": 4 * 1024 * 1024,
    }


class KafkaRecordProducer:
    """An acknowledging producer for one thread; see `RecordProducer`."""

    def __init__(self, brokers: str, timeout_s: float = 30.0) -> None:
        self._producer = Producer(producer_config(brokers))
        self._timeout_s = timeout_s

    def produce_all(self, records: Sequence[OutRecord]) -> None:
        """See `RecordProducer.produce_all`."""
        failures: list[KafkaError] = []
        acknowledged = 0

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            nonlocal acknowledged
            if error is None:
                acknowledged += 1
            else:
                failures.append(error)

        for record in records:
            self._produce(record, on_delivery)
        waiting = self._producer.flush(self._timeout_s)
        if failures:
            error = failures[0]
            kind = FatalError if _is_final(error) else RetryableError
            raise kind(f"{len(failures)} of {len(records)} records not written: {error.str()}")
        if acknowledged != len(records):
            raise RetryableError(f"{waiting} of {len(records)} records not acknowledged in time")

    def _produce(self, record: OutRecord, on_delivery: Callable[..., None]) -> None:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=record.partition,
                    on_delivery=on_delivery,
                )
            except BufferError:
                if time.monotonic() > deadline:
                    raise RetryableError("the producer's queue stays full") from None
                self._producer.poll(0.1)
            except KafkaException as error:
                raise FatalError(f"record cannot be produced: {error}") from error
            else:
                return


def _is_final(error: KafkaError) -> bool:
    return error.code() in (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    )


class _ProducerPart(StatelessSinkPartition[OutRecord]):
    def __init__(self, brokers: str) -> None:
        self._producer = KafkaRecordProducer(brokers)

    def write_batch(self, items: list[OutRecord]) -> None:
        self._producer.produce_all(items)


class KafkaSink(DynamicSink[OutRecord]):
    """Writes `OutRecord` items; a batch is done when all of it is acknowledged, or it raises.

    It buffers nothing between calls, so nothing can be lost between two snapshots.
    """

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _ProducerPart:
        """One producer a worker."""
        return _ProducerPart(self._brokers)
