"""Alert rules and their history, as commands read and write them: `connectors.alert_book`."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from cli.project_store import NotFoundError, connect, find_project, list_projects
from cli.settings import load_environment
from connectors.alert_book import AlertBook, HistoryPage, SavedRule, StoredRule, UnknownRuleError
from connectors.alert_tables import RULE_COLUMNS, rule_of, zone_of
from connectors.database import Database
from connectors.outbound_guard import OutboundGuard
from connectors.postgres import connect_postgres
from connectors.settings import DeliverySettings
from schemas.alert_channels import channel_key, target_of
from schemas.alert_delivery import KnownRule

CONNECT_TIMEOUT_S = 10.0
T = TypeVar("T")


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
    with connect(settings.database_url) as connection:
        project_id = _project_id(connection, project or str(document.get("project_id", "")))
    return _by_book(settings, lambda book: book.put(project_id, document))


def list_rules(data: Path, project: str) -> list[dict[str, Any]]:
    """A project's rules, oldest first, with channels as words.

    Raises:
        NotFoundError: there is no such project.
    """
    settings = delivery_settings(data)
    with connect(settings.database_url) as connection:
        project_id = _project_id(connection, project)
    return [_shown(rule) for rule in _by_book(settings, lambda book: book.rules(project_id))]


def load_rule(connection: psycopg.Connection[Any], rule_id: str) -> KnownRule:
    """A rule, with what is told of its project.

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
            f"SELECT {names}, p.name AS project_name, p.settings->>'timezone' AS time_zone "
            "FROM alert_rules r "
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
    return KnownRule(rule, row["project_name"], zone_of(row["time_zone"]))


def mute_rule(data: Path, rule_id: str, minutes: int) -> datetime | None:
    """Mute a rule from now on; when that ends, None for no mute.

    Raises:
        UnknownRuleError: there is no such rule.
    """
    settings = delivery_settings(data)
    with connect(settings.database_url) as connection:
        rule = load_rule(connection, rule_id).rule
    return _by_book(settings, lambda book: book.mute(rule.project_id, rule.id, minutes))


def rotate(data: Path, rule_id: str, *, is_end: bool) -> list[tuple[str, str]]:
    """`AlertBook.rotate` for a rule of any project.

    Raises:
        UnknownRuleError: there is no such rule.
    """
    settings = delivery_settings(data)
    with connect(settings.database_url) as connection:
        rule = load_rule(connection, rule_id).rule
    return _by_book(settings, lambda book: book.rotate(rule.project_id, rule.id, is_end=is_end))


def list_history(data: Path, project: str, limit: int) -> list[dict[str, Any]]:
    """The newest rows of a project's history, each with its deliveries.

    Raises:
        NotFoundError: there is no such project.
    """
    settings = delivery_settings(data)
    with connect(settings.database_url) as connection:
        project_id = _project_id(connection, project)
    rows = _by_book(settings, lambda book: book.history(project_id, HistoryPage(limit)))
    return [dict(row) for row in rows]


def _by_book(settings: DeliverySettings, work: Callable[[AlertBook], Awaitable[T]]) -> T:
    async def run() -> T:
        pool = await connect_postgres(settings.database_url, 1)
        try:
            await pool.wait(CONNECT_TIMEOUT_S)
            guard = OutboundGuard(settings.allowed_networks())
            return await work(AlertBook(Database(pool), guard, _now_ms))
        finally:
            await pool.close()

    return asyncio.run(run())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _project_id(connection: psycopg.Connection[Any], project: str) -> str:
    if project:
        return str(find_project(connection, project).id)
    projects = list_projects(connection)
    if len(projects) != 1:
        raise NotFoundError(f"there are {len(projects)} projects: name one with --project")
    return str(projects[0].id)


def _shown(stored: StoredRule) -> dict[str, Any]:
    row = stored.row
    channels = ["unreadable"]
    if stored.rule is not None:
        channels = [
            target_of(channel) + _off_words(stored.off.get(channel_key(channel)))
            for channel in stored.rule.channels
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
