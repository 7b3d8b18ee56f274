"""Rules of alerts: what a person wrote, checked, with all defaults filled in.

In: a rule's document, as it is stored (a row of `alert_rules`) or sent to the API. Out: an
`AlertRule`, or a `RuleError` that names the key at fault. Shared by whoever saves rules, evaluates
them or delivers what they say. Pure. Source: alerting.md, sections 1, 2, 6 and 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

import msgspec

MINUTE_MS = 60_000
WINDOW_MS_MIN = MINUTE_MS
WINDOW_MS_MAX = 24 * 60 * MINUTE_MS
NAME_CHARS_MAX = 255
CHANNELS_MAX = 10
GROUP_KEYS_MAX = 2
FILTER_CHARS_MAX = 1_024
RUNBOOK_CHARS_MAX = 2_048
COOLDOWN_MINS_MAX = 1_440
COOLDOWN_MINS = 15
SENSITIVITY = 4.0
MIN_VALUE = 5.0
MIN_SESSIONS = 10
MIN_SESSIONS_MAX = 1_000_000
THREAD_ID_MAX = 2**53

CONDITION_TYPES = ("threshold", "anomaly", "absence")
OPERATORS = (">", "<", ">=", "<=", "==")
DIRECTIONS = ("up", "down", "both")
DIMENSIONS = ("path", "browser", "country", "device_type", "os")
INSIGHT_TYPES: Mapping[str, str] = {
    "rage_clicks": "rage_click",
    "dead_clicks": "dead_click",
    "error_clicks": "error_click",
    "thrashed_cursors": "thrashed_cursor",
    "u_turns": "u_turn",
    "slow_pages": "slow_page",
}
COUNT_METRICS = ("sessions", "pageviews", "errors", *INSIGHT_TYPES, "goals", "purchases", "revenue")
RATE_METRICS = ("error_rate", "conversion_rate", "bounce_rate")
MEAN_METRICS = ("avg_lcp", "avg_ttfb")
METRICS = (*COUNT_METRICS, *RATE_METRICS, *MEAN_METRICS)
ALIASES: Mapping[str, str] = {"js_errors": "errors"}
# Bounces are told apart once a session is closed: a shorter window would mostly have none.
BOUNCE_WINDOW_MS_MIN = 60 * MINUTE_MS

# What a condition may say; `groupBy` is read as `group_by`.
CONDITION_KEYS = frozenset(
    {
        "metric", "window", "operator", "threshold", "group_by", "groupBy", "filters",
        "sensitivity", "direction", "min_value", "min_sessions", "notify_resolved", "runbook_url",
    }
)  # fmt: skip

_WINDOW = re.compile(r"([1-9]\d{0,4})([mh])")


class RuleError(ValueError):
    """A rule's document is bad: `key` says where, `text` what is wrong there."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key
        self.text = text


class TelegramChannel(msgspec.Struct, frozen=True, tag="telegram"):
    """A chat: a number (negative for groups) or `@name`; a thread of it, if it has topics."""

    chat_id: str
    thread_id: int | None = None


class WebhookChannel(msgspec.Struct, frozen=True, tag="webhook"):
    """A receiver and its secrets, the one to sign with first; two while one replaces the other.

    The old one ends by itself at `old_secret_until_ms`; None: when somebody takes it away.
    """

    url: str
    secrets: tuple[str, ...] = ()
    old_secret_until_ms: int | None = None

    def secrets_at(self, now_ms: int) -> tuple[str, ...]:
        """Those that sign then."""
        until_ms = self.old_secret_until_ms
        return self.secrets if until_ms is None or now_ms < until_ms else self.secrets[:1]


Channel = TelegramChannel | WebhookChannel


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. `threshold` and `operator` mean something for a threshold only."""

    id: str
    project_id: str
    name: str
    metric: str
    condition_type: str = "threshold"
    operator: str = ">"
    threshold: float = 0.0
    window_ms: int
    group_by: tuple[str, ...] = ()
    filters: dict[str, str] = {}  # By dimension; a trailing * matches a prefix.
    sensitivity: float = SENSITIVITY
    direction: str = "up"
    min_value: float = MIN_VALUE
    min_sessions: int = MIN_SESSIONS
    notify_resolved: bool = True
    channels: tuple[Channel, ...] = ()
    cooldown_mins: int = COOLDOWN_MINS
    is_active: bool = True
    updated_at_ms: int = 0
    runbook_url: str | None = None
    muted_until_ms: int | None = None


def read_rule(document: Mapping[str, Any]) -> AlertRule:
    """The rule of a document: keys of the table, the condition as an object under `condition`.

    Raises:
        RuleError: naming the first key at fault.
    """
    condition = document.get("condition", {})
    if not isinstance(condition, Mapping):
        raise RuleError("condition", "must be an object")
    condition_type = _one_of(document, "condition_type", CONDITION_TYPES, "threshold", "")
    metric = condition.get("metric")
    metric = ALIASES.get(metric, metric) if isinstance(metric, str) else metric
    if metric not in METRICS:
        raise RuleError("condition.metric", f"must be one of {', '.join(METRICS)}")
    window_ms = _window_ms(condition)
    rule = AlertRule(
        id=_text(document, "id", 64),
        project_id=_text(document, "project_id", 64),
        name=_text(document, "name", NAME_CHARS_MAX),
        condition_type=condition_type,
        metric=metric,
        operator=_one_of(condition, "operator", OPERATORS, ">", "condition.")
        if condition_type == "threshold"
        else "",
        threshold=_number(condition, "threshold", None) if condition_type == "threshold" else 0.0,
        window_ms=window_ms,
        group_by=_group_by(condition),
        filters=_filters(condition),
        sensitivity=_number(condition, "sensitivity", SENSITIVITY, above=0.0),
        direction=_one_of(condition, "direction", DIRECTIONS, "up", "condition."),
        min_value=_number(condition, "min_value", MIN_VALUE),
        min_sessions=int(_number(condition, "min_sessions", MIN_SESSIONS, most=MIN_SESSIONS_MAX)),
        notify_resolved=_flag(_either(document, condition, "notify_resolved", True)),
        channels=_channels(document.get("channels", ())),
        cooldown_mins=_cooldown(document),
        is_active=_flag(document.get("is_active", True), "is_active"),
        updated_at_ms=_time_ms(
            document.get("updated_at_ms", document.get("updated_at")), "updated_at"
        )
        or 0,
        runbook_url=_runbook(_either(document, condition, "runbook_url", None)),
        muted_until_ms=_time_ms(
            document.get("muted_until_ms", document.get("muted_until")), "muted_until"
        ),
    )
    _check_together(rule)
    return rule


def _check_together(rule: AlertRule) -> None:
    """What is wrong only beside something else."""
    if rule.condition_type == "absence" and rule.metric not in COUNT_METRICS:
        raise RuleError("condition.metric", "absence is of a count")
    if rule.condition_type == "absence" and rule.metric == "revenue":
        raise RuleError("condition.metric", "absence is of a count: take purchases")
    if rule.condition_type == "anomaly" and rule.group_by:
        raise RuleError("condition.group_by", "an anomaly has no groups")
    if rule.metric == "bounce_rate" and rule.window_ms < BOUNCE_WINDOW_MS_MIN:
        raise RuleError("condition.window", "bounce_rate needs at least 1h")


def _text(document: Mapping[str, Any], key: str, chars_max: int) -> str:
    value = document.get(key)
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if not 0 < len(text) <= chars_max:
        raise RuleError(key, f"must be a text of 1 to {chars_max} characters")
    return text


def _one_of(
    section: Mapping[str, Any], key: str, allowed: Sequence[str], default: str, path: str
) -> str:
    value = section.get(key, default)
    if value not in allowed:
        raise RuleError(f"{path}{key}", f"must be one of {', '.join(allowed)}")
    return str(value)


def _number(
    condition: Mapping[str, Any],
    key: str,
    default: float | None,
    *,
    above: float | None = None,
    most: float | None = None,
) -> float:
    value = condition.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RuleError(f"condition.{key}", "must be a number")
    try:
        # PostgreSQL gives 1e30 back as a whole number, which no record of a rule could hold.
        number = float(value)
    except OverflowError:
        raise RuleError(f"condition.{key}", "must be a number") from None
    if not isfinite(number):
        raise RuleError(f"condition.{key}", "must be a number")
    if above is not None and number <= above:
        raise RuleError(f"condition.{key}", f"must be above {above:g}")
    if most is not None and number > most:
        raise RuleError(f"condition.{key}", f"must be at most {most:g}")
    return number


def _flag(value: Any, key: str = "condition.notify_resolved") -> bool:
    if not isinstance(value, bool):
        raise RuleError(key, "must be true or false")
    return value


def _either(
    document: Mapping[str, Any], condition: Mapping[str, Any], key: str, default: Any
) -> Any:
    value = document.get(key)
    return condition.get(key, default) if value is None else value


def _window_ms(condition: Mapping[str, Any]) -> int:
    value = condition.get("window")
    found = _WINDOW.fullmatch(value) if isinstance(value, str) else None
    window_ms = int(found[1]) * (MINUTE_MS if found[2] == "m" else 60 * MINUTE_MS) if found else 0
    if not WINDOW_MS_MIN <= window_ms <= WINDOW_MS_MAX:
        raise RuleError("condition.window", "must be minutes or hours from 1m to 24h, such as 5m")
    return window_ms


def _group_by(condition: Mapping[str, Any]) -> tuple[str, ...]:
    key = "group_by" if "group_by" in condition else "groupBy"
    value = condition.get(key)
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if (
        not isinstance(value, list | tuple)
        or len(value) > GROUP_KEYS_MAX
        or any(item not in DIMENSIONS for item in value)
        or len(set(value)) != len(value)
    ):
        text = f"must be a list of at most {GROUP_KEYS_MAX} of {', '.join(DIMENSIONS)}"
        raise RuleError(f"condition.{key}", text)
    return tuple(value)


def _filters(condition: Mapping[str, Any]) -> dict[str, str]:
    value = condition.get("filters")
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RuleError("condition.filters", "must be an object")
    for key, wanted in value.items():
        if key not in DIMENSIONS:
            raise RuleError(f"condition.filters.{key}", f"must be one of {', '.join(DIMENSIONS)}")
        if not isinstance(wanted, str) or not 0 < len(wanted) <= FILTER_CHARS_MAX:
            raise RuleError(
                f"condition.filters.{key}", f"must be a text of 1 to {FILTER_CHARS_MAX} characters"
            )
    return {key: value[key] for key in DIMENSIONS if key in value}


def _cooldown(document: Mapping[str, Any]) -> int:
    value = document.get("cooldown_mins", COOLDOWN_MINS)
    if type(value) is not int or not 0 <= value <= COOLDOWN_MINS_MAX:
        raise RuleError("cooldown_mins", f"must be a whole number from 0 to {COOLDOWN_MINS_MAX}")
    return value


def _time_ms(value: Any, key: str) -> int | None:
    if value is None or type(value) is int:
        return value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise RuleError(key, "must be a time as ISO 8601") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise RuleError(key, "must be a time with its zone")
    return int(value.timestamp() * 1000)


def _runbook(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        raise RuleError("runbook_url", "must be an address that begins with https:// or http://")
    if len(value) > RUNBOOK_CHARS_MAX:
        raise RuleError("runbook_url", f"must have at most {RUNBOOK_CHARS_MAX} characters")
    return value


def _channels(value: Any) -> tuple[Channel, ...]:
    if not isinstance(value, list | tuple) or len(value) > CHANNELS_MAX:
        raise RuleError("channels", f"must be a list of at most {CHANNELS_MAX}")
    return tuple(_channel(item, f"channels[{place}]") for place, item in enumerate(value))


def _channel(item: Any, path: str) -> Channel:
    if not isinstance(item, Mapping):
        raise RuleError(path, "must be an object")
    config = item.get("config", item)
    if not isinstance(config, Mapping):
        raise RuleError(f"{path}.config", "must be an object")
    if item.get("type") == "telegram":
        return _telegram(config, path)
    if item.get("type") == "webhook":
        return _webhook(config, path)
    raise RuleError(f"{path}.type", "must be telegram or webhook")


def _telegram(config: Mapping[str, Any], path: str) -> TelegramChannel:
    chat_id = config.get("chat_id")
    chat_id = str(chat_id) if type(chat_id) is int else chat_id
    if not isinstance(chat_id, str) or not re.fullmatch(r"-?\d{1,20}|@\w{4,64}", chat_id):
        raise RuleError(f"{path}.chat_id", "must be a number or @name")
    thread_id = config.get("thread_id")
    if thread_id is not None and (
        type(thread_id) is not int or not 1 <= thread_id <= THREAD_ID_MAX
    ):
        raise RuleError(f"{path}.thread_id", f"must be a whole number from 1 to {THREAD_ID_MAX}")
    return TelegramChannel(chat_id, thread_id)


def _webhook(config: Mapping[str, Any], path: str) -> WebhookChannel:
    url = config.get("url")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")) or len(url) > 2_048:
        raise RuleError(f"{path}.url", "must be an address that begins with https://")
    secrets = config.get("secrets")
    if secrets is None:
        secrets = [config["secret"]] if config.get("secret") is not None else []
    if (
        not isinstance(secrets, list | tuple)
        or len(secrets) > 2
        or any(not isinstance(secret, str) or not 0 < len(secret) <= 512 for secret in secrets)
    ):
        raise RuleError(f"{path}.secret", "must be one text, or two in secrets")
    until_ms = _time_ms(config.get("old_secret_until"), f"{path}.old_secret_until")
    return WebhookChannel(url, tuple(secrets), until_ms)
