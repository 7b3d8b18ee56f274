"""Rules and transitions for tests of the delivery of alerts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from schemas.alert_rules import AlertRule, TelegramChannel, WebhookChannel
from schemas.v1.alerts_pb2 import AlertTransition, PathCount

NAMESPACE = uuid.UUID("3d0f6a58-6e3e-5a55-9d39-7a8f0f3b1c11")
PROJECT_ID = "11111111-1111-4111-8111-111111111111"
RULE_ID = "22222222-2222-4222-8222-222222222222"
MINUTE = 60_000
# 2026-01-31 10:00:00 UTC.
TEN = 1_769_853_600_000
SECRET = "whsec_" + "A" * 43 + "="
CHAT = TelegramChannel("-1001", None)
HOOK = WebhookChannel("https://hooks.example.com/gosight", (SECRET,))


def at(clock: str) -> int:
    """Milliseconds of a time of that day, such as 10:01 or 10:01:30."""
    hours, minutes, seconds = [*map(int, clock.split(":")), 0][:3]
    return TEN + ((hours - 10) * 3600 + minutes * 60 + seconds) * 1000


def make_rule(**changes: Any) -> AlertRule:
    """Rage clicks over 10 in 5 minutes, told to a chat and a webhook."""
    values: dict[str, Any] = {
        "id": RULE_ID,
        "project_id": PROJECT_ID,
        "name": "Rage Click Spike",
        "metric": "rage_clicks",
        "operator": ">",
        "threshold": 10.0,
        "window_ms": 5 * MINUTE,
        "channels": (CHAT, HOOK),
        "cooldown_mins": 15,
        "updated_at_ms": TEN - 86_400_000,
    }
    return AlertRule(**{**values, **changes})


def make_transition(
    kind: str,
    at_ms: int,
    opened_at_ms: int | None = None,
    *,
    rule_id: str = RULE_ID,
    project_id: str = PROJECT_ID,
    group: Mapping[str, str] | None = None,
    value: float | None = 11.0,
    **changes: Any,
) -> AlertTransition:
    """As the evaluator writes it."""
    opened_at_ms = at_ms if opened_at_ms is None else opened_at_ms
    name = f"{rule_id} {sorted((group or {}).items())} {opened_at_ms}"
    alert_id = str(uuid.uuid5(NAMESPACE, name))
    values: dict[str, Any] = {
        "alert_id": alert_id,
        "transition_id": str(uuid.uuid5(NAMESPACE, f"{alert_id} {kind} {at_ms}")),
        "rule_id": rule_id,
        "rule_updated_at_ms": TEN,
        "project_id": project_id,
        "rule_name": "Rage Click Spike",
        "kind": kind,
        "condition_type": "threshold",
        "metric": "rage_clicks",
        "operator": ">",
        "threshold": 10.0,
        "severity": "warning",
        "window_ms": 5 * MINUTE,
        "window_start_ms": at_ms - 5 * MINUTE,
        "window_end_ms": at_ms,
        "opened_at_ms": opened_at_ms,
        "at_ms": at_ms,
        "recent_values": [0, 1, 2, 5, 3],
        "affected_sessions": 7,
        "sample_session_ids": ["0195f3a0-0000-7000-8000-000000000001"],
        "insight_ids": ["0195f3a0-0000-7000-8000-00000000000a"],
    }
    if value is not None:
        values["value"] = value
    made = AlertTransition(**{**values, **changes})
    made.group.update(group or {})
    made.top_paths.append(PathCount(path="/cart", count=8))
    return made
