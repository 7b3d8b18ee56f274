"""The registry of Kafka topics: the only place where a topic name is written.

Partitions, retention and keys: architecture document, section "Kafka topics"; `gosight.sessions`
and `gosight.events.rejected` are additions, for session revisions and dead letters. Topics that
hold personal data keep it for 7 days at most, but for errors, which are scrubbed and carry no user.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what is in it, who writes and reads it, and how it is created.

    `key` says what the record key is made of; records with equal keys keep their order.
    `message` names the protobuf message of package `gosight` in the record's value.
    """

    name: str
    partitions: int
    retention_ms: int
    key: str
    message: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    max_message_bytes: int = 4 * 1024 * 1024


EVENTS_RAW = Topic(
    name="gosight.events.raw",
    partitions=12,
    retention_ms=7 * DAY_MS,
    key="project_id:session_id",
    message="RawBatch",
    producers=("ingest_gateway",),
    consumers=("storage", "sessions", "insights"),
)
REPLAY_CHUNKS = Topic(
    name="gosight.replay.chunks",
    partitions=6,
    retention_ms=3 * DAY_MS,
    key="session_id",
    message="ReplayChunk",
    producers=("ingest_gateway",),
    consumers=("replay",),
)
EVENTS_ERRORS = Topic(
    name="gosight.events.errors",
    partitions=3,
    retention_ms=30 * DAY_MS,
    key="project_id",
    message="ErrorEvent",
    producers=("ingest_gateway",),
    consumers=("errors",),
)
EVENTS_REJECTED = Topic(
    name="gosight.events.rejected",
    partitions=3,
    retention_ms=7 * DAY_MS,
    key="project_id",
    message="RejectedRecord",
    producers=("ingest_gateway", "storage"),
    consumers=("storage", "gosight dlq"),
)
SESSIONS = Topic(
    name="gosight.sessions",
    partitions=12,
    retention_ms=7 * DAY_MS,
    key="project_id:session_id",
    message="SessionRevision",
    producers=("sessions",),
    consumers=("alerts", "revenue"),
)
INSIGHTS = Topic(
    name="gosight.insights",
    partitions=3,
    retention_ms=30 * DAY_MS,
    key="project_id",
    message="Insight",
    producers=("insights",),
    consumers=("alerts", "api"),
)
ALERTS = Topic(
    name="gosight.alerts",
    partitions=1,
    retention_ms=7 * DAY_MS,
    key="rule_id",
    message="AlertTransition",
    producers=("alerts",),
    consumers=("alerts", "api"),
)

TOPICS: tuple[Topic, ...] = (
    EVENTS_RAW,
    REPLAY_CHUNKS,
    EVENTS_ERRORS,
    EVENTS_REJECTED,
    SESSIONS,
    INSIGHTS,
    ALERTS,
)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
