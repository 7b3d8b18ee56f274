"""Topics as the registry wants them: created once, compared at start.

Automatic creation stays off in the cluster: a misspelt name must fail, not become a topic.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.errors import FatalError, RetryableError
from schemas.topics import TOPICS


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
                    "retention.ms": str(topic.retention_ms),
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


def check_topics(brokers: str, timeout_s: float = 10.0) -> list[str]:
    """Compare the cluster's topics with the registry; return one sentence per difference.

    Raises:
        RetryableError: no broker answers.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 2})
    try:
        existing = admin.list_topics(timeout=timeout_s).topics
        wanted = [topic for topic in TOPICS if topic.name in existing]
        resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in wanted]
        configs = admin.describe_configs(resources) if resources else {}
        retention = {
            resource.name: int(future.result(timeout=timeout_s)["retention.ms"].value)
            for resource, future in configs.items()
        }
    except KafkaException as error:
        raise RetryableError(f"no Kafka broker answers: {error}") from error
    faults = []
    for topic in TOPICS:
        if topic.name not in existing:
            faults.append(f"topic {topic.name} does not exist")
            continue
        partitions = len(existing[topic.name].partitions)
        if partitions != topic.partitions:
            faults.append(f"{topic.name} has {partitions} partitions instead of {topic.partitions}")
        if retention[topic.name] != topic.retention_ms:
            faults.append(
                f"{topic.name} keeps {retention[topic.name]} ms instead of {topic.retention_ms} ms"
            )
    return faults
