"""The sending side of the outbox: take what is due, say what became of it.

In: the time. Out: `Claimed` deliveries, each leased to this process for a while; then their
`Settlement`s go back. Guarantees: a delivery is with one process at a time; one of a process that
died is taken up by another at once, of one that is frozen when its lease is over; messages of one
rule and group to one channel go one at a time, and those of one alert in order; of one chat there
is one at a time and of one host a few, so that a target that hangs holds up itself only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from connectors.alert_tables import (
    RULE_COLUMNS,
    AlertDatabase,
    Connection,
    add_deliveries,
    ms_of,
    rule_of,
    time_of,
)
from schemas.alert_delivery import Claimed, Kind, Settlement, Status

# Longer than an attempt takes, with what it waits for its turn.
LEASE_MS = 30_000
OF_CHAT_MAX = 1
OF_HOST_MAX = 4
ERROR_LENGTH_MAX = 1_000

# Of the locks that say which senders live; any number that no other program takes.
LOCK_CLASS = 1_480_267_113

# Lane by lane, each by its index: what waits for a target that is away costs the others nothing.
_CLAIM = f"""
WITH RECURSIVE lanes AS (
    (SELECT lane, channel_type FROM alert_deliveries WHERE status = 'pending'
        ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT after.lane, after.channel_type FROM lanes, LATERAL (
        SELECT d.lane, d.channel_type FROM alert_deliveries d
        WHERE d.status = 'pending' AND d.lane > lanes.lane ORDER BY d.lane LIMIT 1) AS after
), living AS (
    SELECT objid::bigint AS sender FROM pg_locks
    WHERE locktype = 'advisory' AND classid = {LOCK_CLASS} AND objsubid = 2 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
), leased AS MATERIALIZED (
    SELECT id, lane, rule_id, scope, channel_key FROM alert_deliveries
    WHERE status = 'pending' AND leased_until > %(now)s
        AND leased_by IN (SELECT sender FROM living)
), due AS (
    SELECT first.*, row_number() OVER (
        PARTITION BY first.lane ORDER BY first.next_attempt_at, first.sequence) AS place
    FROM lanes, LATERAL (
        SELECT d.id, d.lane, d.next_attempt_at, d.sequence, d.leased_by, d.leased_until
        FROM alert_deliveries d
        WHERE d.lane = lanes.lane AND d.status = 'pending' AND d.next_attempt_at <= %(now)s
            AND NOT EXISTS (SELECT FROM leased e WHERE e.rule_id = d.rule_id
                AND e.scope = d.scope AND e.channel_key = d.channel_key)
            AND NOT EXISTS (SELECT FROM alert_deliveries e WHERE e.rule_id = d.rule_id
                AND e.scope = d.scope AND e.channel_key = d.channel_key AND e.status = 'pending'
                AND e.sequence < d.sequence
                AND (e.alert_id = d.alert_id OR e.next_attempt_at <= %(now)s))
        ORDER BY d.next_attempt_at, d.sequence
        LIMIT greatest(0, CASE WHEN lanes.channel_type = 'telegram' THEN {OF_CHAT_MAX}
            ELSE {OF_HOST_MAX} END - (SELECT count(*) FROM leased WHERE leased.lane = lanes.lane))
    ) AS first
    WHERE NOT EXISTS (SELECT FROM alert_lanes l
        WHERE l.lane = lanes.lane AND l.held_until > %(now)s)
), chosen AS (
    SELECT d.id FROM due JOIN alert_deliveries d ON d.id = due.id
    -- Looked at again when the row is locked: another process may have taken it meanwhile.
    WHERE d.status = 'pending' AND d.leased_by IS NOT DISTINCT FROM due.leased_by
        AND d.leased_until IS NOT DISTINCT FROM due.leased_until
    ORDER BY due.place, due.next_attempt_at LIMIT %(limit)s FOR UPDATE OF d SKIP LOCKED
)
UPDATE alert_deliveries SET leased_until = %(until)s, leased_by = %(sender)s
WHERE id IN (SELECT id FROM chosen) RETURNING id
"""
_READ = f"""
SELECT d.id::text AS delivery_id, d.history_id::text, d.alert_id::text, d.rule_id::text AS of_rule,
    d.scope, d.channel_key, d.channel_type, d.lane, d.kind, d.message, d.attempts, d.created_at,
    EXISTS (SELECT FROM alert_deliveries t WHERE t.alert_id = d.alert_id
        AND t.channel_key = d.channel_key AND t.kind IN ('fired', 'still_firing')
        AND t.status = 'sent') AS is_told,
    s.cooldown_until, s.cooldown_row::text, coalesce(c.failures, 0) AS failures, c.failing_since,
    c.disabled_at, {", ".join(f"r.{name}" for name in RULE_COLUMNS)}
FROM alert_deliveries d
LEFT JOIN alert_rules r ON r.id = d.rule_id
LEFT JOIN alert_states s ON s.rule_id = d.rule_id AND s.scope = d.scope
LEFT JOIN alert_channels c ON c.rule_id = d.rule_id AND c.channel_key = d.channel_key
WHERE d.id = ANY(%s) ORDER BY d.sequence
"""
_SETTLE = """
UPDATE alert_deliveries SET status = %(status)s, attempts = %(attempts)s, leased_until = NULL,
    leased_by = NULL,
    next_attempt_at = coalesce(%(next_attempt_at)s, next_attempt_at),
    sent_at = CASE WHEN %(status)s = 'sent' THEN %(now)s::timestamptz END,
    last_status = %(http_status)s, last_error = nullif(%(error)s, '')
WHERE id = %(delivery_id)s AND status = 'pending'
"""
_TELL_HISTORY = """
UPDATE alert_history h SET
    -- Each channel has it; one message may have been kept back before another went.
    notification_sent = (SELECT coalesce(bool_and(c.is_sent), false)
        FROM (SELECT bool_or(d.status = 'sent') AS is_sent FROM alert_deliveries d
            WHERE d.history_id = h.id AND d.kind IN ('fired', 'still_firing')
            GROUP BY d.channel_key) AS c),
    notification_error = (SELECT string_agg(d.channel_type || ': ' || d.last_error, '; '
            ORDER BY d.sequence)
        FROM alert_deliveries d WHERE d.history_id = h.id AND d.last_error IS NOT NULL
            AND d.status <> 'sent')
WHERE h.id = %(history_id)s
"""
_SUPPRESS_ROW = """
UPDATE alert_history h SET kind = 'suppressed', suppressed_by = %(suppressed_by)s
WHERE h.id = %(history_id)s AND NOT EXISTS (SELECT FROM alert_deliveries d
    WHERE d.history_id = h.id AND d.kind IN ('fired', 'still_firing') AND d.status <> 'suppressed')
"""
_SUPPRESS_STATE = """
UPDATE alert_states SET row_kind = 'suppressed' WHERE row_id = %(history_id)s
    AND EXISTS (SELECT FROM alert_history h WHERE h.id = %(history_id)s AND h.kind = 'suppressed')
"""
_COOL = """
UPDATE alert_states SET cooldown_until = %(until)s, cooldown_row = %(history_id)s
WHERE rule_id = %(rule_id)s AND scope = %(scope)s
    AND cooldown_row IS DISTINCT FROM %(history_id)s
"""
_CHANNEL = """
SELECT failures, failing_since, disabled_at FROM alert_channels
WHERE rule_id = %(rule_id)s AND channel_key = %(channel_key)s FOR UPDATE
"""
_HOLD_LANE = """
INSERT INTO alert_lanes (lane, held_until) VALUES (%(lane)s, %(until)s)
ON CONFLICT (lane) DO UPDATE SET held_until = greatest(alert_lanes.held_until, excluded.held_until)
"""
_COUNT = """
INSERT INTO alert_channels (rule_id, channel_key, failures, failing_since, disabled_at, last_error)
SELECT id, %(channel_key)s, %(failures)s, %(failing_since)s, %(disabled_at)s, nullif(%(error)s, '')
FROM alert_rules WHERE id = %(rule_id)s
ON CONFLICT (rule_id, channel_key) DO UPDATE SET failures = excluded.failures,
    failing_since = excluded.failing_since, last_error = excluded.last_error,
    -- An attempt that began before it was switched off says nothing about that.
    disabled_at = CASE WHEN excluded.failures = 0
            OR excluded.disabled_at IS NULL AND alert_channels.disabled_at <= %(off_at)s THEN NULL
        ELSE coalesce(excluded.disabled_at, alert_channels.disabled_at) END
"""
# What waits for its chat's pause, or for the one before it in its alert, is not due.
_NEXT = """
SELECT count(*) AS waiting, min(greatest(d.next_attempt_at, l.held_until,
    (SELECT max(e.next_attempt_at) FROM alert_deliveries e WHERE e.rule_id = d.rule_id
        AND e.scope = d.scope AND e.channel_key = d.channel_key AND e.status = 'pending'
        AND e.alert_id = d.alert_id AND e.sequence < d.sequence))) AS due
FROM alert_deliveries d LEFT JOIN alert_lanes l ON l.lane = d.lane WHERE d.status = 'pending'
"""


class AlertQueue:
    """The deliveries that wait, in PostgreSQL; for one thread."""

    def __init__(self, database_url: str) -> None:
        # Alone what holds this lock is taken for alive: a process that ends lets go of it.
        self._sender = secrets.randbits(31)
        lock = f"SELECT pg_advisory_lock({LOCK_CLASS}, {self._sender})"
        self._database = AlertDatabase(database_url, "alert queue", lock)

    def claim(self, now_ms: int, limit: int) -> list[Claimed]:
        """At most `limit` deliveries that are due, leased for `LEASE_MS`, oldest first.

        Raises:
            RetryableError: PostgreSQL does not answer.
        """
        values = {
            "now": time_of(now_ms),
            "until": time_of(now_ms + LEASE_MS),
            "limit": limit,
            "sender": self._sender,
        }
        with self._database.transaction() as connection:
            ids = [row["id"] for row in connection.execute(_CLAIM.encode(), values)]
            if not ids:
                return []
            return [_claimed_of(row) for row in connection.execute(_READ.encode(), (ids,))]

    def settle(
        self, claimed: Claimed, decide: Callable[[Claimed], Settlement], now_ms: int
    ) -> Settlement | None:
        """Write what became of a delivery; None if another process has done so before.

        `decide` is asked with the failures of its channel as they are now: others may have been
        settled since it was claimed.

        Raises:
            RetryableError: PostgreSQL does not answer: it is not known whether it is written.
        """
        with self._database.transaction() as connection:
            settlement = decide(_with_channel(connection, claimed))
            values = _values(claimed, settlement, now_ms)
            if connection.execute(_SETTLE.encode(), values).rowcount == 0:
                return None
            self._tell(connection, settlement, values)
            add_deliveries(connection, settlement.notices)
        return settlement

    def waiting(self) -> tuple[int, int]:
        """How many wait, and since when the first of them is due, in milliseconds; 0: none does.

        Raises:
            RetryableError: PostgreSQL does not answer.
        """
        with self._database.transaction() as connection:
            row = connection.execute(_NEXT.encode()).fetchone()
        assert row is not None
        return row["waiting"], ms_of(row["due"])

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    @staticmethod
    def _tell(connection: Connection, settlement: Settlement, values: dict[str, Any]) -> None:
        if settlement.cooldown_until_ms:
            until = time_of(settlement.cooldown_until_ms)
            connection.execute(_COOL.encode(), {**values, "until": until})
        if settlement.hold_lane_until_ms:
            until = time_of(settlement.hold_lane_until_ms)
            connection.execute(_HOLD_LANE.encode(), {**values, "until": until})
        if settlement.failures is not None:
            connection.execute(_COUNT.encode(), values)
        if settlement.status is Status.SUPPRESSED:
            connection.execute(_SUPPRESS_ROW.encode(), values)
            connection.execute(_SUPPRESS_STATE.encode(), values)
        connection.execute(_TELL_HISTORY.encode(), values)


def _with_channel(connection: Connection, claimed: Claimed) -> Claimed:
    names = {"rule_id": claimed.rule_id, "channel_key": claimed.channel_key}
    row = connection.execute(_CHANNEL.encode(), names).fetchone()
    if row is None:
        return claimed
    return msgspec.structs.replace(
        claimed,
        failures=row["failures"],
        failing_since_ms=ms_of(row["failing_since"]),
        # That it was switched off after it was claimed does not make it one that is on again.
        disabled_at_ms=min(claimed.disabled_at_ms, ms_of(row["disabled_at"])),
    )


def _values(claimed: Claimed, settlement: Settlement, now_ms: int) -> dict[str, Any]:
    return {
        "delivery_id": claimed.delivery_id,
        "history_id": claimed.history_id,
        "rule_id": claimed.rule_id,
        "scope": claimed.scope,
        "channel_key": claimed.channel_key,
        "lane": claimed.lane,
        "now": time_of(now_ms),
        "status": settlement.status.value,
        "attempts": settlement.attempts,
        "next_attempt_at": time_of(settlement.next_attempt_ms),
        "http_status": settlement.http_status,
        "error": settlement.error[:ERROR_LENGTH_MAX],
        "suppressed_by": settlement.suppressed_by,
        "failures": settlement.failures,
        "failing_since": time_of(settlement.failing_since_ms),
        "disabled_at": time_of(now_ms) if settlement.disables else None,
        "off_at": time_of(claimed.disabled_at_ms),  # Before it was switched on again.
    }


def _claimed_of(row: dict[str, Any]) -> Claimed:
    return Claimed(
        delivery_id=row["delivery_id"],
        history_id=row["history_id"],
        alert_id=row["alert_id"],
        rule_id=row["of_rule"],
        scope=row["scope"],
        channel_key=row["channel_key"],
        channel_type=row["channel_type"],
        lane=row["lane"],
        kind=Kind(row["kind"]),
        message=row["message"],
        attempts=row["attempts"],
        created_at_ms=ms_of(row["created_at"]),
        rule=rule_of(row) if row["id"] is not None else None,
        is_told=row["is_told"],
        cooldown_until_ms=ms_of(row["cooldown_until"]),
        cooldown_row=row["cooldown_row"] or "",
        failures=row["failures"],
        failing_since_ms=ms_of(row["failing_since"]),
        disabled_at_ms=ms_of(row["disabled_at"]),
    )
