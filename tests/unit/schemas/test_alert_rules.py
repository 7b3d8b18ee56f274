"""Rules as people write them: what is read, and which key is named when it cannot be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from schemas.alert_rules import AlertRule, RuleError, TelegramChannel, WebhookChannel, read_rule

ID = "1f0a7f6e-0000-4000-8000-000000000001"
PROJECT = "1f0a7f6e-0000-4000-8000-000000000002"


def document(condition: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A small valid rule with something else in it."""
    base = {"metric": "rage_clicks", "operator": ">", "threshold": 10, "window": "5m"}
    return {
        "id": ID,
        "project_id": PROJECT,
        "name": "Rage",
        "condition": base | (condition or {}),
        **fields,
    }


def test_defaults_are_those_of_the_document() -> None:
    """A rule says only what differs."""
    assert read_rule(document()) == AlertRule(
        id=ID,
        project_id=PROJECT,
        name="Rage",
        metric="rage_clicks",
        operator=">",
        threshold=10,
        window_ms=300_000,
        sensitivity=4,
        min_value=5,
        min_sessions=10,
        cooldown_mins=15,
    )


@pytest.mark.parametrize("key", ["threshold", "sensitivity", "min_value"])
def test_a_number_fits_into_a_record_however_it_was_stored(key: str) -> None:
    """PostgreSQL gives 1e30 back as a whole number, and the flow writes it into a record."""
    rule = read_rule(document({key: 10**30}))
    (read,) = msgspec.msgpack.decode(msgspec.msgpack.encode([rule]), type=list[AlertRule])
    assert read == rule


def test_older_spellings_are_read() -> None:
    """groupBy, js_errors and channels with a config mean what they meant."""
    rule = read_rule(
        document(
            {"metric": "js_errors", "groupBy": ["path"], "filters": {"os": "iOS", "path": "/a*"}},
            channels=[
                {"type": "telegram", "config": {"chat_id": -100123}},
                {"type": "webhook", "url": "https://a.example/x", "secret": "s"},
            ],
            updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    assert rule.metric == "errors"
    assert rule.group_by == ("path",)
    assert rule.filters == {"path": "/a*", "os": "iOS"}
    assert rule.channels == (
        TelegramChannel("-100123"),
        WebhookChannel("https://a.example/x", ("s",)),
    )
    assert rule.updated_at_ms == 1_767_225_600_000


def test_an_old_secret_ends_at_its_time() -> None:
    """Until then both sign; without a time it ends when somebody takes it away."""
    hook = {"type": "webhook", "url": "https://a.example/x", "secrets": ["new", "old"]}
    until = {**hook, "old_secret_until": "2026-01-01T00:00:00+00:00"}
    ends, stays = read_rule(document(channels=[until, hook])).channels
    assert isinstance(ends, WebhookChannel)
    assert isinstance(stays, WebhookChannel)
    assert ends.secrets_at(1_767_225_599_999) == ("new", "old")
    assert ends.secrets_at(1_767_225_600_000) == ("new",)
    assert stays.secrets_at(1_767_225_600_000) == ("new", "old")


@pytest.mark.parametrize(
    ("text", "window_ms"), [("1m", 60_000), ("10m", 600_000), ("24h", 86_400_000)]
)
def test_any_window_of_minutes_or_hours_is_accepted(text: str, window_ms: int) -> None:
    """From one minute to a day."""
    assert read_rule(document({"window": text})).window_ms == window_ms


@pytest.mark.parametrize(
    ("key", "condition", "fields"),
    [
        ("condition.metric", {"metric": "clicks"}, {}),
        ("condition.operator", {"operator": "!="}, {}),
        ("condition.threshold", {"threshold": "10"}, {}),
        ("condition.threshold", {"threshold": float("nan")}, {}),
        ("condition.threshold", {"threshold": True}, {}),
        ("condition.threshold", {"threshold": 10**400}, {}),
        ("condition.min_sessions", {"min_sessions": 10**30}, {}),
        ("condition.window", {"window": "5s"}, {}),
        ("condition.window", {"window": "25h"}, {}),
        ("condition.window", {"window": 5}, {}),
        ("condition.group_by", {"group_by": ["path", "os", "browser"]}, {}),
        ("condition.groupBy", {"groupBy": ["page"]}, {}),
        ("condition.filters.page", {"filters": {"page": "/"}}, {}),
        ("condition.filters.path", {"filters": {"path": ""}}, {}),
        ("condition.sensitivity", {"sensitivity": 0}, {"condition_type": "anomaly"}),
        ("condition.direction", {"direction": "sideways"}, {"condition_type": "anomaly"}),
        ("condition.group_by", {"group_by": ["path"]}, {"condition_type": "anomaly"}),
        ("condition.metric", {"metric": "avg_lcp"}, {"condition_type": "absence"}),
        ("condition.window", {"metric": "bounce_rate"}, {}),
        ("condition_type", {}, {"condition_type": "trend"}),
        ("condition", {}, {"condition": []}),
        ("name", {}, {"name": ""}),
        ("cooldown_mins", {}, {"cooldown_mins": 1441}),
        ("is_active", {}, {"is_active": 1}),
        ("runbook_url", {}, {"runbook_url": "javascript:alert(1)"}),
        ("channels", {}, {"channels": {}}),
        ("channels[0].type", {}, {"channels": [{"type": "slack"}]}),
        ("channels[0].chat_id", {}, {"channels": [{"type": "telegram"}]}),
        (
            "channels[0].thread_id",
            {},
            {"channels": [{"type": "telegram", "chat_id": "1", "thread_id": 10**30}]},
        ),
        ("channels[0].url", {}, {"channels": [{"type": "webhook", "url": "ftp://a"}]}),
        ("updated_at", {}, {"updated_at": "yesterday"}),
    ],
)
def test_the_key_at_fault_is_named(
    key: str, condition: dict[str, Any], fields: dict[str, Any]
) -> None:
    """Whoever wrote the rule is told where to look."""
    with pytest.raises(RuleError) as caught:
        read_rule(document(condition) | fields)
    assert caught.value.key == key
