"""What the delivery of alerts passes between deciding, keeping and sending.

Deciding is pure (`flows.core.alert_decisions`, `flows.core.alert_sending`), keeping is PostgreSQL
(`connectors.alert_outbox`, `connectors.alert_queue`); these are the shapes that both know.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from enum import StrEnum
from typing import Any

import msgspec

from schemas.alert_rules import AlertRule


class Kind(StrEnum):
    """What a transition says, and what a history row or a message is about."""

    FIRED = "fired"
    STILL_FIRING = "still_firing"
    RESOLVED = "resolved"
    HELD = "held"
    RELEASED = "released"
    SUPPRESSED = "suppressed"  # Of history rows only.
    TEST = "test"  # Of messages only, as the next one.
    CHANNEL_DISABLED = "channel_disabled"


class Status(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"  # A cooldown began, or the rule was muted, before it could be sent.
    CANCELLED = "cancelled"  # The rule or the channel is gone or switched off.


class KnownRule(msgspec.Struct, frozen=True):
    """A rule as it is now, and the name and time zone of its project."""

    rule: AlertRule
    project_name: str
    zone: tzinfo = UTC


class KnownAlert(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rule and group, before a transition.

    `row_*` are of the newest history row. `told_at_ms` is when its message was decided, 0 if it has
    none; `is_waiting` says that a part of that message is not sent and not given up; `is_heard`
    that it arrived somewhere. `told_channels` are keys of channels that were told of the alert, or
    will be.
    """

    last_at_ms: int = 0
    last_kind: str = ""
    alert_id: str = ""
    row_id: str = ""
    row_kind: str = ""
    told_at_ms: int = 0
    is_waiting: bool = False
    is_heard: bool = False
    cooldown_until_ms: int = 0
    told_channels: tuple[str, ...] = ()


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A new row of the history; `value` and `threshold` are None where there are none."""

    row_id: str
    alert_id: str
    rule_id: str
    project_id: str
    kind: Kind
    suppressed_by: str
    scope: str
    at_ms: int
    value: float | None
    threshold: float | None
    severity: str
    is_late: bool
    context: dict[str, Any]


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message to one channel, decided."""

    delivery_id: str
    history_id: str
    alert_id: str
    rule_id: str
    scope: str
    channel_key: str
    channel_type: str
    lane: str
    kind: Kind
    message: dict[str, Any]
    created_at_ms: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """All that one transition changes. `after` is what is known of the rule and scope then.

    It is None if the rule is gone. `promotes` and `closes` name what to change: a history row, an
    alert; empty for none.
    """

    rule_id: str
    scope: str
    kind: str
    after: KnownAlert | None
    at_ms: int
    row: HistoryRow | None = None
    promotes: str = ""
    closes: str = ""
    deliveries: tuple[NewDelivery, ...] = ()
    triggered_at_ms: int = 0  # When the rule last told somebody something; 0: not now.


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that this process sends now, with all that speaks for or against it.

    `is_told` says that its channel has heard of the alert before. `rule` is None if it is gone or
    cannot be read. Times that are not are 0.
    """

    delivery_id: str
    history_id: str
    alert_id: str
    rule_id: str
    scope: str
    channel_key: str
    channel_type: str
    lane: str
    kind: Kind
    message: dict[str, Any]
    attempts: int
    created_at_ms: int
    rule: AlertRule | None
    is_told: bool
    cooldown_until_ms: int
    cooldown_row: str
    failures: int
    failing_since_ms: int
    disabled_at_ms: int


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a claimed delivery.

    `cooldown_until_ms` begins a cooldown of the alert's rule and group unless this history row has
    begun it before; `hold_lane_until_ms` keeps everything else of the lane waiting. `failures` is
    the channel's new count in a row, None if this says nothing of the channel.
    """

    status: Status
    attempts: int
    next_attempt_ms: int = 0
    http_status: int | None = None
    error: str = ""
    suppressed_by: str = ""
    cooldown_until_ms: int = 0
    hold_lane_until_ms: int = 0
    failures: int | None = None
    failing_since_ms: int = 0
    disables: bool = False
    notices: tuple[NewDelivery, ...] = ()
