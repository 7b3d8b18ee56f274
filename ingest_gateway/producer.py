"""Records to Kafka from an event loop: written means acknowledged by all in-sync replicas.

In: `OutRecord`s. Out: nothing, once every record is acknowledged, or an exception. What is in
flight is bounded in bytes and in records; over the bound the caller is refused at once, so that a
broker's absence cannot fill the memory.

Bridge to asyncio: once a millisecond, while something is in flight, the loop hands what has come
since to librdkafka at one go and takes its delivery reports. At one go, because its thread then
wakes up less often and sends what belongs to one partition in one request: at 4,000 records a
second 2 of 14 microseconds an event, and a quarter of what the broker spends. Polling from the loop
took 22 to 24 microseconds a record, against 29 to 33 with a poller thread (one
`call_soon_threadsafe` a poll) and 93 with `confluent_kafka.aio.AIOProducer` and batches of one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.errors import RetryableError
from connectors.kafka_log import OutRecord
from connectors.telemetry import get_logger
from schemas.topics import EVENTS_ERRORS, EVENTS_RAW, EVENTS_REJECTED

POLL_INTERVAL_S = 0.001
# Key, headers and librdkafka's own record of a message, beside the value.
RECORD_OVERHEAD_BYTES = 512
RECORD_BYTES_MAX = 4 * 1024 * 1024  # As the topics are created.
READY_CHECK_TIMEOUT_S = 2.0
# Without one of these, batches of events are refused.
NEEDED_TOPICS = (EVENTS_RAW.name, EVENTS_ERRORS.name, EVENTS_REJECTED.name)


class SinkFullError(RetryableError):
    """The bound of records in flight is reached; nothing of the call was written."""


class SinkFailedError(RetryableError):
    """At least one record was not acknowledged; any subset may have been written."""


# Called once, from the loop: with None when all records are acknowledged, else with the reason.
OnSettled = Callable[[str | None], None]


class RecordSink(Protocol):
    """Where the gateway's records go."""

    def submit(self, records: Sequence[OutRecord], on_settled: OnSettled) -> None:
        """Send at least one record, in order within a key; `on_settled` tells how it ended.

        It is called within the sink's delivery timeout, and may be called before this returns.

        Raises:
            SinkFullError: the records do not fit below the bound; none was sent.
            SinkFailedError: the sink takes no records any more; none was sent.
        """

    async def check(self) -> str | None:
        """None if records can be taken now, else one sentence why not; within two seconds."""


@dataclass(frozen=True, slots=True)
class SinkLimits:
    """Bounds of one sink."""

    bytes_in_flight_max: int = 24 * 1024 * 1024
    records_in_flight_max: int = 20_000
    delivery_timeout_s: float = 8.0
    linger_ms: float = 1.0
    compression: str = "none"


class _Delivery:
    """One call of `submit`: how many acknowledgements are missing, and what failed first."""

    __slots__ = ("failure", "missing", "on_settled", "sink", "size")

    def __init__(
        self, sink: KafkaRecordSink, missing: int, size: int, on_settled: OnSettled
    ) -> None:
        self.sink = sink
        self.missing = missing
        self.size = size
        self.on_settled = on_settled
        self.failure: str | None = None

    def on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self.failure is None:
            self.failure = error.str()
        self.settle(1)

    def settle(self, count: int) -> None:
        sink = self.sink
        self.missing -= count
        sink.records_in_flight -= count
        if self.missing == 0:
            sink.bytes_in_flight -= self.size
            self.on_settled(self.failure)


class KafkaRecordSink:
    """A `RecordSink` on one librdkafka producer; belongs to the loop that it was made in.

    `on_fatal` is called once if the client can never produce again (librdkafka's fatal errors);
    the process should then end and be started anew.
    """

    def __init__(
        self,
        brokers: str,
        limits: SinkLimits,
        on_fatal: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._on_fatal = on_fatal
        self._fatal: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[_Delivery, Sequence[OutRecord]]] = []
        self.records_in_flight = 0
        self.bytes_in_flight = 0
        timeout_ms = int(limits.delivery_timeout_s * 1000)
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # The same partition as the Java clients choose.
                "message.max.bytes": RECORD_BYTES_MAX,
                "linger.ms": limits.linger_ms,
                "delivery.timeout.ms": timeout_ms,
                "request.timeout.ms": timeout_ms,
                "socket.timeout.ms": max(timeout_ms, 1000),
                "compression.type": limits.compression,
                # Above our own bound, so that ours is met first and is told at once.
                "queue.buffering.max.messages": limits.records_in_flight_max + 1000,
                "queue.buffering.max.kbytes": limits.bytes_in_flight_max // 1024 + 8192,
                "reconnect.backoff.max.ms": 1000,  # Back within a second of the broker.
                "log_level": 0,  # One line a second per dead broker says nothing new.
                "error_cb": self._on_client_error,
            }
        )

    def submit(self, records: Sequence[OutRecord], on_settled: OnSettled) -> None:
        """See `RecordSink.submit`."""
        if self._fatal is not None:
            raise SinkFailedError(self._fatal)
        count = len(records)
        size = RECORD_OVERHEAD_BYTES * count
        for record in records:
            size += len(record.value)
        if (
            self.bytes_in_flight + size > self._limits.bytes_in_flight_max
            or self.records_in_flight + count > self._limits.records_in_flight_max
        ):
            raise SinkFullError("too much is in flight")
        self.bytes_in_flight += size
        self.records_in_flight += count
        self._waiting.append((_Delivery(self, count, size, on_settled), records))
        if self._timer is None:
            self._timer = self._loop.call_later(POLL_INTERVAL_S, self._poll)

    def _hand_over(self) -> None:
        """Give librdkafka what was submitted since the last time."""
        waiting, self._waiting = self._waiting, []
        produce = self._producer.produce
        for delivery, records in waiting:
            on_delivery = delivery.on_delivery
            for index, (topic, key, value, headers, _) in enumerate(records):
                try:
                    produce(topic, value, key, headers=list(headers), on_delivery=on_delivery)
                except (BufferError, KafkaException, NotImplementedError) as error:
                    delivery.failure = f"record not taken by the client: {error}"
                    delivery.settle(len(records) - index)
                    break

    async def check(self) -> str | None:
        """See `RecordSink.check`: the brokers answer, and have the topics of events."""
        if self._fatal is not None:
            return self._fatal
        if self.bytes_in_flight * 2 > self._limits.bytes_in_flight_max:
            return "more than half of the bound of bytes is in flight"
        try:
            # The metadata request blocks: it must not hold the loop.
            metadata = await asyncio.to_thread(
                self._producer.list_topics, timeout=READY_CHECK_TIMEOUT_S
            )
        except KafkaException as error:
            return f"no broker answers: {error.args[0].str()}"
        if not metadata.brokers:
            return "no broker answers"
        missing = [name for name in NEEDED_TOPICS if name not in metadata.topics]
        return (
            f"topic {missing[0]} does not exist; run `gosight topics create`" if missing else None
        )

    async def close(self, timeout_s: float) -> int:
        """Wait for what is in flight; return how many records were left unacknowledged."""
        deadline = time.monotonic() + timeout_s
        while self.records_in_flight and time.monotonic() < deadline:
            self._hand_over()
            self._producer.poll(0)
            await asyncio.sleep(POLL_INTERVAL_S)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left = self.records_in_flight
        if left:
            self._hand_over()
            self._producer.purge()
            self._producer.poll(0)
        self._producer.close()
        return left

    def _poll(self) -> None:
        self._hand_over()
        self._producer.poll(0)
        if self.records_in_flight:
            self._timer = self._loop.call_later(POLL_INTERVAL_S, self._poll)
        else:
            self._timer = None

    def _on_client_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._FATAL and self._fatal is None:
            self._fatal = f"the Kafka client gave up: {error.str()}"
            get_logger().critical("kafka_client_fatal", reason=error.str())
            self._on_fatal(self._fatal)
