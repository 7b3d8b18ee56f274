"""One suite over Kafka's log of states and its in-memory twin."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import stamina
from confluent_kafka import Consumer, TopicPartition

from connectors.errors import RetryableError
from connectors.kafka import KafkaPositionStore
from connectors.kafka_log import OutRecord
from connectors.kafka_state import KafkaStateLog
from connectors.memory_state import MemoryStateLog, MemoryStates
from connectors.state_log import PartChanges, StateLog
from schemas.kept_states import NOT_BEGUN, Kept, Progress
from schemas.topics import BEHAVIOUR_STATE, EVENTS_RAW, INSIGHTS
from tests.stack import RunningStack

ALL = range(EVENTS_RAW.partitions)


@dataclass
class World:
    """One implementation: a new writer, and the committed records of a run."""

    writer: Callable[[], StateLog]
    read: Callable[[str], list[bytes]]
    first_step: dict[int, int]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.integration)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Both implementations; what is kept of former tests stays in Kafka."""
    if request.param == "memory":
        kept = MemoryStates()
        yield World(
            lambda: MemoryStateLog(kept),
            lambda run: [v for v in kept.log.values(INSIGHTS.name) if v.startswith(run.encode())],
            {},
        )
        return
    brokers = request.getfixturevalue("running_stack").kafka_brokers
    group = f"contract-{uuid.uuid4()}"
    made: list[KafkaStateLog] = []

    def writer() -> KafkaStateLog:
        made.append(KafkaStateLog(brokers, group, EVENTS_RAW.name, "an id", BEHAVIOUR_STATE.name))
        return made[-1]

    # A group that is new has a coordinator only when it has been asked for.
    known = KafkaPositionStore(brokers, group)
    for attempt in stamina.retry_context(on=RetryableError, timeout=30.0):
        with attempt:
            known.load([(EVENTS_RAW.name, 0)])
    yield World(writer, lambda run: read_committed(brokers, run), {})
    for one in made:
        one.close()


def read_committed(brokers: str, run: str) -> list[bytes]:
    """Committed insights of a run, of all partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "contract",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    parts = [TopicPartition(INSIGHTS.name, number, 0) for number in range(INSIGHTS.partitions)]
    consumer.assign(parts)
    found, ended = [], 0
    while ended < len(parts):
        for message in consumer.consume(1_000, timeout=1):
            if message.error() is not None:
                ended += 1
            else:
                found.append(message.value() or b"")
    consumer.close()
    return [value for value in found if value.startswith(run.encode())]


def insight(run: str, text: str) -> OutRecord:
    """An output of a step."""
    return OutRecord(INSIGHTS.name, run.encode(), f"{run} {text}".encode())


def of_run(kept: Kept, run: str) -> dict[str, bytes]:
    """The states of one run."""
    return {key: value for key, value in kept.states.items() if key.startswith(run)}


def test_a_step_is_what_the_next_holder_goes_on_from(world: World) -> None:
    """States, tombstones, progress and outputs, of several partitions at once."""
    run = uuid.uuid4().hex
    first = world.writer()
    before = first.begin(ALL)
    step = max(kept.progress.step for kept in before.values())
    first.commit(
        [
            PartChanges(2, Progress(10, 5_000, step + 1), {f"{run}:a": b"1", f"{run}:b": b"2"}),
            PartChanges(3, Progress(20, 6_000, step + 1), {f"{run}:c": b"3"}),
        ],
        [insight(run, "one")],
    )
    first.commit(
        [PartChanges(2, Progress(11, 5_001, step + 2), {f"{run}:a": None, f"{run}:b": b"22"})],
        [insight(run, "two")],
    )
    first.leave(ALL)
    kept = world.writer().begin(ALL)
    assert of_run(kept[2], run) == {f"{run}:b": b"22"}
    assert of_run(kept[3], run) == {f"{run}:c": b"3"}
    assert kept[2].progress == Progress(11, 5_001, step + 2)
    assert kept[3].progress == Progress(20, 6_000, step + 1)
    assert sorted(world.read(run)) == [f"{run} one".encode(), f"{run} two".encode()]


def test_who_was_succeeded_can_write_no_more(world: World) -> None:
    """Until it asks to be ready again, which a writer does before it looks at its claims."""
    run = uuid.uuid4().hex
    first, second = world.writer(), world.writer()
    step = first.begin(ALL)[1].progress.step
    first.commit([PartChanges(1, Progress(1, 1, step + 1), {f"{run}:a": b"1"})], [])
    kept = second.begin(ALL)
    assert of_run(kept[1], run) == {f"{run}:a": b"1"}
    with pytest.raises(RetryableError):
        first.commit(
            [PartChanges(1, Progress(2, 2, step + 2), {f"{run}:a": b"late"})],
            [insight(run, "late")],
        )
    second.commit(
        [PartChanges(1, Progress(2, 2, step + 2), {f"{run}:a": b"2"})], [insight(run, "right")]
    )
    second.leave(ALL)
    assert of_run(world.writer().begin(ALL)[1], run) == {f"{run}:a": b"2"}
    assert world.read(run) == [f"{run} right".encode()]


def test_who_was_shut_out_of_one_partition_keeps_the_others(world: World) -> None:
    """It is ready again at once, and its failed step is written once."""
    run = uuid.uuid4().hex
    first, second = world.writer(), world.writer()
    step = first.begin(ALL)[4].progress.step
    second.begin([5])
    change = PartChanges(4, Progress(9, 9, step + 1), {f"{run}:a": b"1"})
    with pytest.raises(RetryableError):
        first.commit([change], [insight(run, "once")])
    first.ready()
    first.commit([change], [insight(run, "once")])
    assert world.read(run) == [f"{run} once".encode()]
    assert of_run(world.writer().begin([4])[4], run) == {f"{run}:a": b"1"}


def test_a_step_not_heard_of_is_written_once(world: World) -> None:
    """Committed, and the answer lost: the repetition finds it in the log."""
    run = uuid.uuid4().hex
    writer = world.writer()
    step = writer.begin(ALL)[6].progress.step
    change = PartChanges(6, Progress(3, 3, step + 1), {f"{run}:a": b"1"})
    if isinstance(writer, MemoryStateLog):
        writer.failures = ["after"]
        with pytest.raises(RetryableError):
            writer.commit([change], [insight(run, "once")])
    else:
        assert isinstance(writer, KafkaStateLog)
        writer.commit([change], [insight(run, "once")])
        writer._producer, writer._is_unsure = None, True
    writer.ready()
    writer.commit([change], [insight(run, "once")])
    later = PartChanges(6, Progress(4, 4, step + 2), {f"{run}:a": None})
    writer.commit([later], [insight(run, "twice")])
    assert sorted(world.read(run)) == [f"{run} once".encode(), f"{run} twice".encode()]


def test_a_partition_without_states_begins_at_the_beginning(world: World) -> None:
    """Where nothing was written, nothing is known."""
    kept = world.writer().begin([11])
    assert kept[11].progress.next_offset == NOT_BEGUN.next_offset or kept[11].progress.step > 0


@pytest.mark.integration
def test_what_is_told_is_told_until_it_is_known(running_stack: RunningStack) -> None:
    """As often as it takes: the answer comes later, and may not come at all."""
    brokers, group = running_stack.kafka_brokers, f"contract-{uuid.uuid4()}"
    log = KafkaStateLog(brokers, group, EVENTS_RAW.name, "an id", BEHAVIOUR_STATE.name)
    step = log.begin([4, 5])[4].progress.step
    log.commit([PartChanges(4, Progress(17, 1_000, step + 1), {})], [])
    asker = Consumer({"bootstrap.servers": brokers, "group.id": group})

    def known() -> int:
        (found,) = asker.committed([TopicPartition(EVENTS_RAW.name, 4)], timeout=10)
        return int(found.offset)

    deadline = time.monotonic() + 20
    while known() != 17 and time.monotonic() < deadline:
        log.tell([4, 5])
        time.sleep(0.05)
    assert known() == 17
    while log._told.untold([4]) and time.monotonic() < deadline:
        log.tell([4, 5])
        time.sleep(0.05)
    assert log._told.untold([4]) == {}
    asker.close()
    log.close()
