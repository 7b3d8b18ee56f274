"""Changes of rules, their names for ever, and their messages.

Ids are made of the rule, the group and event times: evaluating the same signals again gives the
same ids. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid5

import msgspec

from flows.core.alerts.windows import Group
from schemas.alert_rules import AlertRule
from schemas.v1 import alerts_pb2

NAMESPACE = UUID("5b0f1d0e-3c0b-5f0a-9a53-6c8f0e1d7a44")
TOP_PATHS_MAX = 5
SAMPLE_SESSIONS_MAX = 5
SAMPLE_INSIGHTS_MAX = 10


class Transition(msgspec.Struct, frozen=True, array_like=True):
    """One change; see message `AlertTransition`."""

    alert_id: str
    rule: AlertRule
    kind: str
    value: float | None
    threshold: float | None
    severity: str
    group: Group
    opened_at_ms: int
    at_ms: int
    is_late: bool = False
    recent_values: tuple[float, ...] = ()
    top_paths: tuple[tuple[str, int], ...] = ()
    affected_sessions: int = 0
    sample_session_ids: tuple[str, ...] = ()
    insight_ids: tuple[str, ...] = ()
    held_for_ms: int = 0

    @property
    def transition_id(self) -> str:
        """Its name for ever."""
        return str(uuid5(UUID(self.alert_id), f"{self.kind}|{self.at_ms}"))


def alert_id(rule_id: str, group: Sequence[str], opened_at_ms: int) -> str:
    """The id of an alert: a function of who it is about and when it began."""
    name = f"{rule_id}|{msgspec.json.encode(list(group)).decode()}|{opened_at_ms}"
    return str(uuid5(NAMESPACE, name))


def held_id(rule_id: str, held_at_ms: int) -> str:
    """The id of a time in which a rule was held."""
    return str(uuid5(NAMESPACE, f"{rule_id}|held|{held_at_ms}"))


def transition_message(change: Transition) -> alerts_pb2.AlertTransition:
    """The change as a value of gosight.alerts."""
    rule = change.rule
    return alerts_pb2.AlertTransition(
        alert_id=change.alert_id,
        rule_id=rule.id,
        rule_updated_at_ms=rule.updated_at_ms,
        project_id=rule.project_id,
        rule_name=rule.name,
        kind=change.kind,
        metric=rule.metric,
        operator=rule.operator,
        value=change.value,
        threshold=change.threshold,
        severity=change.severity,
        group=dict(zip(rule.group_by, change.group, strict=False)),
        window_start_ms=change.at_ms - rule.window_ms,
        window_end_ms=change.at_ms,
        opened_at_ms=change.opened_at_ms,
        at_ms=change.at_ms,
        is_late=change.is_late,
        filters=rule.filters,
        recent_values=change.recent_values,
        top_paths=[
            alerts_pb2.PathCount(path=path, count=count) for path, count in change.top_paths
        ],
        affected_sessions=change.affected_sessions,
        sample_session_ids=change.sample_session_ids,
        insight_ids=change.insight_ids,
        transition_id=change.transition_id,
        condition_type=rule.condition_type,
        window_ms=rule.window_ms,
        held_for_ms=change.held_for_ms,
    )
