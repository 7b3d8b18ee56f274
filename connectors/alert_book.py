"""Alert rules and their history in PostgreSQL, as people read and write them.

In: documents of rules, checked as a whole before anything is written. Out: rows. Shared by the
command and the API. Secrets leave this module once: when they are made. A project's rules are found
and changed by its own id only.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from connectors.alert_tables import RULE_COLUMNS, rule_of, time_of
from connectors.database import Database, DatabaseRow, Transaction
from connectors.outbound_guard import OutboundGuard, RefusedTargetError
from connectors.webhook_signature import new_secret
from schemas.alert_rules import (
    CONDITION_KEYS,
    AlertRule,
    Channel,
    RuleError,
    TelegramChannel,
    WebhookChannel,
    read_rule,
)

RULES_MAX = 100  # Of a project. Source: alerting.md, section 1.
OLD_SECRET_HOURS = 24  # Source: alerting.md, section 6.
SAVED = (
    "name", "description", "condition_type", "condition", "channels", "cooldown_mins", "is_active",
    "runbook_url",
)  # fmt: skip
_COLUMNS = ", ".join((*RULE_COLUMNS, "description", "created_at", "last_triggered"))
_HISTORY = """
SELECT h.id::text, h.alert_id::text, h.rule_id::text, h.context->>'rule_name' AS rule_name, h.kind,
    h.suppressed_by, h.severity, h.is_late, h.triggered_at, h.resolved_at, h.metric_value,
    h.threshold, coalesce(h.context->'group', '{}') AS "group", h.notification_sent,
    h.notification_error, h.context,
    coalesce((SELECT jsonb_agg(jsonb_build_object('channel', d.channel_type, 'kind', d.kind,
            'status', d.status, 'attempts', d.attempts, 'sent_at', d.sent_at,
            'next_attempt_at', d.next_attempt_at, 'error', d.last_error) ORDER BY d.sequence)
        FROM alert_deliveries d WHERE d.history_id = h.id), '[]') AS deliveries
FROM alert_history h
WHERE h.project_id = %(project)s
    AND (%(rule)s::uuid IS NULL OR h.rule_id = %(rule)s)
    AND (%(start)s::timestamptz IS NULL OR h.triggered_at >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR h.triggered_at < %(end)s)
    AND (%(open)s::boolean IS NULL OR (h.resolved_at IS NULL) = %(open)s)
    AND (%(before)s::timestamptz IS NULL
        OR (h.triggered_at, h.id) < (%(before)s, %(before_id)s::uuid))
ORDER BY h.triggered_at DESC, h.id DESC LIMIT %(limit)s
"""
# As whoever sends looks at it: saving the rule switches its channels on again.
_SWITCHED_OFF = """
SELECT c.rule_id::text, c.channel_key, c.disabled_at, c.last_error FROM alert_channels c
JOIN alert_rules r ON r.id = c.rule_id
WHERE r.project_id = %(project)s AND c.disabled_at >= r.updated_at
"""


class UnknownRuleError(Exception):
    """There is no such rule, or it cannot be read."""


class TooManyRulesError(ValueError):
    """The project has as many rules as it may."""


@dataclass(frozen=True, slots=True)
class SavedRule:
    """`secrets` are the new ones, with the URLs that they belong to."""

    rule_id: str
    is_new: bool
    secrets: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A row; `rule` is None if it cannot be read; `off` are switched-off channels by their key."""

    row: DatabaseRow
    rule: AlertRule | None
    off: Mapping[str, DatabaseRow]


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Which rows of a history: None is any; `before` is the last row of the page before."""

    limit: int
    rule_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    is_open: bool | None = None
    before: tuple[datetime, str] | None = None


class AlertBook:
    """Rules and history; `guard` decides where webhooks may lead."""

    def __init__(self, database: Database, guard: OutboundGuard, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._guard = guard
        self._now_ms = now_ms

    async def put(
        self, project_id: str, document: Mapping[str, Any], account_id: str = ""
    ) -> SavedRule:
        """Make a rule, or change the project's rule of the document's id.

        Raises:
            RuleError: naming the key at fault.
            TooManyRulesError: the project has as many rules as it may.
        """
        unknown = document.keys() - {*SAVED, "id", "project_id"}
        if unknown:
            raise RuleError(sorted(unknown)[0], "not a key of a rule")
        rule_id = _uuid(document.get("id") or uuid.uuid4())
        known = await self.find(project_id, rule_id)
        return await self._save(project_id, rule_id, document, known, account_id)

    async def change(
        self, project_id: str, rule_id: str, changes: Mapping[str, Any]
    ) -> SavedRule | None:
        """Change some keys of a rule; None if the project has none of this id.

        Raises:
            RuleError: naming the key at fault of the rule as it would be.
        """
        known = await self.find(project_id, rule_id)
        if known is None:
            return None
        return await self._save(project_id, rule_id, changes, known, is_part=True)

    async def find(self, project_id: str, rule_id: str) -> StoredRule | None:
        """One rule of a project."""
        found = await self._rules(project_id, rule_id)
        return found[0] if found else None

    async def rules(self, project_id: str) -> list[StoredRule]:
        """A project's rules, oldest first."""
        return await self._rules(project_id, None)

    async def delete(self, project_id: str, rule_id: str) -> bool:
        """Take a rule away, its history stays; whether it was there."""
        deleted = await self._database.run(
            "DELETE FROM alert_rules WHERE id = %(id)s AND project_id = %(project)s",
            id=rule_id,
            project=project_id,
        )
        return deleted > 0

    async def mute(self, project_id: str, rule_id: str, minutes: int) -> datetime | None:
        """Mute a rule from now on; when that ends, None for no mute.

        Raises:
            UnknownRuleError: the project has no such rule.
        """
        until = time_of(self._now_ms() + minutes * 60_000) if minutes else None
        changed = await self._database.run(
            "UPDATE alert_rules SET muted_until = %(until)s "
            "WHERE id = %(id)s AND project_id = %(project)s",
            id=rule_id,
            project=project_id,
            until=until,
        )
        if not changed:
            raise UnknownRuleError(f"there is no rule {rule_id}")
        return until

    async def rotate(self, project_id: str, rule_id: str, *, is_end: bool) -> list[tuple[str, str]]:
        """A new secret before the old one, or only the newest; the new ones with their URLs.

        The old one ends by itself after `OLD_SECRET_HOURS`.

        Raises:
            UnknownRuleError: the project has no such rule, or it cannot be read.
        """
        made: list[tuple[str, str]] = []
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                f"SELECT {_COLUMNS} FROM alert_rules "
                "WHERE id = %(id)s AND project_id = %(project)s FOR UPDATE",
                id=rule_id,
                project=project_id,
            )
            rule = None if row is None else rule_of(dict(row))
            if rule is None:
                raise UnknownRuleError(f"there is no rule {rule_id} that can be read")
            channels: list[dict[str, Any]] = []
            for channel in rule.channels:
                if isinstance(channel, WebhookChannel):
                    secrets = channel.secrets[:1]
                    if not is_end:
                        secrets = (new_secret(), *secrets)
                        made.append((channel.url, secrets[0]))
                    channels.append(self._webhook_document(channel.url, secrets))
                else:
                    channels.append(_telegram_document(channel))
            await transaction.run(
                "UPDATE alert_rules SET channels = %(channels)s WHERE id = %(id)s",
                channels=Jsonb(channels),
                id=rule.id,
            )
        return made

    async def history(self, project_id: str, page: HistoryPage) -> Sequence[DatabaseRow]:
        """The newest rows first, each with its deliveries."""
        before, before_id = page.before or (None, None)
        return await self._database.rows(
            _HISTORY,
            project=project_id,
            rule=page.rule_id,
            start=page.start,
            end=page.end,
            open=page.is_open,
            before=before,
            before_id=before_id,
            limit=page.limit,
        )

    async def _rules(self, project_id: str, rule_id: str | None) -> list[StoredRule]:
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"SELECT {_COLUMNS} FROM alert_rules WHERE project_id = %(project)s "
                "AND (%(id)s::uuid IS NULL OR id = %(id)s) ORDER BY created_at, alert_rules.id",
                project=project_id,
                id=rule_id,
            )
            switched_off = await transaction.rows(_SWITCHED_OFF, project=project_id)
        found = []
        for row in rows:
            its_own = (one for one in switched_off if one["rule_id"] == str(row["id"]))
            off = {one["channel_key"]: one for one in its_own}
            found.append(StoredRule(row, rule_of(dict(row)), off))
        return found

    async def _save(
        self,
        project_id: str,
        rule_id: str,
        document: Mapping[str, Any],
        known: StoredRule | None,
        account_id: str = "",
        *,
        is_part: bool = False,
    ) -> SavedRule:
        values = {name: document[name] for name in SAVED if name in document}
        secrets: list[tuple[str, str]] = []
        if "channels" in values:
            before = () if known is None or known.rule is None else known.rule.channels
            values["channels"], secrets = self._with_secrets(before, values["channels"])
        if isinstance(values.get("condition"), Mapping):
            unknown = values["condition"].keys() - CONDITION_KEYS
            if unknown:
                raise RuleError(f"condition.{sorted(unknown)[0]}", "not a key of a condition")
            values["condition"] = _renamed(values["condition"])
        # What is not named stays, and must go with the rest.
        kept = {name: known.row[name] for name in SAVED} if known else {}
        rule = read_rule({**kept, **values, "id": rule_id, "project_id": project_id})
        if "channels" in values:
            await self._check_targets(rule)
        is_new = await self._write(rule, values, account_id, may_insert=not is_part)
        return SavedRule(rule_id, is_new, secrets)

    async def _write(
        self, rule: AlertRule, values: Mapping[str, Any], account_id: str, *, may_insert: bool
    ) -> bool:
        """Whether it is new. A rule of another project is never changed."""
        columns = dict(values)
        for name in {"condition", "channels"} & columns.keys():
            columns[name] = Jsonb(columns[name])
        keys = {"id": rule.id, "project_id": rule.project_id}
        async with self._database.transaction() as transaction:
            # One after the other, so that two rules cannot both be the last one that is allowed.
            await transaction.run(
                "SELECT FROM projects WHERE id = %(project_id)s FOR NO KEY UPDATE", **keys
            )
            # An edit that changes nothing still counts as one: it switches channels on again.
            sets = ", ".join(f"{name} = %({name})s" for name in columns) or "name = name"
            changed = await transaction.run(
                f"UPDATE alert_rules SET {sets} WHERE id = %(id)s AND project_id = %(project_id)s",
                **columns,
                **keys,
            )
            if changed or not may_insert:
                return False
            await self._insert(transaction, {**keys, **columns, "created_by": account_id or None})
        return True

    @staticmethod
    async def _insert(transaction: Transaction, columns: Mapping[str, Any]) -> None:
        counted = await transaction.row(
            "SELECT count(*) AS rules FROM alert_rules WHERE project_id = %(project)s",
            project=columns["project_id"],
        )
        assert counted is not None
        if counted["rules"] >= RULES_MAX:
            raise TooManyRulesError(f"a project has {RULES_MAX} rules at most")
        names, marks = ", ".join(columns), ", ".join(f"%({name})s" for name in columns)
        try:
            await transaction.run(f"INSERT INTO alert_rules ({names}) VALUES ({marks})", **columns)
        except UniqueViolation:
            raise RuleError("id", "is a rule of another project") from None

    async def _check_targets(self, rule: AlertRule) -> None:
        async def check(place: int, channel: Channel) -> None:
            if isinstance(channel, WebhookChannel):
                try:
                    await self._guard.check_names(channel.url)
                except RefusedTargetError as error:
                    raise RuleError(f"channels[{place}].url", str(error)) from error

        # Together: names that nobody answers for take their time.
        checks = (check(place, channel) for place, channel in enumerate(rule.channels))
        for fault in await asyncio.gather(*checks, return_exceptions=True):
            if fault is not None:
                raise fault

    def _with_secrets(
        self, before: Sequence[Channel], channels: Any
    ) -> tuple[Any, list[tuple[str, str]]]:
        """Channels in which each webhook has a secret: its own, the one it had, or a new one."""
        if not isinstance(channels, list | tuple):
            return channels, []
        known = {one.url: one for one in before if isinstance(one, WebhookChannel)}
        made: list[tuple[str, str]] = []
        found: list[Any] = []
        for item in channels:
            flat = {**item, **item["config"]} if _is_nested(item) else item
            if isinstance(flat, Mapping) and flat.get("type") == "webhook":
                flat = {name: value for name, value in flat.items() if name != "config"}
                url = str(flat.get("url", ""))
                old = known.get(url)
                given = flat.get("secrets")
                if not flat.get("secret") and not given:
                    if old is None or not old.secrets:
                        made.append((url, new_secret()))
                        flat = self._webhook_document(url, (made[-1][1],))
                    else:
                        flat = self._kept_document(old)
                elif old is not None and given == list(old.secrets):
                    flat = self._kept_document(old)
                elif isinstance(given, list) and len(given) > 1:
                    flat = {"old_secret_until": self._end_of_old_secret(), **flat}
            found.append(flat)
        return found, made

    def _webhook_document(
        self, url: str, secrets: Sequence[str], until: datetime | None = None
    ) -> dict[str, Any]:
        """A channel as it is stored; of two secrets the old one ends some time."""
        found: dict[str, Any] = {"type": "webhook", "url": url, "secrets": list(secrets)}
        if len(secrets) > 1:
            found["old_secret_until"] = until.isoformat() if until else self._end_of_old_secret()
        return found

    def _kept_document(self, channel: WebhookChannel) -> dict[str, Any]:
        """A channel as it was, without a secret that has ended."""
        secrets = channel.secrets_at(self._now_ms())
        until = time_of(channel.old_secret_until_ms or 0)
        return self._webhook_document(channel.url, secrets, until)

    def _end_of_old_secret(self) -> str:
        """When a secret that is replaced now ends by itself."""
        until_ms = self._now_ms() + OLD_SECRET_HOURS * 3_600_000
        return datetime.fromtimestamp(until_ms / 1000, UTC).isoformat()


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        raise RuleError("id", "must be a UUID") from None


def _renamed(condition: Mapping[str, Any]) -> dict[str, Any]:
    """The condition with today's name of its groups. Source: alerting.md, section 10."""
    found = dict(condition)
    if "groupBy" in found:
        found.setdefault("group_by", found.pop("groupBy"))
    return found


def _is_nested(item: Any) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("config"), Mapping)


def _telegram_document(channel: TelegramChannel) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "telegram", "chat_id": channel.chat_id}
    return found if channel.thread_id is None else {**found, "thread_id": channel.thread_id}
