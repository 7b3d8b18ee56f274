"""A session counted once more, from the events that clients made: no code of the platform's.

In: a session's records in the order of the log, and what was sent. Out: what its row must say in
the columns that are counts, firsts and lasts of its events, whatever was late, repeated or killed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.events import MadeEvent
from tests.faults.session_log import Arrival
from tests.faults.traffic import EventKey

NAMESPACE = uuid.UUID("fa645d0d-424c-5d50-9d39-bba1b92b8a22")
SLOT_MS = 5_000
ACTIVE = {"page_view", "click", "mouse_move", "scroll", "custom_event", "goal"}
NOT_COUNTED = {"dom_mutation"}


def first_times(arrivals: Sequence[Arrival]) -> dict[str, int]:
    """Event ids with their times: of repetitions the first in the log counts."""
    times: dict[str, int] = {}
    for arrival in arrivals:
        for event_id, at_ms in arrival.times_ms.items():
            times.setdefault(event_id, at_ms)
    return times


def counted_row(
    project_id: str, arrivals: Sequence[Arrival], sent: Mapping[EventKey, MadeEvent]
) -> dict[str, Any]:
    """Columns of the session's row by name; times in ms."""
    times = first_times(arrivals)
    order = sorted((at_ms, event_id) for event_id, at_ms in times.items())
    events = [(at_ms, sent[project_id, event_id]) for at_ms, event_id in order]
    views = [event for _, event in events if event.kind == "page_view"]
    entry, leaving = (views[0], views[-1]) if views else (events[0][1], events[0][1])
    counts = {
        kind: sum(event.kind == kind for _, event in events)
        for kind in ("page_view", "click", "js_error", "goal")
    }
    depths = [
        event.payload[name]
        for _, event in events
        for kind, name in (("scroll", "scroll_depth_percent"), ("page_exit", "max_scroll_depth"))
        if event.kind == kind
    ]
    goals = [event for _, event in events if event.kind == "goal"]
    slots = {at_ms // SLOT_MS for at_ms, event in events if event.kind in ACTIVE}
    first = events[0][1]
    return {
        "project_id": project_id,
        "session_id": first.session_id,
        "user_id": "",
        "anonymous_id": first.visitor,
        "started_at_ms": order[0][0],
        "ended_at_ms": order[-1][0],
        "duration_ms": order[-1][0] - order[0][0],
        "entry_url": f"https://shop.example{entry.path}",
        "entry_path": entry.path,
        "exit_url": f"https://shop.example{leaving.path}",
        "exit_path": leaving.path,
        "event_count": sum(event.kind not in NOT_COUNTED for _, event in events),
        "page_count": counts["page_view"],
        "click_count": counts["click"],
        "error_count": counts["js_error"],
        "has_error": counts["js_error"] > 0,
        "is_bounce": counts["page_view"] == 1,
        "max_scroll_depth": max(depths, default=0),
        "engaged_ms": len(slots) * SLOT_MS,
        "device_type": first.device,
        "converted": bool(goals),
        "conversion_event": goals[0].payload["name"] if goals else "",
        "goals_completed": counts["goal"],
        "revenue_minor": 0,
    }


def counted_insights(insights: Mapping[str, str]) -> dict[str, Any]:
    """Columns of the session's row that count its insights, of which ids and types are given."""
    types = list(insights.values())
    return {
        "rage_click_count": types.count("rage_click"),
        "dead_click_count": types.count("dead_click"),
        "error_click_count": types.count("error_click"),
        "has_rage_click": "rage_click" in types,
        "has_dead_click": "dead_click" in types,
    }


def insight_id(project_id: str, session_id: str, insight_type: str, anchor: str) -> str:
    """The id of an insight of the first version of its rule."""
    name = f"{project_id}|{session_id}|{insight_type}|{anchor}|1"
    return str(uuid.uuid5(NAMESPACE, name))
