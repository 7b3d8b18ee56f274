"""Kafka for dataflows: a source that never skips and positions that say what is stored.

In: the partitions that this process holds. Out: `PolledBatch` items, one item a partition and
gathering, so that the engine's cost is paid once for hundreds of records. Guarantees:

- One consumer serves all partitions of a process (one each would cost five threads each and 1 ms
  of blocking per idle partition and poll).
- Partitions come and go while the flow runs; a batch carries the number of the holding it was
  read under, so that what was read of a partition that is gone can be told.
- A position that has left the topic's retention stops the flow with a clear message instead of
  jumping over the hole (`auto.offset.reset=error`).
- Positions are commits of the consumer group, so that lag tools see them; the commit's metadata
  names the block that is being written (see `Begun`), for all its partitions in one request,
  which Kafka takes as a whole.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.claims import Claims
from connectors.errors import FatalError, RetryableError
from connectors.kafka_log import Begun, BlockName, Part, PartOwner, Position, Span
from connectors.telemetry import get_logger
from schemas.log import Fetched, PolledBatch

T = TypeVar("T")

EVENT_COUNT_HEADER = "events"
EVENT_COUNT_MAX = 2**31 - 1
# librdkafka may hold this much unread data per partition; its default of 64 MB times twelve
# partitions is more than a whole flow should use.
QUEUED_KBYTES_MAX = 8 * 1024
IDLE_WAIT = timedelta(milliseconds=25)
CALL_TIMEOUT_S = 10.0
# Records wait this long for others of their partition, so that few batches go through the engine.
GATHER_S = 0.1
NEW_PARTS_WAIT_S = 0.2
RANGE_READ_TIMEOUT_S = 30.0


# Called with a partition that is fetched to its end, the offset after the last record that was
# fetched (-1: none was), and where the end is: behind that are marks of transactions only.
OnEnd = Callable[[Part, int, int], None]


class _Outage:
    """Says once that the brokers are away, and once that they are back."""

    def __init__(self) -> None:
        self._is_away = False

    def note_error(self, error: KafkaError) -> None:
        """What librdkafka tells of its connections; it goes on trying by itself."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._is_away:
            self._is_away = True
            get_logger().warning("kafka_away", reason=error.str())

    def note_record(self) -> None:
        """Something was read."""
        if self._is_away:
            self._is_away = False
            get_logger().info("kafka_back")


def _consumer_config(brokers: str, group: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": brokers,
        "log_level": 2,  # What goes wrong is raised or logged by us, as JSON.
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": QUEUED_KBYTES_MAX,
        "fetch.wait.max.ms": 100,
        "fetch.error.backoff.ms": 100,
        "fetch.queue.backoff.ms": 20,  # By default a full queue is not filled again for a second.
        "isolation.level": "read_committed",
    }


@dataclass
class _Queue:
    """What was fetched of one partition and not yet handed out."""

    part: Part
    epoch: int
    records: deque[Fetched] = field(default_factory=deque)
    fetched_to: int = -1  # After the last record that was fetched.


class _PartConsumer:
    """The one consumer behind all partitions of a process; used from one thread only."""

    def __init__(
        self, brokers: str, group: str, poll_records: int, on_end: OnEnd | None = None
    ) -> None:
        self._outage = _Outage()
        self._consumer = Consumer(
            {
                **_consumer_config(brokers, group),
                "error_cb": self._outage.note_error,
                "enable.partition.eof": on_end is not None,
            }
        )
        self._on_end = on_end
        self._poll_records = poll_records
        self.queues: dict[Part, _Queue] = {}

    def add(self, part: Part, epoch: int, offset: int) -> None:
        self.queues[part] = _Queue(part, epoch)
        self._consumer.incremental_assign([TopicPartition(*part, offset)])

    def remove(self, part: Part) -> None:
        """Stop reading a partition; what was fetched of it is forgotten."""
        del self.queues[part]
        self._consumer.incremental_unassign([TopicPartition(*part)])

    def close(self) -> None:
        self._consumer.close()

    def fill(self) -> None:
        """Fetch what has arrived, without waiting, into the partitions' queues."""
        if self._is_full():
            return
        for message in self._consumer.consume(self._poll_records, timeout=0):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                self._note_end(message)
                continue
            if error is not None:
                _raise_consumer_error(error)
                continue
            self._outage.note_record()
            queue = self.queues.get((_known(message.topic()), _known(message.partition())))
            if queue is not None:
                queue.records.append(_fetched(message))
                queue.fetched_to = _known(message.offset()) + 1

    def _note_end(self, message: Message) -> None:
        part = (_known(message.topic()), _known(message.partition()))
        queue = self.queues.get(part)
        if queue is not None and self._on_end is not None:
            self._on_end(part, queue.fetched_to, _known(message.offset()))

    def _is_full(self) -> bool:
        """What one busy partition brings must not pile up while the idle ones ask for more."""
        waiting = sum(len(queue.records) for queue in self.queues.values())
        return waiting >= self._poll_records * (len(self.queues) + 1)


def _fetched(message: Message) -> Fetched:
    return Fetched(
        _known(message.offset()),
        message.value() or b"",
        message.key() or b"",
        message.timestamp()[1],
        _event_count(message),
    )


def _raise_consumer_error(error: KafkaError) -> None:
    code = error.code()
    if code == KafkaError._AUTO_OFFSET_RESET:
        raise FatalError(
            f"the stored position is outside of the topic's retention ({error.str()}). Records "
            "may be gone: nothing was skipped. Count what is missing, then go on from the earliest "
            "record by resetting the group's offsets to it (docs/operations.md says how)."
        )
    if error.fatal() or code in (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
    ):
        raise FatalError(f"Kafka refuses to be read: {error.str()}")
    # All else (brokers down, time-outs) is librdkafka's business: it goes on trying by itself.
    get_logger().warning("kafka_consumer_error", reason=error.name(), detail=error.str())


def _known(value: T | None) -> T:
    """A field that a delivered message always has."""
    assert value is not None
    return value


def _event_count(message: Message) -> int:
    for header in message.headers() or ():
        name, value = header[0], header[1]
        if name == EVENT_COUNT_HEADER and value is not None and value.isdigit():
            return min(int(value), EVENT_COUNT_MAX)
    return 1


class _SourcePart(StatelessSourcePartition[PolledBatch]):
    def __init__(
        self,
        consumer: _PartConsumer,
        claims: Claims,
        owner: PartOwner,
        batch_records: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._consumer = consumer
        self._claims = claims
        self._owner = owner
        self._batch_records = batch_records
        self._is_stopping = is_stopping
        self._handed_at = 0.0
        self._asked_at = 0.0
        self._wake_at: datetime | None = None

    def next_batch(self) -> list[PolledBatch]:
        if self._is_stopping():
            raise StopIteration
        self._follow_claims()
        self._consumer.fill()
        batches = list(self._take())
        self._wake_at = None if batches else datetime.now(UTC) + IDLE_WAIT
        return batches

    def _follow_claims(self) -> None:
        """Let go of what is gone or asked for, and begin what is new."""
        queues = self._consumer.queues
        held = self._claims.held()
        back = [part for part in self._claims.asked_back() if part in queues]
        gone = [part for part, queue in queues.items() if held.get(part) != queue.epoch]
        if back or gone:
            for part in {*back, *gone}:
                self._consumer.remove(part)
            self._owner.end_parts([*{*back, *gone}])
        asked = self._claims.asked_back()
        if asked:
            self._claims.give_back(asked)
            held = self._claims.held()
        new = [part for part in held if part not in queues]
        if new and time.monotonic() - self._asked_at >= NEW_PARTS_WAIT_S:
            for part, offset in self._owner.begin_parts(new).items():
                self._consumer.add(part, held[part], offset)
            self._asked_at = time.monotonic()

    def _take(self) -> Iterator[PolledBatch]:
        """Hand out full batches at once, others when they have waited."""
        now = time.monotonic()
        is_time = now - self._handed_at >= GATHER_S
        for queue in self._consumer.queues.values():
            records = queue.records
            if len(records) >= self._batch_records or (records and is_time):
                taken = [records.popleft() for _ in range(min(len(records), self._batch_records))]
                yield PolledBatch.of(*queue.part, taken, epoch=queue.epoch)
        if is_time:
            self._handed_at = now

    def next_awake(self) -> datetime | None:
        return self._wake_at

    def close(self) -> None:
        parts = list(self._consumer.queues)
        self._consumer.close()
        self._owner.end_parts(parts)


class _NoPart(StatelessSourcePartition[PolledBatch]):
    def next_batch(self) -> list[PolledBatch]:
        raise StopIteration


class KafkaSource(DynamicSource[PolledBatch]):
    """Reads the partitions that `claims` holds, from where `owner` says.

    One worker of a process reads, whatever their number. `is_stopping` ends the input when it
    turns true, so that the flow drains.
    """

    def __init__(
        self,
        brokers: str,
        group: str,
        claims: Claims,
        owner: PartOwner,
        *,
        batch_records: int = 500,
        is_stopping: Callable[[], bool] = lambda: False,
        on_end: OnEnd | None = None,
    ) -> None:
        self._brokers = brokers
        self._group = group
        self._claims = claims
        self._owner = owner
        self._batch_records = batch_records
        self._is_stopping = is_stopping
        self._on_end = on_end

    def build(
        self, _step_id: str, worker_index: int, _worker_count: int
    ) -> StatelessSourcePartition[PolledBatch]:
        """The reading part for the first worker."""
        if worker_index != 0:
            return _NoPart()
        consumer = _PartConsumer(self._brokers, self._group, self._batch_records, self._on_end)
        return _SourcePart(
            consumer, self._claims, self._owner, self._batch_records, self._is_stopping
        )


class KafkaSpanReader:
    """Reads spans with a consumer of its own; see `SpanReader`."""

    def __init__(self, brokers: str, group: str) -> None:
        self._config = {**_consumer_config(brokers, group), "enable.partition.eof": True}

    def read(self, spans: Sequence[Span]) -> Sequence[PolledBatch]:
        """See `SpanReader.read`."""
        found: dict[Part, list[Fetched]] = {span.part: [] for span in spans}
        ends = {span.part: span.last_offset for span in spans}
        consumer = Consumer(self._config)
        deadline = time.monotonic() + RANGE_READ_TIMEOUT_S
        try:
            consumer.assign([TopicPartition(s.topic, s.partition, s.first_offset) for s in spans])
            while ends:
                if time.monotonic() > deadline:
                    raise RetryableError("Kafka does not give the records of a begun block")
                for message in consumer.consume(500, timeout=0.1):
                    error = message.error()
                    part = (_known(message.topic()), _known(message.partition()))
                    if error is not None and error.code() == KafkaError._PARTITION_EOF:
                        ends.pop(part, None)
                    elif error is not None:
                        _raise_consumer_error(error)
                    elif part in ends:
                        offset = _known(message.offset())
                        if offset <= ends[part]:
                            found[part].append(_fetched(message))
                        if offset >= ends[part]:
                            del ends[part]
        finally:
            consumer.close()
        return [PolledBatch.of(*part, records) for part, records in found.items() if records]


class _Note(msgspec.Struct, omit_defaults=True):
    """A commit's metadata: `Begun` as JSON."""

    at_ms: int
    leader: tuple[str, int]
    spans: list[tuple[str, int, int, int]] = []


_NOTE = msgspec.json.Decoder(_Note)


def _note_of(begun: Begun) -> str:
    spans = begun.block.spans if begun.block is not None else ()
    note = _Note(
        begun.at_ms,
        begun.leader,
        [(s.topic, s.partition, s.first_offset, s.last_offset) for s in spans],
    )
    return msgspec.json.encode(note).decode()


def _begun_of(text: str, part: Part, offset: int) -> Begun | None:
    if text.isdigit():  # Version 1 noted the last offset of a block of one partition.
        return Begun(part, 0, BlockName((Span(*part, offset, int(text)),)))
    try:
        note = _NOTE.decode(text)
    except msgspec.DecodeError:
        return None  # No note, or another tool's words.
    spans = tuple(Span(*span) for span in note.spans)
    return Begun(note.leader, note.at_ms, BlockName(spans) if spans else None)


class KafkaPositionStore:
    """Positions as commits of a consumer group; the begun block is in the commits' metadata."""

    def __init__(self, brokers: str, group: str) -> None:
        self._consumer = Consumer(_consumer_config(brokers, group))
        self._lock = threading.Lock()

    def load(self, parts: Sequence[Part]) -> Mapping[Part, Position]:
        """See `PositionStore.load`."""
        wanted = [TopicPartition(*part) for part in parts]
        with self._lock:
            try:
                found = self._consumer.committed(wanted, timeout=CALL_TIMEOUT_S)
            except KafkaException as error:
                raise RetryableError(f"cannot read the group's offsets: {error}") from error
        positions = {}
        for entry in found:
            if entry.error is not None:
                raise RetryableError(f"cannot read the group's offsets: {entry.error}")
            if entry.offset >= 0:
                part = (entry.topic, entry.partition)
                begun = _begun_of(entry.metadata or "", part, entry.offset)
                positions[part] = Position(entry.offset, begun)
        return positions

    def begin(self, block: BlockName, at_ms: int) -> None:
        """See `PositionStore.begin`."""
        offsets: list[TopicPartition] = []
        for span in block.spans:
            is_leader = span.part == block.leader
            note = _note_of(Begun(block.leader, at_ms, block if is_leader else None))
            offsets.append(TopicPartition(*span.part, span.first_offset, note))
        self._commit(offsets)

    def finish(self, block: BlockName) -> None:
        """See `PositionStore.finish`."""
        self._commit([TopicPartition(*s.part, s.last_offset + 1, "") for s in block.spans])

    def _commit(self, offsets: list[TopicPartition]) -> None:
        with self._lock:
            try:
                results = self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                raise RetryableError(f"cannot commit the group's offsets: {error}") from error
        for result in results or ():
            if result.error is not None:
                raise RetryableError(f"cannot commit the group's offsets: {result.error}")

    def close(self) -> None:
        """Close the connection; the store cannot be used afterwards."""
        self._consumer.close()
