"""Alert rules of all projects, kept at hand and never older than some seconds.

In: PostgreSQL's table `alert_rules`. Out: the rules that are active and can be read. A thread of
its own reads what has changed; while PostgreSQL is away the last known rules stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import psycopg
from prometheus_client import Counter, Gauge

from connectors.postgres_changes import PostgresChanges
from connectors.telemetry import get_logger
from schemas.alert_rules import AlertRule, RuleError, read_rule

# Source: alerting.md, section 1.
RULES_PER_PROJECT_MAX = 100

# Whole rows as JSON: columns that come later are read without a change here.
_CHANGED = "SELECT to_jsonb(r), r.updated_at FROM alert_rules r WHERE r.updated_at > %s"
_ACTIVE = """
SELECT id::text, project_id::text FROM alert_rules WHERE is_active ORDER BY created_at, id
"""

READS = Counter(
    "gosight_alert_rules_reads_total", "Attempts to read alert rules, by outcome.", ["outcome"]
)
UNREADABLE = Counter(
    "gosight_alert_rules_unreadable_total", "Changed alert rules that cannot be read."
)
KNOWN = Gauge("gosight_alert_rules_known", "Active alert rules that this process knows of.")


class AlertRules(Protocol):
    """The rules in force, by id."""

    def active(self) -> Mapping[str, AlertRule]:
        """As last read; the same object until something changes."""


class PostgresAlertRules(PostgresChanges):
    """`AlertRules` from PostgreSQL; `start` once."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url, "alert rules", "rules", READS, "alert_rules_not_read")
        self._rules: dict[str, AlertRule] = {}
        self._active: Mapping[str, AlertRule] = {}

    def active(self) -> Mapping[str, AlertRule]:
        """See `AlertRules.active`."""
        return self._active

    def _read_changes(self, connection: psycopg.Connection[Any], since: datetime) -> None:
        for document, updated_at in connection.execute(_CHANGED, (since,)).fetchall():
            self._keep(document)
            self._since = max(self._since, updated_at)
        counts: dict[str, int] = {}
        active: dict[str, AlertRule] = {}
        for rule_id, project_id in connection.execute(_ACTIVE).fetchall():
            counts[project_id] = counts.get(project_id, 0) + 1
            rule = self._rules.get(rule_id)
            if rule is not None and rule.is_active and counts[project_id] <= RULES_PER_PROJECT_MAX:
                active[rule_id] = rule
        if active != self._active:
            self._active = active
            KNOWN.set(len(active))

    def _keep(self, document: dict[str, Any]) -> None:
        try:
            rule = read_rule(document)
        except RuleError as error:
            if self._rules.pop(str(document.get("id")), None) is not None or self._is_new(document):
                UNREADABLE.inc()
                get_logger().warning(
                    "alert_rule_unreadable", rule_id=document.get("id"), detail=str(error)[:300]
                )
            return
        if self._rules.get(rule.id) != rule:
            self._rules[rule.id] = rule

    def _is_new(self, document: dict[str, Any]) -> bool:
        """Not the same bad rule that was read some seconds ago."""
        return datetime.fromisoformat(document["updated_at"]) > self._since
