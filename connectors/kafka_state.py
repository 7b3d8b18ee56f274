"""States in a compacted Kafka topic, written in transactions.

In: steps. Out: one transaction a step, over the states' topic and all others; partition n of the
states belongs to partition n of the source. It is open only while it is being committed.

Who takes a partition over must not wait for the transaction of a killed process to time out, which
takes up to 20 s, nor may a frozen one wake up and commit. So each process has a transactional id of
its own, and notes it in the metadata of the group's offsets of its partitions before it reads their
states. The next holder finds the note and opens that id anew, which aborts what was open and shuts
its writer out at once. Who leaves in good order takes its note back.

The group's offsets themselves are only for lag tools: how far a partition is stands in its states.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from prometheus_client import Counter, Histogram

from connectors.errors import FatalError, RetryableError
from connectors.kafka_log import OutRecord
from connectors.kafka_offsets import EARLIEST, LATEST, KafkaOffsets
from connectors.kafka_producer import producer_config
from connectors.state_log import PartChanges
from connectors.telemetry import get_logger
from schemas.kept_states import (
    NOT_BEGUN,
    PROGRESS_KEY,
    Kept,
    Progress,
    decode_progress,
    encode_progress,
)

# Shorter than the 10 s for which a claim is sure without being confirmed (`connectors.claims`).
TRANSACTION_TIMEOUT_MS = 9_000
DELIVERY_TIMEOUT_MS = 8_000
CALL_TIMEOUT_S = 10.0
# A transaction whose id is not noted ends by itself: its timeout, and the broker looks every 10 s.
READ_TIMEOUT_S = 30.0
TELL_EVERY_S = 1.0
_READ_RECORDS = 10_000

TRANSACTIONS = Counter(
    "gosight_flow_transactions_total",
    "Steps by their transaction: committed, aborted, unknown (found out before the next).",
    ["group", "outcome"],
)
TRANSACTION_SECONDS = Histogram(
    "gosight_flow_transaction_duration_seconds",
    "Time from the first record of a step to its commit.",
    ["group"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
FENCED = Counter(
    "gosight_flow_writers_fenced_total",
    "Writers that had not left in good order and were shut out by their successor.",
    ["group"],
)


class ToldOffsets:
    """How far partitions are, and how far the broker has confirmed that it was told.

    What is told without waiting may be lost with a broker, and nothing may come for hours that
    would be told after it. So it is told until it is confirmed.
    """

    def __init__(self) -> None:
        self._reached: dict[int, int] = {}
        self._confirmed: dict[int, int] = {}

    def reach(self, partition: int, offset: int) -> None:
        """Everything before `offset` is stored."""
        self._reached[partition] = offset

    def note(self, offsets: Mapping[int, int]) -> None:
        """The broker has these now."""
        self._confirmed.update(offsets)

    def untold(self, partitions: Sequence[int]) -> dict[int, int]:
        """Those of these partitions that the broker does not know to be where they are."""
        reached, confirmed = self._reached, self._confirmed
        return {
            n: reached[n] for n in partitions if n in reached and reached[n] != confirmed.get(n)
        }

    def forget(self, partitions: Sequence[int]) -> None:
        """These partitions have come or gone: what was said of them is of another time."""
        for number in partitions:
            self._reached.pop(number, None)
            self._confirmed.pop(number, None)


class KafkaStateLog:
    """A `StateLog` for one thread; `source_id` is the id of the source topic, for ever its own."""

    def __init__(self, brokers: str, group: str, source: str, source_id: str, states: str) -> None:
        self._brokers = brokers
        self._group = group
        self._source = source
        self._source_id = source_id
        self._states = states
        self._writer = f"{group}-{uuid.uuid4()}"
        self._common: dict[str, Any] = {"bootstrap.servers": brokers, "log_level": 2}
        self._asked = KafkaOffsets(brokers)
        self._told = ToldOffsets()
        self._offsets = Consumer(
            {
                **self._common,
                "group.id": group,
                "enable.auto.commit": False,
                "on_commit": self._note_answer,
            }
        )
        self._producer: Producer | None = None
        self._is_unsure = False
        self._told_at = 0.0

    def begin(self, partitions: Sequence[int]) -> Mapping[int, Kept]:
        """See `StateLog.begin`."""
        self.ready()
        self._told.forget(partitions)
        for writer in sorted(self._take_notes(partitions)):
            self._shut_out(writer)
        return self._read(partitions)

    def ready(self) -> None:
        """See `StateLog.ready`."""
        if self._producer is None:
            self._producer = self._open(self._writer)

    def commit(self, changes: Sequence[PartChanges], records: Sequence[OutRecord]) -> None:
        """See `StateLog.commit`."""
        if self._is_unsure and changes and self._is_stored(changes[0]):
            get_logger().info("step_was_committed", partition=changes[0].partition)
        else:
            self._is_unsure = False
            with TRANSACTION_SECONDS.labels(self._group).time():
                self._write(changes, records)
        self._is_unsure = False
        TRANSACTIONS.labels(self._group, "committed").inc()
        for one in changes:
            self._told.reach(one.partition, one.progress.next_offset)

    def tell(self, partitions: Sequence[int]) -> None:
        """See `StateLog.tell`."""
        if time.monotonic() - self._told_at < TELL_EVERY_S:
            return
        self._told_at = time.monotonic()
        self._offsets.poll(0)  # Hands over the answers.
        self._note(self._told.untold(partitions), self._writer, wait=False)

    def _note_answer(self, error: KafkaError | None, told: list[TopicPartition]) -> None:
        if error is None:
            self._told.note({one.partition: one.offset for one in told if one.error is None})

    def leave(self, partitions: Sequence[int]) -> None:
        """See `StateLog.leave`."""
        offsets = {
            number: entry.offset
            for number, entry in self._notes(partitions).items()
            if entry.metadata == self._writer
        }
        offsets.update(self._told.untold(partitions))
        self._told.forget(partitions)
        self._note(offsets, "", wait=True)

    def _write(self, changes: Sequence[PartChanges], records: Sequence[OutRecord]) -> None:
        producer = self._producer
        if producer is None:
            raise RetryableError("the last step failed: the writer is not ready")
        try:
            producer.begin_transaction()
            for change in changes:
                number = change.partition
                for key, value in change.states.items():
                    _produce(producer, self._states, key.encode(), value, number)
                progress = encode_progress(change.progress, self._source_id)
                _produce(producer, self._states, PROGRESS_KEY, progress, number)
            for record in records:
                _produce(producer, record.topic, record.key, record.value)
            _commit(producer)
        except KafkaException as error:
            raise self._failed(producer, error) from error

    def _failed(self, producer: Producer, error: KafkaException) -> Exception:
        """Undo what was begun; what cannot be undone is found out before the step is repeated."""
        fault: KafkaError = error.args[0]
        outcome = "unknown"
        if fault.txn_requires_abort() or fault.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            try:
                producer.abort_transaction(CALL_TIMEOUT_S)
                outcome = "aborted"
            except KafkaException:
                get_logger().warning("transaction_not_aborted", reason=fault.name())
        if outcome == "unknown":
            self._producer = None
            self._is_unsure = True
        TRANSACTIONS.labels(self._group, outcome).inc()
        if fault.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return FatalError(f"a record of a step is too large: {fault.str()}")
        return RetryableError(f"a step was not committed: {fault.name()}: {fault.str()}")

    def _is_stored(self, change: PartChanges) -> bool:
        """Whether a step that was not heard of again was committed; all of it was, or nothing."""
        found = self._read([change.partition])[change.partition]
        return found.progress.step >= change.progress.step

    def _open(self, writer: str) -> Producer:
        """A producer of this id; whoever had the id before can write no more."""
        producer = Producer(
            {
                **producer_config(self._brokers),
                "transactional.id": writer,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
                "compression.type": "lz4",
            }
        )
        try:
            producer.init_transactions(CALL_TIMEOUT_S)
        except KafkaException as error:
            raise RetryableError(f"Kafka opens no transactions: {error.args[0].str()}") from error
        return producer

    def _shut_out(self, writer: str) -> None:
        self._open(writer)
        FENCED.labels(self._group).inc()
        get_logger().info("writer_shut_out", writer=writer)

    def _take_notes(self, partitions: Sequence[int]) -> set[str]:
        """Note this writer at the partitions; return the writers that were noted there."""
        notes = self._notes(partitions)
        unknown = [number for number in partitions if number not in notes]
        offsets = {number: entry.offset for number, entry in notes.items()}
        offsets.update(self._ends(self._source, unknown, EARLIEST))
        writers = {entry.metadata or "" for entry in notes.values()} - {"", self._writer}
        self._note(offsets, self._writer, wait=True)
        # Not what another tool may have written there.
        return {writer for writer in writers if writer.startswith(self._group)}

    def _notes(self, partitions: Sequence[int]) -> dict[int, TopicPartition]:
        wanted = [TopicPartition(self._source, number) for number in partitions]
        try:
            found = self._offsets.committed(wanted, timeout=CALL_TIMEOUT_S)
        except KafkaException as error:
            raise RetryableError(f"cannot read the group's offsets: {error}") from error
        for entry in found:
            if entry.error is not None:
                raise RetryableError(f"cannot read the group's offsets: {entry.error}")
        return {entry.partition: entry for entry in found if entry.offset >= 0}

    def _note(self, offsets: Mapping[int, int], writer: str, *, wait: bool) -> None:
        if not offsets:
            return
        wanted = [TopicPartition(self._source, n, at, writer) for n, at in offsets.items()]
        try:
            if not wait:
                self._offsets.commit(offsets=wanted, asynchronous=True)
                return
            results = self._offsets.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            if not wait:
                return  # Said again in a second.
            raise RetryableError(f"cannot commit the group's offsets: {error}") from error
        for result in results or ():
            if result.error is not None:
                raise RetryableError(f"cannot commit the group's offsets: {result.error}")

    def _ends(self, topic: str, partitions: Sequence[int], spec: Any) -> dict[int, int]:
        """Where partitions begin or end, open transactions included."""
        if not partitions:
            return {}
        try:
            found = self._asked.ask([(topic, n) for n in partitions], spec, CALL_TIMEOUT_S)
        except KafkaException as error:
            raise RetryableError(f"cannot read where {topic} ends: {error}") from error
        return {number: offset for (_, number), offset in found.items()}

    def _read(self, partitions: Sequence[int]) -> dict[int, Kept]:
        """All that is committed, as of now: what is open is waited for."""
        ends = {n: end for n, end in self._ends(self._states, partitions, LATEST).items() if end}
        states: dict[int, dict[str, bytes]] = {number: {} for number in partitions}
        progress = dict.fromkeys(partitions, NOT_BEGUN)
        consumer = Consumer(
            {
                **self._common,
                "group.id": self._group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 32 * 1024,
                # Its default of a second is what reading would mostly wait for.
                "fetch.queue.backoff.ms": 5,
                "fetch.wait.max.ms": 50,
            }
        )
        deadline = time.monotonic() + READ_TIMEOUT_S
        try:
            consumer.assign([TopicPartition(self._states, n, OFFSET_BEGINNING) for n in ends])
            while ends:
                if time.monotonic() > deadline:
                    raise RetryableError("a transaction on the states does not come to its end")
                for message in consumer.consume(_READ_RECORDS, timeout=0.1):
                    number, key, value = message.partition(), message.key(), message.value()
                    fault = message.error()
                    assert number is not None
                    if fault is not None:
                        self._raise_unless_end(fault)
                        if number in ends and (message.offset() or 0) >= ends[number]:
                            del ends[number]
                    elif key == PROGRESS_KEY:
                        progress[number] = self._progress(value or b"")
                    elif key is not None and value is not None:
                        states[number][key.decode()] = value
                    elif key is not None:
                        states[number].pop(key.decode(), None)
        finally:
            consumer.close()
        return {number: Kept(progress[number], states[number]) for number in partitions}

    def _progress(self, value: bytes) -> Progress:
        try:
            return decode_progress(value, self._source_id)
        except msgspec.DecodeError as error:
            raise FatalError(f"{self._states} holds what this version cannot read") from error

    @staticmethod
    def _raise_unless_end(fault: KafkaError) -> None:
        if fault.code() == KafkaError._PARTITION_EOF:
            return
        if fault.fatal() or fault.code() in (
            KafkaError._UNKNOWN_PARTITION,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
        ):
            raise FatalError(f"Kafka refuses to give the states: {fault.str()}")

    def close(self) -> None:
        """Close the connections; nothing can be written afterwards."""
        self._producer = None
        self._offsets.close()


def _produce(
    producer: Producer, topic: str, key: bytes, value: bytes | None, partition: int = -1
) -> None:
    deadline = time.monotonic() + CALL_TIMEOUT_S
    while True:
        try:
            producer.produce(topic, key=key, value=value, partition=partition)
        except BufferError:
            if time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
            producer.poll(0.05)
        else:
            return


def _commit(producer: Producer) -> None:
    deadline = time.monotonic() + CALL_TIMEOUT_S
    while True:
        try:
            producer.commit_transaction(CALL_TIMEOUT_S)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
        else:
            return
