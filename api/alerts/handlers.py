"""Alert rules and their history. Source: alerting.md, sections 1 and 8."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from api.access import Access
from api.accounts.fields import list_answer, nothing, one_answer
from api.alerts import models
from api.alerts.services import AlertServices
from api.answers import data_answer
from api.auth import CALLER, Caller
from api.bodies import Body, read_body
from api.cursor import Cursor, decode_cursor
from api.errors import ApiError, ErrorCode
from api.reads.asking import ask_period, id_of_path, not_found
from api.services import SERVICES
from connectors.alert_book import (
    OLD_SECRET_HOURS,
    HistoryPage,
    SavedRule,
    StoredRule,
    TooManyRulesError,
    UnknownRuleError,
)
from connectors.alert_tables import time_of
from connectors.database import DatabaseRow
from connectors.errors import RetryableError
from schemas.alert_channels import channel_key, target_of
from schemas.alert_rules import Channel, RuleError, TelegramChannel

_LIST = "alerts"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENTS = range(253_402_300_800_000_000)  # Microseconds up to the end of the year 9999.


def alerts_of(request: web.Request) -> AlertServices:
    """The stores of alerts.

    Raises:
        RetryableError: this process was made without.
    """
    services = request.app[SERVICES].alerts
    if services is None:
        raise RetryableError("the stores of alerts are not connected")
    return services


async def rules(request: web.Request) -> web.Response:
    """The rules of a project, without their secrets."""
    caller = request[CALLER]
    found = await alerts_of(request).book.rules(caller.project_id)
    return list_answer(models.Rule, [shown(rule, caller) for rule in found])


async def new_rule(request: web.Request) -> web.Response:
    """Make a rule; it is in force within ten seconds.

    Targets of webhooks are checked. A webhook without a secret gets one: it is in this answer and
    nowhere else.
    """
    caller, body = request[CALLER], await read_body(request, models.NewRuleBody)
    try:
        saved = await alerts_of(request).book.put(
            caller.project_id, document_of(body), caller.account_id
        )
    except TooManyRulesError as error:
        raise ApiError(ErrorCode.CONFLICT, str(error)) from None
    except RuleError as error:
        raise bad_rule(error) from None
    return await _saved(request, saved, status=201)


async def rule(request: web.Request) -> web.Response:
    """One rule, without its secrets."""
    stored = await rule_of_path(request)
    return one_answer(models.Rule, shown(stored, request[CALLER]))


async def change_rule(request: web.Request) -> web.Response:
    """Change a rule; what is not named stays, a condition or a list of channels is replaced.

    It is in force within ten seconds. A webhook keeps its secret as long as its address stays.
    """
    body = await read_body(request, models.RuleBody)
    rule_id = id_of_path(request, "alert_id", "alert")
    try:
        saved = await alerts_of(request).book.change(
            request[CALLER].project_id, rule_id, document_of(body)
        )
    except RuleError as error:
        raise bad_rule(error) from None
    if saved is None:
        raise not_found("alert")
    return await _saved(request, saved)


async def delete_rule(request: web.Request) -> web.Response:
    """Delete a rule; its history stays."""
    rule_id = id_of_path(request, "alert_id", "alert")
    if not await alerts_of(request).book.delete(request[CALLER].project_id, rule_id):
        raise not_found("alert")
    return nothing()


async def mute(request: web.Request) -> web.Response:
    """Send nothing of a rule for a while; what fires meanwhile is in the history as suppressed."""
    body = await read_body(request, models.MuteBody)
    return await _muted(request, body.minutes)


async def end_mute(request: web.Request) -> web.Response:
    """Let a rule be heard again."""
    return await _muted(request, 0)


async def rotate_secret(request: web.Request) -> web.Response:
    """Give each webhook of a rule a new secret; both sign for a day, or until `finish`."""
    body = await read_body(request, models.RotateBody)
    now_ms = request.app[SERVICES].now_ms()
    try:
        made = await alerts_of(request).book.rotate(
            request[CALLER].project_id, id_of_path(request, "alert_id", "alert"), is_end=body.finish
        )
    except UnknownRuleError:
        raise not_found("alert") from None
    until = time_of(now_ms + OLD_SECRET_HOURS * 3_600_000) if made else None
    return one_answer(models.Secrets, {"secrets": _secrets(made), "old_secret_until": until})


async def history(request: web.Request) -> web.Response:
    """What fired, what was kept back, and what became of each message."""
    asked = ask_period(request, models.HistoryParameters)
    given = asked.parameters
    cursor = decode_cursor(given.cursor, _LIST, _MOMENTS)
    rows = await alerts_of(request).book.history(
        asked.caller.project_id,
        HistoryPage(
            given.per_page + 1,
            rule_id=None if given.rule_id is None else str(given.rule_id),
            start=_moment(asked.period.start_ms * 1000),
            end=_moment(asked.period.end_ms * 1000),
            is_open=given.open,
            before=None if cursor is None else (_moment(cursor.place), cursor.row_id),
        ),
    )
    page = rows[: given.per_page]
    next_cursor = None
    if len(rows) > len(page):
        last = page[-1]
        place = (last["triggered_at"] - _EPOCH) // timedelta(microseconds=1)
        next_cursor = Cursor(_LIST, place, last["id"]).encode()
    return data_answer(
        [models.HistoryEntry.model_validate(_entry(row)).model_dump(mode="json") for row in page],
        {"next_cursor": next_cursor},
    )


async def rule_of_path(request: web.Request) -> StoredRule:
    """The rule that the path names.

    Raises:
        ApiError: NOT_FOUND.
    """
    rule_id = id_of_path(request, "alert_id", "alert")
    stored = await alerts_of(request).book.find(request[CALLER].project_id, rule_id)
    if stored is None:
        raise not_found("alert")
    return stored


def document_of(body: Body) -> dict[str, Any]:
    """What a body says of a rule, as `read_rule` takes it: nothing that was left out."""
    found: dict[str, Any] = {}
    for name in body.model_fields_set:
        value = getattr(body, name)
        match value:
            case Body():
                found[name] = document_of(value)
            case list() if all(isinstance(item, Body) for item in value):
                found[name] = [document_of(item) for item in value]
            case _:
                found[name] = value.get_secret_value() if name == "secret" else value
    return found


def bad_rule(error: RuleError) -> ApiError:
    """What is wrong with a rule, by the path of its key."""
    return ApiError(ErrorCode.VALIDATION_ERROR, "the body is invalid", {error.key: error.text})


def shown(stored: StoredRule, caller: Caller) -> Mapping[str, Any]:
    """A rule for this caller. Only who may write rules sees whole addresses of webhooks."""
    known = () if stored.rule is None else stored.rule.channels
    is_writer = caller.role >= Access.ADMIN
    channels = [_channel(one, stored.off.get(channel_key(one)), is_writer) for one in known]
    return {**stored.row, "channels": channels}


def _channel(channel: Channel, off: DatabaseRow | None, is_writer: bool) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("chat_id", "thread_id", "url", "old_secret_until"))
    found["target"] = target_of(channel)
    if isinstance(channel, TelegramChannel):
        found |= {"type": "telegram", "chat_id": channel.chat_id, "thread_id": channel.thread_id}
    else:
        until = time_of(channel.old_secret_until_ms or 0)
        url = channel.url if is_writer else None
        found |= {"type": "webhook", "url": url, "old_secret_until": until}
    return {
        **found,
        "disabled_at": None if off is None else off["disabled_at"],
        "last_error": None if off is None else off["last_error"],
    }


def _entry(row: DatabaseRow) -> dict[str, Any]:
    """A row of the history; a figure that is none is told as null."""
    figures = {name: row[name] for name in ("metric_value", "threshold")}
    return {
        **row,
        **{
            name: None if value is None or not math.isfinite(value) else value
            for name, value in figures.items()
        },
    }


def _moment(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def _secrets(made: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"url": url, "secret": secret} for url, secret in made]


async def _saved(request: web.Request, saved: SavedRule, *, status: int = 200) -> web.Response:
    caller = request[CALLER]
    stored = await alerts_of(request).book.find(caller.project_id, saved.rule_id)
    if stored is None:  # Deleted meanwhile by somebody else.
        raise not_found("alert")
    row = {**shown(stored, caller), "secrets": _secrets(saved.secrets)}
    return one_answer(models.SavedRule, row, status=status)


async def _muted(request: web.Request, minutes: int) -> web.Response:
    try:
        until = await alerts_of(request).book.mute(
            request[CALLER].project_id, id_of_path(request, "alert_id", "alert"), minutes
        )
    except UnknownRuleError:
        raise not_found("alert") from None
    return one_answer(models.Mute, {"muted_until": until})
