"""The registry of Kafka topics: the only place where a topic name is written.

Partitions, retention and keys: architecture document, section "Kafka topics"; `gosight.sessions`
`gosight.events.rejected`, `gosight.alerts.signals` and the topics named `.state` are additions, for
session revisions, dead letters, what alert rules count, and what flows remember. Topics that hold
personal data keep it for 7 days at most, but for errors, which are scrubbed and carry no user; a
compacted topic forgets a key when told to.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what is in it, who writes and reads it, and how it is created.

    `key` says what the record key is made of; records with equal keys keep their order.
    `message` names the protobuf message of package `gosight` in the record's value (of a compacted
    topic: what the value stands for).
    """

    name: str
    partitions: int
    retention_ms: int
    key: str
    message: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    max_message_bytes: int = 4 * 1024 * 1024
    cleanup: str = "delete"  # Or compact: the last record of each key is kept, whatever its age.


EVENTS_RAW = Topic(
    name="gosight.events.raw",
    partitions=12,
    retention_ms=7 * DAY_MS,
    key="project_id:session_id",
    message="RawBatch",
    producers=("ingest_gateway",),
    consumers=("storage", "behaviour", "api"),
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
    producers=("ingest_gateway", "storage", "results", "alert_delivery"),
    consumers=("storage", "gosight dlq"),
)
SESSIONS = Topic(
    name="gosight.sessions",
    partitions=12,
    retention_ms=7 * DAY_MS,
    key="project_id:session_id",
    message="SessionRevision",
    producers=("behaviour",),
    consumers=("results", "alerts", "revenue", "api"),
)
INSIGHTS = Topic(
    name="gosight.insights",
    partitions=3,
    retention_ms=30 * DAY_MS,
    key="project_id",
    message="Insight",
    producers=("behaviour",),
    consumers=("results", "alerts", "api"),
)
ALERTS = Topic(
    name="gosight.alerts",
    partitions=1,
    retention_ms=7 * DAY_MS,
    key="project_id:rule_id",
    message="AlertTransition",
    producers=("alerts",),
    consumers=("alert_delivery", "api"),
)
# What rules count, by project, in partitions that the evaluator of rules chooses itself.
ALERT_SIGNALS = Topic(
    name="gosight.alerts.signals",
    partitions=6,
    retention_ms=7 * DAY_MS,
    key="source partition",
    message="Report",
    producers=("alerts",),
    consumers=("alerts",),
)
# What the alerts flow remembers. A partition has the number of its signals' one.
ALERT_STATE = Topic(
    name="gosight.alerts.state",
    partitions=ALERT_SIGNALS.partitions,
    retention_ms=7 * DAY_MS,
    key="kind:clock:rule_id or project_id",
    message="AlertState",
    producers=("alerts",),
    consumers=("alerts",),
    cleanup="compact",
)
# What the behaviour flow remembers of live sessions. A partition has the number of its raw one.
BEHAVIOUR_STATE = Topic(
    name="gosight.behaviour.state",
    partitions=EVENTS_RAW.partitions,
    retention_ms=7 * DAY_MS,
    key="project_id:session_id",
    message="SessionState",
    producers=("behaviour",),
    consumers=("behaviour",),
    cleanup="compact",
)

TOPICS: tuple[Topic, ...] = (
    EVENTS_RAW,
    REPLAY_CHUNKS,
    EVENTS_ERRORS,
    EVENTS_REJECTED,
    SESSIONS,
    INSIGHTS,
    ALERTS,
    ALERT_SIGNALS,
    ALERT_STATE,
    BEHAVIOUR_STATE,
)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
