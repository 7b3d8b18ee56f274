"""Alert rules and their history in PostgreSQL, as commands read and write them.

Secrets leave this module once: when they are made.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cli.project_store import NotFoundError, connect, find_project, list_projects
from cli.settings import load_environment
from connectors.alert_tables import RULE_COLUMNS, rule_of, time_of
from connectors.outbound_guard import OutboundGuard, RefusedTargetError
from connectors.settings import DeliverySettings
from connectors.webhook_signature import new_secret
from schemas.alert_rules import AlertRule, TelegramChannel, WebhookChannel, read_rule

RULES_MAX = 100  # Of a project. Source: alerting.md, section 1.
OLD_SECRET_HOURS = 24  # Source: alerting.md, section 6.
_SAVED = (
    "name", "description", "condition_type", "condition", "channels", "cooldown_mins", "is_active",
    "runbook_url",
)  # fmt: skip
_HISTORY = """
SELECT h.id::text, h.alert_id::text, h.rule_id::text, h.context->>'rule_name' AS rule_name, h.kind,
    h.suppressed_by, h.severity, h.is_late, h.triggered_at, h.resolved_at, h.metric_value,
    h.threshold, coalesce(h.context->'group', '{}') AS "group", h.notification_sent,
    h.notification_error,
    coalesce((SELECT jsonb_agg(jsonb_build_object('channel', d.channel_type, 'kind', d.kind,
            'status', d.status, 'attempts', d.attempts, 'sent_at', d.sent_at,
            'next_attempt_at', d.next_attempt_at, 'error', d.last_error) ORDER BY d.sequence)
        FROM alert_deliveries d WHERE d.history_id = h.id), '[]') AS deliveries
FROM alert_history h WHERE h.project_id = %s ORDER BY h.triggered_at DESC, h.id LIMIT %s
"""
# As whoever sends looks at it: saving the rule switches its channels on again.
_SWITCHED_OFF = """
SELECT c.rule_id::text, c.channel_key, c.disabled_at, c.last_error FROM alert_channels c
JOIN alert_rules r ON r.id = c.rule_id
WHERE r.project_id = %s AND c.disabled_at >= r.updated_at
"""


class UnknownRuleError(Exception):
    """There is no such rule, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class SavedRule:
    """`secrets` are the new ones, with the URLs that they belong to."""

    rule_id: str
    is_new: bool
    secrets: Sequence[tuple[str, str]]


def delivery_settings(data: Path) -> DeliverySettings:
    """How messages reach people, from the environment and the data folder."""
    return DeliverySettings.from_env(load_environment(data))


def save_rule(data: Path, project: str, document: Mapping[str, Any]) -> SavedRule:
    """Write a rule; its document is checked as a whole before anything is written.

    Raises:
        NotFoundError: there is no such project.
        ValueError: naming the key at fault.
    """
    settings = delivery_settings(data)
    unknown = document.keys() - {*_SAVED, "id", "project_id"}
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]}: not a key of a rule")
    with connect(settings.database_url) as connection:
        project_id = _project_id(connection, project or str(document.get("project_id", "")))
        rule_id = _uuid(document.get("id") or uuid.uuid4())
        channels, secrets = _with_secrets(connection, rule_id, document.get("channels", ()))
        values = {**document, "channels": channels, "id": rule_id, "project_id": project_id}
        rule = read_rule(values)
        asyncio.run(_check_targets(rule, OutboundGuard(settings.allowed_networks())))
        is_new = _write(connection, rule, values)
    return SavedRule(rule_id, is_new, secrets)


def list_rules(data: Path, project: str) -> list[dict[str, Any]]:
    """A project's rules, oldest first, with channels as words.

    Raises:
        NotFoundError: there is no such project.
    """
    with connect(delivery_settings(data).database_url) as connection:
        project_id = _project_id(connection, project)
        cursor = connection.cursor(row_factory=dict_row)
        names = ", ".join((*RULE_COLUMNS, "last_triggered"))
        rows = cursor.execute(
            f"SELECT {names} FROM alert_rules WHERE project_id = %s "
            "ORDER BY created_at, id".encode(),
            (project_id,),
        ).fetchall()
        off = {
            (one["rule_id"], one["channel_key"]): one
            for one in cursor.execute(_SWITCHED_OFF.encode(), (project_id,))
        }
    return [_shown(row, off) for row in rows]


def load_rule(connection: psycopg.Connection[Any], rule_id: str) -> tuple[AlertRule, str]:
    """A rule and the name of its project.

    Raises:
        UnknownRuleError: there is none of this id, or it cannot be read.
    """
    try:
        wanted = str(uuid.UUID(rule_id))
    except ValueError:
        raise UnknownRuleError(f"{rule_id} is not the id of a rule") from None
    names = ", ".join(f"r.{name}" for name in RULE_COLUMNS)
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(
            f"SELECT {names}, p.name AS project_name FROM alert_rules r "
            "JOIN projects p ON p.id = r.project_id WHERE r.id = %s".encode(),
            (wanted,),
        )
        .fetchone()
    )
    if row is None:
        raise UnknownRuleError(f"there is no rule {rule_id}")
    rule = rule_of(row)
    if rule is None:
        raise UnknownRuleError(f"the rule {rule_id} cannot be read: save it anew")
    return rule, row["project_name"]


def mute_rule(data: Path, rule_id: str, minutes: int) -> datetime | None:
    """Mute a rule from now on; when that ends, None for no mute.

    Raises:
        UnknownRuleError: there is no such rule.
    """
    until = time_of(time.time_ns() // 1_000_000 + minutes * 60_000) if minutes else None
    with connect(delivery_settings(data).database_url) as connection:
        rule, _ = load_rule(connection, rule_id)
        connection.execute(
            "UPDATE alert_rules SET muted_until = %s WHERE id = %s", (until, rule.id)
        )
    return until


def rotate(data: Path, rule_id: str, *, is_end: bool) -> list[tuple[str, str]]:
    """A new secret before the old one, or only the newest; the new ones with their URLs.

    The old one ends by itself after `OLD_SECRET_HOURS`.

    Raises:
        UnknownRuleError: there is no such rule.
    """
    made: list[tuple[str, str]] = []
    with connect(delivery_settings(data).database_url) as connection, connection.transaction():
        rule, _ = load_rule(connection, rule_id)
        channels: list[dict[str, Any]] = []
        for channel in rule.channels:
            if isinstance(channel, WebhookChannel):
                secrets = channel.secrets[:1]
                if not is_end:
                    secrets = (new_secret(), *secrets)
                    made.append((channel.url, secrets[0]))
                channels.append(_webhook_document(channel.url, secrets))
            else:
                channels.append(_telegram_document(channel))
        connection.execute(
            "UPDATE alert_rules SET channels = %s WHERE id = %s", (Jsonb(channels), rule.id)
        )
    return made


def list_history(data: Path, project: str, limit: int) -> list[dict[str, Any]]:
    """The newest rows of a project's history, each with its deliveries.

    Raises:
        NotFoundError: there is no such project.
    """
    with connect(delivery_settings(data).database_url) as connection:
        project_id = _project_id(connection, project)
        cursor = connection.cursor(row_factory=dict_row)
        return cursor.execute(_HISTORY.encode(), (project_id, limit)).fetchall()


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        raise ValueError("id: must be a UUID") from None


def _project_id(connection: psycopg.Connection[Any], project: str) -> str:
    if project:
        return str(find_project(connection, project).id)
    projects = list_projects(connection)
    if len(projects) != 1:
        raise NotFoundError(f"there are {len(projects)} projects: name one with --project")
    return str(projects[0].id)


def _with_secrets(
    connection: psycopg.Connection[Any], rule_id: str, channels: Any
) -> tuple[Any, list[tuple[str, str]]]:
    """Channels in which each webhook has a secret: its own, the one it had, or a new one."""
    if not isinstance(channels, list | tuple):
        return channels, []
    known: dict[str, WebhookChannel] = {}
    try:
        rule, _ = load_rule(connection, rule_id)
        known = {c.url: c for c in rule.channels if isinstance(c, WebhookChannel)}
    except UnknownRuleError:
        pass  # A new one.
    made: list[tuple[str, str]] = []
    found: list[Any] = []
    for item in channels:
        flat = {**item, **item["config"]} if _is_nested(item) else item
        if isinstance(flat, Mapping) and flat.get("type") == "webhook":
            flat = {name: value for name, value in flat.items() if name != "config"}
            url = str(flat.get("url", ""))
            before = known.get(url)
            given = flat.get("secrets")
            if not flat.get("secret") and not given:
                if before is None or not before.secrets:
                    made.append((url, new_secret()))
                    flat = _webhook_document(url, (made[-1][1],))
                else:
                    flat = _kept_document(before)
            elif before is not None and given == list(before.secrets):
                flat = _kept_document(before)
            elif isinstance(given, list) and len(given) > 1:
                flat = {"old_secret_until": _end_of_old_secret(), **flat}
        found.append(flat)
    return found, made


def _webhook_document(
    url: str, secrets: Sequence[str], until: datetime | None = None
) -> dict[str, Any]:
    """A channel as it is stored; of two secrets the old one ends some time."""
    found: dict[str, Any] = {"type": "webhook", "url": url, "secrets": list(secrets)}
    if len(secrets) > 1:
        found["old_secret_until"] = until.isoformat() if until else _end_of_old_secret()
    return found


def _kept_document(channel: WebhookChannel) -> dict[str, Any]:
    """A channel as it was, without a secret that has ended."""
    secrets = channel.secrets_at(time.time_ns() // 1_000_000)
    return _webhook_document(channel.url, secrets, time_of(channel.old_secret_until_ms or 0))


def _end_of_old_secret() -> str:
    """When a secret that is replaced now ends by itself."""
    until_ms = time.time_ns() // 1_000_000 + OLD_SECRET_HOURS * 3_600_000
    return datetime.fromtimestamp(until_ms / 1000, UTC).isoformat()


def _is_nested(item: Any) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("config"), Mapping)


async def _check_targets(rule: AlertRule, guard: OutboundGuard) -> None:
    for place, channel in enumerate(rule.channels):
        if isinstance(channel, WebhookChannel):
            try:
                await guard.check_names(channel.url)
            except RefusedTargetError as error:
                raise ValueError(f"channels[{place}].url: {error}") from error


def _write(connection: psycopg.Connection[Any], rule: AlertRule, values: Mapping[str, Any]) -> bool:
    """Whether it is new. A rule of another project is never changed."""
    columns = {name: values[name] for name in _SAVED if name in values}
    for name in ("condition", "channels"):
        columns[name] = Jsonb(columns[name])
    with connection.transaction():
        rows = connection.execute(
            "SELECT project_id::text FROM alert_rules WHERE project_id = %s FOR UPDATE",
            (rule.project_id,),
        ).fetchall()
        sets = ", ".join(f"{name} = %({name})s" for name in columns)
        keys = {"id": rule.id, "project_id": rule.project_id}
        changed = connection.execute(
            f"UPDATE alert_rules SET {sets} "
            "WHERE id = %(id)s AND project_id = %(project_id)s".encode(),
            {**columns, **keys},
        )
        if changed.rowcount:
            return False
        if len(rows) >= RULES_MAX:
            raise ValueError(f"id: a project has {RULES_MAX} rules at most")
        names = ", ".join((*keys, *columns))
        marks = ", ".join(f"%({name})s" for name in (*keys, *columns))
        try:
            connection.execute(
                f"INSERT INTO alert_rules ({names}) VALUES ({marks})".encode(), {**columns, **keys}
            )
        except psycopg.errors.UniqueViolation:
            raise ValueError("id: is a rule of another project") from None
    return True


def _shown(row: dict[str, Any], off: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    from flows.core.alert_decisions import channel_key

    rule = rule_of(row)
    channels = ["unreadable"]
    if rule is not None:
        channels = [
            channel_words(channel) + _off_words(off.get((rule.id, channel_key(channel))))
            for channel in rule.channels
        ]
    condition = row["condition"]
    words = [row["condition_type"], condition.get("metric", "?")]
    if row["condition_type"] == "threshold":
        words += [str(condition.get("operator", ">")), str(condition.get("threshold", "?"))]
    words += ["in", str(condition.get("window", "?"))]
    return {
        "id": str(row["id"]),
        "name": row["name"],
        "condition": " ".join(words),
        "channels": channels,
        "cooldown_mins": row["cooldown_mins"],
        "is_active": row["is_active"],
        "muted_until": row["muted_until"],
        "last_triggered": row["last_triggered"],
    }


def _off_words(state: Mapping[str, Any] | None) -> str:
    if state is None:
        return ""
    since, error = state["disabled_at"], state["last_error"]
    return f" (switched off {since:%Y-%m-%d %H:%M}: {error or 'it kept failing'})"


def channel_words(channel: TelegramChannel | WebhookChannel) -> str:
    """A channel without its secrets, which the path of a URL may be."""
    from flows.core.alert_outgoing import target_of

    return target_of(channel)


def _telegram_document(channel: TelegramChannel) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "telegram", "chat_id": channel.chat_id}
    return found if channel.thread_id is None else {**found, "thread_id": channel.thread_id}
