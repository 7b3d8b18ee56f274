"""A sample of a rule's message to each of its channels: once, now, without a trace."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from cli.alert_store import delivery_settings, load_rule
from cli.project_store import connect
from connectors.sending import Verdict
from connectors.settings import DeliverySettings
from flows.alert_sender import ChannelSenders
from flows.core.alert_decisions import channels_by_key
from flows.core.alert_messages import Message
from flows.core.alert_outgoing import channel_type, content_for
from schemas.alert_channels import target_of
from schemas.alert_delivery import Kind
from schemas.alert_rules import RATE_METRICS, AlertRule, Channel
from schemas.v1.alerts_pb2 import AlertTransition, PathCount

_SWITCH_ON = """
UPDATE alert_channels SET failures = 0, failing_since = NULL, disabled_at = NULL, last_error = NULL
WHERE rule_id = %s AND channel_key = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a channel said to the sample; `status` is of HTTP, None without an answer."""

    channel: str
    target: str
    is_ok: bool
    status: int | None
    error: str


def try_channels(data: Path, rule_id: str) -> list[Tried]:
    """Send the sample to all channels at once.

    Raises:
        UnknownRuleError: there is no such rule.
    """
    settings = delivery_settings(data)
    with connect(settings.database_url) as connection:
        known = load_rule(connection, rule_id)
        rule = known.rule
        message = Message(
            Kind.TEST,
            sample_of(rule, time.time_ns() // 1_000_000),
            rule,
            rule.id,
            known.project_name,
            settings.dashboard_url,
            0,
            known.zone,
        )
        channels = channels_by_key(rule)
        found = asyncio.run(_send(settings, list(channels.values()), message))
        good = [key for key, tried in zip(channels, found, strict=True) if tried.is_ok]
        connection.execute(_SWITCH_ON.encode(), (rule.id, good))
    return found


def sample_of(rule: AlertRule, now_ms: int) -> AlertTransition:
    """A firing as the rule could have it, with made-up evidence."""
    at_ms = now_ms // 10_000 * 10_000
    value, bound = _sample_figures(rule)
    sample = AlertTransition(
        alert_id=str(uuid.uuid4()),
        transition_id=str(uuid.uuid4()),
        rule_id=rule.id,
        rule_updated_at_ms=rule.updated_at_ms,
        project_id=rule.project_id,
        rule_name=rule.name,
        kind=Kind.FIRED,
        condition_type=rule.condition_type,
        metric=rule.metric,
        operator=rule.operator,
        value=value,
        threshold=bound,
        severity="warning",
        window_ms=rule.window_ms,
        window_start_ms=at_ms - rule.window_ms,
        window_end_ms=at_ms,
        opened_at_ms=at_ms,
        at_ms=at_ms,
        recent_values=[bound, (3 * bound + value) / 4, (bound + value) / 2, value],
        filters=rule.filters,
        top_paths=[PathCount(path="/a-sample", count=1)],
    )
    sample.group.update(dict.fromkeys(rule.group_by, "a sample"))
    return sample


def _sample_figures(rule: AlertRule) -> tuple[float, float]:
    """A value at which the rule would fire, and its bound."""
    if rule.condition_type == "absence":
        return 0.0, 0.0
    if rule.condition_type == "anomaly":
        return (4.0 if rule.direction == "down" else 42.0), 20.0
    bound = rule.threshold
    if rule.operator not in (">", "<"):
        return bound, bound
    step = max(1.0, abs(bound) / 10)
    value = bound + step if rule.operator == ">" else bound - step
    return (min(value, 100.0) if rule.metric in RATE_METRICS else value), bound


async def _send(
    settings: DeliverySettings, channels: list[Channel], message: Message
) -> list[Tried]:
    senders = ChannelSenders(settings)

    async def one(channel: Channel) -> Tried:
        attempt = await senders.send(
            channel,
            str(uuid.uuid4()),
            content_for(channel, message),
            time.time_ns() // 1_000_000,
        )
        return Tried(
            channel_type(channel),
            target_of(channel),
            attempt.verdict is Verdict.SENT,
            attempt.status,
            attempt.error,
        )

    try:
        return list(await asyncio.gather(*map(one, channels)))
    finally:
        await senders.close()
