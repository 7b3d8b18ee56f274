"""The writing side of the outbox: what a batch of transitions changes, in one transaction.

In: `Change`s. Out: rows of history, deliveries that wait to be sent, and what is known of each rule
and group. Guarantee: all of a batch is there or nothing of it, and the same batch again changes
nothing, so that a crash at any moment neither loses a message nor makes a second one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from psycopg.types.json import Jsonb

from connectors.alert_tables import (
    RULE_COLUMNS,
    AlertDatabase,
    Connection,
    add_deliveries,
    ms_of,
    rule_of,
    time_of,
    zone_of,
)
from schemas.alert_delivery import Change, HistoryRow, KnownAlert, KnownRule

HISTORY_DAYS = 365  # Source: alerting.md, section 5.
STATE_DAYS = 7  # What fires says so every minute.
PURGED_AT_ONCE = 10_000

_RULES = f"""
SELECT {", ".join(f"r.{name}" for name in RULE_COLUMNS)}, p.name AS project_name,
    p.settings->>'timezone' AS time_zone
FROM alert_rules r JOIN projects p ON p.id = r.project_id
WHERE r.id = ANY(%s) ORDER BY r.id FOR KEY SHARE OF r
"""
_KNOWN = """
SELECT s.rule_id::text, s.scope, s.last_at, s.last_kind, s.alert_id::text, s.row_id::text,
    s.row_kind, s.told_at, s.cooldown_until,
    EXISTS (SELECT FROM alert_deliveries d WHERE d.history_id = s.row_id
        AND d.kind IN ('fired', 'still_firing') AND d.status = 'pending') AS is_waiting,
    EXISTS (SELECT FROM alert_deliveries d WHERE d.history_id = s.row_id
        AND d.kind IN ('fired', 'still_firing') AND d.status = 'sent') AS is_heard,
    ARRAY(SELECT DISTINCT d.channel_key FROM alert_deliveries d WHERE d.alert_id = s.alert_id
        AND d.kind IN ('fired', 'still_firing')
        AND d.status IN ('pending', 'sent')) AS told_channels
FROM alert_states s JOIN unnest(%s::uuid[], %s::text[]) AS wanted (rule_id, scope)
    USING (rule_id, scope)
ORDER BY s.rule_id, s.scope FOR UPDATE OF s
"""
_PUT_STATE = """
INSERT INTO alert_states (rule_id, scope, last_at, last_kind, alert_id, row_id, row_kind, told_at)
VALUES (%(rule_id)s, %(scope)s, %(last_at)s, %(last_kind)s, %(alert_id)s, %(row_id)s, %(row_kind)s,
    %(told_at)s)
ON CONFLICT (rule_id, scope) DO UPDATE SET last_at = excluded.last_at,
    last_kind = excluded.last_kind, alert_id = excluded.alert_id, row_id = excluded.row_id,
    row_kind = excluded.row_kind, told_at = excluded.told_at
"""
_ADD_ROW = """
INSERT INTO alert_history (id, alert_id, rule_id, project_id, triggered_at, metric_value, threshold,
    context, kind, suppressed_by, scope, severity, is_late)
VALUES (%(row_id)s, %(alert_id)s, %(rule_id)s, %(project_id)s, %(at)s, %(value)s, %(threshold)s,
    %(context)s, %(kind)s, %(suppressed_by)s, %(scope)s, %(severity)s, %(is_late)s)
ON CONFLICT (id) DO NOTHING
"""
_PROMOTE = "UPDATE alert_history SET kind = 'fired', suppressed_by = '' WHERE id = %s"
_CLOSE = "UPDATE alert_history SET resolved_at = %s WHERE alert_id = %s AND resolved_at IS NULL"
_TRIGGERED = "UPDATE alert_rules SET last_triggered = %s WHERE id = %s"
_PURGE = (
    "DELETE FROM alert_history WHERE id IN (SELECT id FROM alert_history "
    f"WHERE triggered_at < %(now)s - interval '{HISTORY_DAYS} days' LIMIT {PURGED_AT_ONCE})",
    f"DELETE FROM alert_states WHERE last_at < %(now)s - interval '{STATE_DAYS} days' "
    "AND (cooldown_until IS NULL OR cooldown_until < %(now)s)",
    "DELETE FROM alert_lanes WHERE held_until < %(now)s",
)

Scope = tuple[str, str]  # (rule_id, scope)


class OutboxStep(Protocol):
    """One transaction on the outbox."""

    def rules(self, rule_ids: Collection[str]) -> Mapping[str, KnownRule]:
        """Rules by id as they are now; those that are gone or unreadable are absent."""

    def known(self, scopes: Collection[Scope]) -> Mapping[Scope, KnownAlert]:
        """What is known of rules and groups; nothing else changes it before the step ends."""

    def write(self, changes: Sequence[Change]) -> None:
        """Write them, in order."""


class AlertOutbox:
    """The outbox in PostgreSQL; for one thread."""

    def __init__(self, database_url: str) -> None:
        self._database = AlertDatabase(database_url, "alert outbox")

    @contextmanager
    def step(self) -> Iterator[OutboxStep]:
        """A transaction; an exception within undoes all of it.

        Raises:
            RetryableError: PostgreSQL does not answer, or another change came in between.
        """
        with self._database.transaction() as connection:
            yield _Step(connection)

    def purge(self, now_ms: int) -> None:
        """Forget what is older than it is kept.

        Raises:
            RetryableError: PostgreSQL does not answer.
        """
        with self._database.transaction() as connection:
            for statement in _PURGE:
                connection.execute(statement.encode(), {"now": time_of(now_ms)})

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()


class _Step:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rules(self, rule_ids: Collection[str]) -> Mapping[str, KnownRule]:
        """See `OutboxStep.rules`."""
        found: dict[str, KnownRule] = {}
        for row in self._connection.execute(_RULES.encode(), (list(rule_ids),)):
            rule = rule_of(row)
            if rule is not None:
                found[rule.id] = KnownRule(rule, row["project_name"], zone_of(row["time_zone"]))
        return found

    def known(self, scopes: Collection[Scope]) -> Mapping[Scope, KnownAlert]:
        """See `OutboxStep.known`."""
        wanted = sorted(scopes)
        rows = self._connection.execute(
            _KNOWN.encode(), ([rule for rule, _ in wanted], [scope for _, scope in wanted])
        )
        return {(row["rule_id"], row["scope"]): _known_of(row) for row in rows}

    def write(self, changes: Sequence[Change]) -> None:
        """See `OutboxStep.write`."""
        cursor = self._connection.cursor()
        for change in changes:
            if change.row is not None:
                cursor.execute(_ADD_ROW.encode(), _row_values(change.row))
            if change.promotes:
                cursor.execute(_PROMOTE.encode(), (change.promotes,))
            if change.closes:
                cursor.execute(_CLOSE.encode(), (time_of(change.at_ms), change.closes))
            add_deliveries(self._connection, change.deliveries)
            if change.triggered_at_ms:
                at = time_of(change.triggered_at_ms)
                cursor.execute(_TRIGGERED.encode(), (at, change.rule_id))
        # Of each rule and group what is known last.
        last = {
            (change.rule_id, change.scope): (change, change.after)
            for change in changes
            if change.after is not None
        }
        cursor.executemany(_PUT_STATE, [_state_values(*found) for found in last.values()])


def _known_of(row: dict[str, Any]) -> KnownAlert:
    return KnownAlert(
        last_at_ms=ms_of(row["last_at"]),
        last_kind=row["last_kind"],
        alert_id=row["alert_id"],
        row_id=row["row_id"] or "",
        row_kind=row["row_kind"],
        told_at_ms=ms_of(row["told_at"]),
        is_waiting=row["is_waiting"],
        is_heard=row["is_heard"],
        cooldown_until_ms=ms_of(row["cooldown_until"]),
        told_channels=tuple(sorted(row["told_channels"])),
    )


def _row_values(row: HistoryRow) -> dict[str, Any]:
    return {
        "row_id": row.row_id,
        "alert_id": row.alert_id,
        "rule_id": row.rule_id,
        "project_id": row.project_id,
        "at": time_of(row.at_ms),
        "value": row.value,
        "threshold": row.threshold,
        "context": Jsonb(row.context),
        "kind": row.kind.value,
        "suppressed_by": row.suppressed_by,
        "scope": row.scope,
        "severity": row.severity,
        "is_late": row.is_late,
    }


def _state_values(change: Change, after: KnownAlert) -> dict[str, Any]:
    return {
        "rule_id": change.rule_id,
        "scope": change.scope,
        "last_at": time_of(after.last_at_ms),
        "last_kind": after.last_kind,
        "alert_id": after.alert_id,
        "row_id": after.row_id or None,
        "row_kind": after.row_kind,
        "told_at": time_of(after.told_at_ms),
    }
