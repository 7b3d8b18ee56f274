"""Topics as the registry wants them: created once, compared at start.

Automatic creation stays off in the cluster: a misspelt name must fail, not become a topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.errors import FatalError, RetryableError
from schemas.topics import BEHAVIOUR_STATE, EVENTS_RAW, TOPICS, Topic

AnswerT = TypeVar("AnswerT")

# The client ends a request itself, and says why; until it has done so it is not given up.
_MARGIN_S = 1.0

# A holder of a partition reads all of it when it begins: what is out of date must go soon. Only
# closed segments are compacted, so they are small and closed after ten minutes; a tombstone stays
# for longer than any reader needs.
_COMPACTION = {
    "segment.bytes": str(8 * 1024 * 1024),
    "segment.ms": str(10 * 60_000),
    "min.cleanable.dirty.ratio": "0.3",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": str(15 * 60_000),
    "delete.retention.ms": str(10 * 60_000),
}


def ensure_topics(
    brokers: str, *, replication: int = 1, min_insync_replicas: int = 1, timeout_s: float = 30.0
) -> list[str]:
    """Create the registry's topics that do not exist; return the names created.

    Raises:
        RetryableError: no broker answers.
        FatalError: the cluster refuses a topic (for example fewer brokers than `replication`).
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 2})
    try:
        existing = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise RetryableError(f"no Kafka broker answers: {error}") from error
    missing = [topic for topic in TOPICS if topic.name not in existing]
    if not missing:
        return []
    futures = admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=topic.partitions,
                replication_factor=replication,
                config={
                    **_topic_config(topic),
                    "max.message.bytes": str(topic.max_message_bytes),
                    "min.insync.replicas": str(min_insync_replicas),
                },
            )
            for topic in missing
        ],
        operation_timeout=timeout_s,
    )
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise FatalError(f"cannot create topic {name}: {error}") from error
    return [topic.name for topic in missing]


def _topic_config(topic: Topic) -> dict[str, str]:
    if topic.cleanup == "delete":
        return {"retention.ms": str(topic.retention_ms)}
    return {"cleanup.policy": topic.cleanup, **_COMPACTION}


@dataclass(frozen=True, slots=True)
class LiveTopic:
    """A topic as the cluster has it; the id is given once and never again."""

    topic_id: str
    partitions: tuple[int, ...]


def _answer(future: Future[AnswerT], timeout_s: float) -> AnswerT:
    """What a request brought that ends by itself after `timeout_s`.

    Raises:
        KafkaException: it failed.
        RetryableError: it did not even end.
    """
    try:
        return future.result(timeout=timeout_s + _MARGIN_S)
    except TimeoutError as error:
        raise RetryableError("no Kafka broker answers in time") from error


def read_topics(
    brokers: str, names: Sequence[str], timeout_s: float = 10.0
) -> dict[str, LiveTopic]:
    """What the cluster knows of these topics.

    Raises:
        FatalError: a topic does not exist.
        RetryableError: no broker answers.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 2})
    futures = admin.describe_topics(
        TopicCollection(topic_names=list(names)), request_timeout=timeout_s
    )
    found = {}
    for name, future in futures.items():
        try:
            topic = _answer(future, timeout_s)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise FatalError(
                    f"topic {name} does not exist; run `gosight topics create`"
                ) from error
            raise RetryableError(f"no Kafka broker answers: {error}") from error
        partitions = tuple(sorted(partition.id for partition in topic.partitions))
        found[name] = LiveTopic(str(topic.topic_id), partitions)
    return found


def partition_faults(counts: Mapping[str, int]) -> list[str]:
    """One sentence per topic that has too few partitions; some may have been added to any.

    States of sessions are in the partition of the number of their events' one.
    """
    raw = max(EVENTS_RAW.partitions, counts.get(EVENTS_RAW.name, 0))
    least = {topic.name: topic.partitions for topic in TOPICS} | {BEHAVIOUR_STATE.name: raw}
    return [
        f"{name} has {count} partitions instead of {least[name]}"
        for name, count in counts.items()
        if count < least[name]
    ]


def check_topics(
    brokers: str, timeout_s: float = 10.0, *, replication: int = 1, min_insync_replicas: int = 1
) -> list[str]:
    """Compare the cluster's topics with the registry; return one sentence per difference.

    More partitions or copies than asked for, or room for larger records, are no difference.

    Raises:
        RetryableError: no broker answers.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 2})
    try:
        existing = admin.list_topics(timeout=timeout_s).topics
        wanted = [topic for topic in TOPICS if topic.name in existing]
        resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in wanted]
        configs = admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}
        found = {resource.name: _answer(future, timeout_s) for resource, future in configs.items()}
    except KafkaException as error:
        raise RetryableError(f"no Kafka broker answers: {error}") from error
    faults = partition_faults(
        {topic.name: len(existing[topic.name].partitions) for topic in wanted}
    )
    for topic in TOPICS:
        if topic.name not in existing:
            faults.append(f"topic {topic.name} does not exist")
            continue
        partitions = existing[topic.name].partitions
        copies = min((len(one.replicas) for one in partitions.values()), default=0)
        if copies < replication:
            faults.append(f"{topic.name} has {copies} copies instead of {replication}")
        for name in ("cleanup.policy", "retention.ms"):
            wanted_value = {"cleanup.policy": "delete", **_topic_config(topic)}.get(name)
            value = found[topic.name][name].value
            if wanted_value is not None and value != wanted_value:
                faults.append(f"{topic.name} has {name} {value} instead of {wanted_value}")
        at_least = {
            "min.insync.replicas": min_insync_replicas,
            "max.message.bytes": topic.max_message_bytes,
        }
        for name, number in at_least.items():
            value = found[topic.name][name].value
            if int(value) < number:
                faults.append(f"{topic.name} has {name} {value} instead of {number}")
    return faults
