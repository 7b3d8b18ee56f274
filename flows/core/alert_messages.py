"""What people and programs are told: one message for one channel.

In: what became known (a transition), what kind of message it is, the rule, where the dashboard is.
Out: HTML for Telegram, a document for webhooks. Pure. What visitors could write (paths, names of
browsers, groups) is escaped, on one line, and cut; a Telegram text is never longer than Telegram
takes: what matters least goes first. Source: alerting.md, section 6.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import quote

from schemas.alert_delivery import Kind
from schemas.alert_rules import MEAN_METRICS, RATE_METRICS, AlertRule
from schemas.v1.alerts_pb2 import AlertTransition

TEXT_LENGTH_MAX = 4096  # Of UTF-16 units, as Telegram counts.
VALUE_LENGTH_MAX = 200
PATHS_MAX = 5
SESSIONS_MAX = 5
INSIGHTS_MAX = 10
RECENT_MAX = 60
BARS = "▁▂▃▄▅▆▇█"
EVENTS: Mapping[Kind, str] = {
    Kind.FIRED: "alert.triggered",
    Kind.STILL_FIRING: "alert.still_firing",
    Kind.RESOLVED: "alert.resolved",
    Kind.TEST: "alert.test",
    Kind.CHANNEL_DISABLED: "channel.disabled",
}
_STATES = {
    Kind.FIRED: "firing",
    Kind.STILL_FIRING: "still_firing",
    Kind.RESOLVED: "resolved",
    Kind.TEST: "test",
}
_BREAKS = "\t\r\n\u2028\u2029"  # Shown as a blank.
_GROUP_NAMES = {
    "path": "Path",
    "browser": "Browser",
    "country": "Country",
    "device_type": "Device",
    "os": "System",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What a message is made of. `row_id` names the history row that it is about.

    `dashboard_url` is empty where there is none. `told_at_ms` is when it was decided.
    """

    kind: Kind
    transition: AlertTransition
    rule: AlertRule
    row_id: str
    project_name: str
    dashboard_url: str
    told_at_ms: int
    zone: tzinfo = UTC  # In which people are told the time.

    @property
    def alert_url(self) -> str:
        """The page of this alert; empty without a dashboard."""
        return self._url(f"alerts/{self.row_id}")

    @property
    def mute_url(self) -> str:
        """Where a person who is logged in can mute the rule; following it alone changes nothing."""
        return self._url(f"alerts/rules/{self.transition.rule_id}/mute")

    def session_url(self, session_id: str) -> str:
        """The page of a session."""
        return self._url(f"sessions/{quote(session_id, safe='')}")

    def _url(self, path: str) -> str:
        base = self.dashboard_url.rstrip("/")
        return f"{base}/{self.transition.project_id}/{path}" if base else ""


@dataclass(frozen=True, slots=True)
class DisabledChannel:
    """A channel that was switched off, as the others are told. `target` holds no secret."""

    channel_type: str
    target: str
    failures: int
    failing_since_ms: int
    last_error: str
    rule_id: str
    rule_name: str


def telegram_text(message: Message) -> str:
    """The message as Telegram's HTML, at most as long as Telegram takes."""
    needed = [_headline(message), "", *_figures(message)]
    # What matters least is last.
    extra = [
        lines
        for lines in (
            _group_lines(message),
            _links(message),
            _affected(message),
            _late(message),
            _recent(message),
            _top_paths(message),
            _sessions(message),
            _filters(message),
        )
        if lines
    ]
    while True:
        text = _put_together(message, needed, extra)
        if _length(text) <= TEXT_LENGTH_MAX or not extra:
            return text
        extra.pop()


def webhook_content(message: Message) -> dict[str, Any]:
    """The body's `alert`; all keys are always there."""
    transition, rule = message.transition, message.rule
    is_over = message.kind is Kind.RESOLVED
    sessions = list(transition.sample_session_ids[:SESSIONS_MAX])
    return {
        "alert": {
            "id": message.row_id,
            "alert_id": transition.alert_id,
            "rule_id": transition.rule_id,
            "rule_name": transition.rule_name or rule.name,
            "project_id": transition.project_id,
            "project_name": message.project_name,
            "state": _STATES[message.kind],
            "severity": transition.severity,
            "condition_type": transition.condition_type,
            "metric": transition.metric,
            "operator": transition.operator,
            "value": transition.value if transition.HasField("value") else None,
            "threshold": transition.threshold if transition.HasField("threshold") else None,
            "window": window_text(transition.window_ms),
            "group": dict(sorted(transition.group.items())),
            "triggered_at": iso_time(transition.opened_at_ms),
            "resolved_at": iso_time(transition.at_ms) if is_over else None,
            "at": iso_time(transition.at_ms),
            "is_late": transition.is_late,
            "context": {
                "filters": dict(sorted(transition.filters.items())),
                "window_start": iso_time(transition.window_start_ms),
                "window_end": iso_time(transition.window_end_ms),
                "recent_values": [
                    _finite(value) for value in transition.recent_values[-RECENT_MAX:]
                ],
                "top_paths": [
                    {"path": path.path, "count": path.count}
                    for path in transition.top_paths[:PATHS_MAX]
                ],
                "affected_sessions": transition.affected_sessions,
                "sample_session_ids": sessions,
                "session_urls": [message.session_url(s) for s in sessions if message.dashboard_url],
                "insight_ids": list(transition.insight_ids[:INSIGHTS_MAX]),
            },
            "dashboard_url": message.alert_url or None,
            "mute_url": message.mute_url or None,
            "runbook_url": rule.runbook_url,
        }
    }


def disabled_text(channel: DisabledChannel) -> str:
    """The notice that another channel of the rule was switched off, for Telegram."""
    since = datetime.fromtimestamp(channel.failing_since_ms / 1000, UTC)
    return "\n".join(
        (
            f"🔕 <b>A {channel.channel_type} channel was switched off</b>",
            "",
            f"📋 <b>Rule:</b> {_safe(channel.rule_name)}",
            f"📡 <b>Target:</b> {_safe(channel.target)}",
            f"❌ <b>Failures:</b> {channel.failures} in a row since {since:%Y-%m-%d %H:%M} UTC",
            f"💬 <b>Last:</b> {_safe(channel.last_error)}",
            "",
            "Nothing is sent there any more. Mend it, then save the rule or test it.",
        )
    )


def disabled_content(channel: DisabledChannel) -> dict[str, Any]:
    """The same for webhooks: the body's `channel`."""
    return {
        "channel": {
            "type": channel.channel_type,
            "target": channel.target,
            "failures": channel.failures,
            "failing_since": iso_time(channel.failing_since_ms),
            "last_error": channel.last_error,
            "rule_id": channel.rule_id,
            "rule_name": channel.rule_name,
        }
    }


def value_text(metric: str, value: float) -> str:
    """A value with its unit: counts whole, shares as 4.2%, times as 4210 ms, money as 12.50."""
    if not math.isfinite(value):
        return "none"
    if metric in RATE_METRICS:
        return f"{value:.1f}%"
    if metric in MEAN_METRICS:
        return f"{value:.0f} ms"
    if metric == "revenue":
        return f"{value:.2f}"
    return f"{value:.0f}" if value == round(value) else f"{value:.2f}"


def window_text(window_ms: int) -> str:
    """5m, 1h, as rules have it."""
    minutes = window_ms // 60_000
    return f"{minutes // 60}h" if minutes and minutes % 60 == 0 else f"{minutes}m"


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, from zero to the largest; a value that is none is a gap."""
    known = [value for value in values if math.isfinite(value)]
    top = max(known, default=0.0)
    low = min(0.0, *known) if known else 0.0
    span = top - low
    if span <= 0:
        return BARS[0] * len(values)
    return "".join(
        BARS[round((value - low) / span * (len(BARS) - 1))] if math.isfinite(value) else " "
        for value in values
    )


def iso_time(at_ms: int) -> str:
    """RFC 3339 with milliseconds, UTC."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration_text(duration_ms: int) -> str:
    """8 s, 8 min, 2 h 5 min, 3 d 4 h."""
    seconds = max(0, duration_ms) // 1000
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _put_together(message: Message, needed: list[str], extra: list[list[str]]) -> str:
    links = _links(message)
    body = [line for lines in extra if lines != links for line in lines]
    parts = ["\n".join(needed)]
    if body:
        parts.append("\n".join(body))
    if links in extra and links:
        parts.append("\n".join(links))
    return "\n\n".join(parts)


def _headline(message: Message) -> str:
    is_critical = message.transition.severity == "critical"
    sign = "✅" if message.kind is Kind.RESOLVED else "🚨" if is_critical else "⚠️"
    name = _safe(message.transition.rule_name or message.rule.name)
    before = "[TEST] " if message.kind is Kind.TEST else ""
    after = " still firing" if message.kind is Kind.STILL_FIRING else ""
    return f"{sign} {before}<b>{name}</b>{after}"


def _figures(message: Message) -> list[str]:
    transition = message.transition
    at = datetime.fromtimestamp(transition.at_ms / 1000, message.zone)
    value = (
        value_text(transition.metric, transition.value) if transition.HasField("value") else "none"
    )
    lines = [
        f"📊 <b>Metric:</b> {_safe(transition.metric)}",
        f"📈 <b>Value:</b> {value} in {window_text(transition.window_ms)}",
        f"🎯 <b>Threshold:</b> {html.escape(_threshold(transition), quote=False)}",
        f"⏰ <b>Time:</b> {at:%H:%M:%S %Z}",
    ]
    if message.kind in (Kind.RESOLVED, Kind.STILL_FIRING):
        open_for = duration_text(transition.at_ms - transition.opened_at_ms)
        told = "Was open for" if message.kind is Kind.RESOLVED else "Open for"
        lines.append(f"⏱ <b>{told}:</b> {open_for}")
    return lines


def _threshold(transition: AlertTransition) -> str:
    if transition.condition_type == "absence":
        return f"none for {duration_text(transition.window_ms)}"
    bound = value_text(transition.metric, transition.threshold)
    if transition.condition_type == "anomaly":
        return f"{bound}, the edge of what is usual at this hour"
    return f"{transition.operator} {bound}"


def _group_lines(message: Message) -> list[str]:
    return [
        f"📍 <b>{_GROUP_NAMES.get(key, _safe(key))}:</b> {_safe(value)}"
        for key, value in sorted(message.transition.group.items())
    ]


def _affected(message: Message) -> list[str]:
    count = message.transition.affected_sessions
    return [f"👥 <b>Affected Sessions:</b> {count}"] if count > 0 else []


def _late(message: Message) -> list[str]:
    if not message.transition.is_late:
        return []
    late = duration_text(message.told_at_ms - message.transition.at_ms)
    return [f"⏳ <b>Late:</b> told {late} after it happened, GoSight was behind"]


def _recent(message: Message) -> list[str]:
    values = list(message.transition.recent_values[-RECENT_MAX:])
    if len(values) < 2:
        return []
    last = value_text(message.transition.metric, values[-1])
    return [f"📉 <b>Course:</b> <code>{sparkline(values)}</code> {last}"]


def _top_paths(message: Message) -> list[str]:
    paths = message.transition.top_paths[:PATHS_MAX]
    if not paths:
        return []
    return ["🔝 <b>Top Paths:</b>", *(f"• {_safe(path.path)} ({path.count})" for path in paths)]


def _sessions(message: Message) -> list[str]:
    ids = message.transition.sample_session_ids[:SESSIONS_MAX]
    if not ids:
        return []
    shown = [
        _anchor(message.session_url(session_id), session_id[-6:])
        if message.dashboard_url
        else f"<code>{_safe(session_id)}</code>"
        for session_id in ids
    ]
    return [f"🎬 <b>Sessions:</b> {', '.join(shown)}"]


def _filters(message: Message) -> list[str]:
    found = sorted(message.transition.filters.items())
    told = ", ".join(f"{_safe(key)} = {_safe(value)}" for key, value in found)
    return [f"🔎 <b>Only:</b> {told}"] if found else []


def _links(message: Message) -> list[str]:
    shown = []
    if message.alert_url:
        shown.append(_anchor(message.alert_url, "View in Dashboard"))
        if message.kind is not Kind.RESOLVED:
            shown.append(_anchor(message.mute_url, "Mute"))
    if message.rule.runbook_url and message.kind is not Kind.RESOLVED:
        shown.append(_anchor(message.rule.runbook_url, "Runbook"))
    return ["🔗 " + " · ".join(shown)] if shown else []


def _anchor(url: str, text: str) -> str:
    return f'<a href="{html.escape(url)}">{_safe(text)}</a>'


def _safe(text: str) -> str:
    """On one line, cut, escaped; characters that steer the display are left out."""
    plain = "".join(
        " " if character in _BREAKS else character
        for character in text
        if character in _BREAKS or not unicodedata.category(character).startswith("C")
    )
    if len(plain) > VALUE_LENGTH_MAX:
        plain = plain[: VALUE_LENGTH_MAX - 1] + "…"
    return html.escape(plain, quote=False)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
