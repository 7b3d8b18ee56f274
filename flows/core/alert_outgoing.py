"""What a transition changes in the outbox: history, messages, state. Pure.

In: a transition, its rule, what is known of it, the time. Out: a `Change`, or None
for what was there before. Ids are made of the transition and the channel alone: after a crash, a
replay or on another machine the same message has the same id.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from flows.core.alert_decisions import (
    Decision,
    channels_by_key,
    decide,
    known_after,
    scope_of,
)
from flows.core.alert_messages import (
    EVENTS,
    INSIGHTS_MAX,
    PATHS_MAX,
    RECENT_MAX,
    SESSIONS_MAX,
    DisabledChannel,
    Message,
    disabled_content,
    disabled_text,
    telegram_text,
    webhook_content,
    window_text,
)
from schemas.alert_channels import target_of
from schemas.alert_delivery import (
    Change,
    Claimed,
    HistoryRow,
    Kind,
    KnownAlert,
    KnownRule,
    NewDelivery,
)
from schemas.alert_rules import AlertRule, Channel, TelegramChannel, WebhookChannel
from schemas.v1.alerts_pb2 import AlertTransition

# The delay and the lag that rules are given: see docs/alerts.md.
LATE_AFTER_MS = 75_000
DELIVERY_NAMESPACE = uuid.UUID("6a1f7f0b-52a5-5c0e-8c7e-0b1d7a3d9a11")


def change_of(
    transition: AlertTransition,
    known_rule: KnownRule,
    known: KnownAlert,
    dashboard_url: str,
    now_ms: int,
    late_after_ms: int = LATE_AFTER_MS,
) -> Change | None:
    """What a transition changes; None if it was taken before.

    One that comes here so long after its time is late, too, whoever was behind.
    """
    rule = known_rule.rule
    if now_ms - transition.at_ms > late_after_ms and not transition.is_late:
        told, transition = transition, AlertTransition()
        transition.CopyFrom(told)
        transition.is_late = True
    decision = decide(transition, rule, known, now_ms)
    if decision.is_repeated:
        return None
    deliveries = tuple(_deliveries(transition, known_rule, decision, dashboard_url, now_ms))
    return Change(
        rule_id=transition.rule_id,
        scope=scope_of(transition),
        kind=transition.kind,
        after=known_after(known, transition, decision, now_ms),
        at_ms=transition.at_ms,
        row=_row(transition, rule, decision),
        promotes=decision.row_id if decision.promotes else "",
        closes=_closed(transition, decision, known),
        deliveries=deliveries,
        triggered_at_ms=now_ms if deliveries and decision.message is not Kind.RESOLVED else 0,
    )


def _closed(transition: AlertTransition, decision: Decision, known: KnownAlert) -> str:
    """Which alert is over.

    A rule and group has one at a time: when another begins the one before is, even if its end was
    never told, because the flow that decides has lost its state.
    """
    if decision.closes:
        return transition.alert_id
    is_other = known.alert_id != transition.alert_id
    return known.alert_id if decision.new_row is not None and is_other else ""


def end_of_gone(transition: AlertTransition) -> Change | None:
    """What an end changes whose rule is gone: history must not call it open for ever."""
    if transition.kind not in (Kind.RESOLVED, Kind.RELEASED):
        return None
    return Change(
        rule_id=transition.rule_id,
        scope=scope_of(transition),
        kind=transition.kind,
        after=None,
        at_ms=transition.at_ms,
        closes=transition.alert_id,
    )


def lane_of(channel: Channel, project_id: str) -> str:
    """Messages of one lane go to the same chat, or of one project to the same host and port.

    Hosts are shared by projects that know nothing of each other, and may not wait for each other.
    """
    match channel:
        case TelegramChannel():
            return f"telegram:{channel.chat_id}"
        case WebhookChannel():
            return f"webhook:{project_id}:{target_of(channel)}"


def channel_type(channel: Channel) -> str:
    """telegram or webhook."""
    return "telegram" if isinstance(channel, TelegramChannel) else "webhook"


def content_for(channel: Channel, message: Message) -> dict[str, Any]:
    """A message as a channel takes it, but for what changes by attempt."""
    if isinstance(channel, TelegramChannel):
        return {"text": telegram_text(message)}
    return {"event": EVENTS[message.kind], "content": webhook_content(message)}


def disabled_notices(
    claimed: Claimed, failures: int, failing_since_ms: int, error: str, now_ms: int
) -> tuple[NewDelivery, ...]:
    """What the rule's other channels are told when one is switched off."""
    rule = claimed.rule
    if rule is None:
        return ()
    channels = channels_by_key(rule)
    off = channels.get(claimed.channel_key)
    if off is None:
        return ()
    told = DisabledChannel(
        channel_type(off),
        target_of(off),
        failures,
        failing_since_ms,
        error,
        rule.id,
        rule.name,
    )
    event = EVENTS[Kind.CHANNEL_DISABLED]
    return tuple(
        NewDelivery(
            delivery_id=_id(f"{rule.id}:{claimed.channel_key}:{failing_since_ms}:off:{key}"),
            history_id=claimed.history_id,
            alert_id=claimed.alert_id,
            rule_id=rule.id,
            scope=claimed.scope,
            channel_key=key,
            channel_type=channel_type(channel),
            lane=lane_of(channel, rule.project_id),
            kind=Kind.CHANNEL_DISABLED,
            message={"text": disabled_text(told)}
            if isinstance(channel, TelegramChannel)
            else {"event": event, "content": disabled_content(told)},
            created_at_ms=now_ms,
        )
        for key, channel in channels.items()
        if key != claimed.channel_key
    )


def _deliveries(
    transition: AlertTransition,
    known_rule: KnownRule,
    decision: Decision,
    dashboard_url: str,
    now_ms: int,
) -> Iterator[NewDelivery]:
    if decision.message is None or not decision.row_id:
        return
    channels = channels_by_key(known_rule.rule)
    message = Message(
        decision.message,
        transition,
        known_rule.rule,
        decision.row_id,
        known_rule.project_name,
        dashboard_url,
        now_ms,
        known_rule.zone,
    )
    for key in decision.channels:
        channel = channels[key]
        yield NewDelivery(
            delivery_id=_id(f"{transition.transition_id}:{key}"),
            history_id=decision.row_id,
            alert_id=transition.alert_id,
            rule_id=transition.rule_id,
            scope=scope_of(transition),
            channel_key=key,
            channel_type=channel_type(channel),
            lane=lane_of(channel, transition.project_id),
            kind=decision.message,
            message=content_for(channel, message),
            created_at_ms=now_ms,
        )


def _row(transition: AlertTransition, rule: AlertRule, decision: Decision) -> HistoryRow | None:
    if decision.new_row is None:
        return None
    return HistoryRow(
        row_id=decision.row_id,
        alert_id=transition.alert_id,
        rule_id=transition.rule_id,
        project_id=transition.project_id,
        kind=decision.new_row,
        suppressed_by=decision.suppressed_by,
        scope=scope_of(transition),
        at_ms=transition.at_ms,
        value=transition.value if transition.HasField("value") else None,
        threshold=transition.threshold if transition.HasField("threshold") else None,
        severity=transition.severity,
        is_late=transition.is_late,
        context=_context(transition, rule),
    )


def _context(transition: AlertTransition, rule: AlertRule) -> dict[str, Any]:
    """Everything that makes the row readable when the rule is changed or gone."""
    return {
        "rule_name": transition.rule_name or rule.name,
        "rule_updated_at_ms": transition.rule_updated_at_ms,
        "condition": {
            "type": transition.condition_type,
            "metric": transition.metric,
            "operator": transition.operator,
            "window": window_text(transition.window_ms),
            "group_by": list(rule.group_by),
        },
        "group": dict(sorted(transition.group.items())),
        "filters": dict(sorted(transition.filters.items())),
        "window_start_ms": transition.window_start_ms,
        "window_end_ms": transition.window_end_ms,
        "opened_at_ms": transition.opened_at_ms,
        "held_for_ms": transition.held_for_ms,
        "recent_values": [
            value if value - value == 0 else None
            for value in transition.recent_values[-RECENT_MAX:]
        ],
        "top_paths": [
            {"path": path.path, "count": path.count} for path in transition.top_paths[:PATHS_MAX]
        ],
        "affected_sessions": transition.affected_sessions,
        "sample_session_ids": list(transition.sample_session_ids[:SESSIONS_MAX]),
        "insight_ids": list(transition.insight_ids[:INSIGHTS_MAX]),
    }


def _id(name: str) -> str:
    return str(uuid.uuid5(DELIVERY_NAMESPACE, name))
