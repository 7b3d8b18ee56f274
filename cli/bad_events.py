"""Deliberately bad events: one for each reason that a gateway with open settings can show.

They make the demonstration's dead letters. `BLOCKED_PATTERN` is what the demonstration's project
blocks, so that one of them is refused for its address. A gateway that honours `Sec-GPC` refuses the
events of the request that carries it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from cli.recording import Delivery
from schemas.reasons import RejectReason

BLOCKED_PATTERN = "/demo-blocked/*"

_DAY_MS = 86_400_000
_ADDRESS = "81.2.69.142"
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36"


def bad_deliveries(now_ms: int, namespace: UUID) -> list[tuple[RejectReason, Delivery]]:
    """One request with one bad event per reason, and the reason it must be refused for."""
    session = str(uuid5(namespace, "bad events"))

    def request(
        reason: RejectReason, headers: tuple[tuple[str, str], ...] = (), **changes: Any
    ) -> tuple[RejectReason, Delivery]:
        event: dict[str, Any] = {
            "event_id": str(uuid5(namespace, f"bad {reason}")),
            "session_id": session,
            "event_type": "page_view",
            "timestamp": now_ms,
            "page": {"url": "https://fernhill.example/", "path": "/"},
            "payload": {"page_title": "Fernhill", "page_path": "/"},
            **changes,
        }
        kept = {name: value for name, value in event.items() if value is not None}
        batch = {"sdk_version": "0.1.0-demo", "anonymous_id": session, "events": [kept]}
        return reason, Delivery(session, _ADDRESS, _AGENT, batch, headers)

    return [
        request(RejectReason.MISSING_FIELD, page=None),
        request(RejectReason.UNKNOWN_EVENT_TYPE, event_type="teleport", payload=None),
        request(RejectReason.BAD_TIMESTAMP, timestamp=0),
        request(RejectReason.TOO_OLD, timestamp=now_ms - 8 * _DAY_MS),
        request(
            RejectReason.BAD_PAYLOAD,
            event_type="scroll",
            payload={"scroll_top": 10, "scroll_depth_percent": 250, "direction": "down"},
        ),
        request(
            RejectReason.TOO_LARGE,
            event_type="custom_event",
            payload={"name": "big", "properties": {f"p{i}": "x" * 1_500 for i in range(50)}},
        ),
        request(
            RejectReason.RAW_VALUE,
            event_type="input_change",
            payload={"target": {"tag": "input", "selector": "#name"}, "value": "someone"},
        ),
        request(
            RejectReason.BLOCKED_URL,
            page={"url": "https://fernhill.example/demo-blocked/1", "path": "/demo-blocked/1"},
            payload={"page_title": "Blocked", "page_path": "/demo-blocked/1"},
        ),
        request(RejectReason.OPTED_OUT, headers=(("Sec-GPC", "1"),)),
    ]
