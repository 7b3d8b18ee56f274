"""Goals and funnels counted in plain Python from the rows that were stored.

Each entry of each person is followed by itself, as the rule says it: docs/funnels.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.recount import Recount, Row, distinct, grouped

Step = Mapping[str, str]


def matches(step: Step, row: Row) -> bool:
    """Whether an event is a match of a step."""
    if step["type"] == "page":
        wanted = step["pattern"]
        if row["event_type"] != "page_view":
            return False
        if wanted.endswith("*"):
            return str(row["path"]).startswith(wanted[:-1])
        return bool(row["path"] == wanted)
    if row["event_type"] == "purchase":
        return step["name"] == "purchase"
    is_named = row["event_type"] in {"goal", "custom_event"}
    return is_named and bool(json.loads(row["payload"])["name"] == step["name"])


def furthest(events: Sequence[Row], steps: Sequence[Step], hours: int, now: Recount) -> list[Row]:
    """The events of the entry of one person that got furthest, of those the first."""
    best: list[Row] = []
    for place, entry in enumerate(events):
        if not (matches(steps[0], entry) and now.has(entry["timestamp"])):
            continue
        chain = [entry]
        for row in events[place + 1 :]:
            seconds = (row["timestamp"] - entry["timestamp"]).total_seconds()
            is_open = len(chain) < len(steps) and seconds <= hours * 3600
            if is_open and matches(steps[len(chain)], row):
                chain.append(row)
        if len(chain) > len(best):
            best = chain
    return best


def people_of(now: Recount) -> list[list[Row]]:
    """All events of each person, in order; the period has no part in it."""
    by_person = grouped(now.scenes.events, lambda row: now.person(row) or row["session_id"])
    return [
        sorted(rows, key=lambda row: (row["timestamp"], row["event_id"]))
        for rows in by_person.values()
    ]


def funnel(
    people: Sequence[Sequence[Row]], now: Recount, steps: Sequence[Step], hours: int, group: str
) -> Any:
    """The report as the API answers it."""
    chains = [furthest(events, steps, hours, now) for events in people]
    chains = [chain for chain in chains if chain]
    found: dict[str, Any] = {"steps": reached(chains, len(steps)), "groups": []}
    if group:
        of_session = {row.session_id: getattr(row, group) for row in now.scenes.sessions}
        parts: dict[str, list[list[Row]]] = {}
        for chain in chains:
            parts.setdefault(of_session[chain[0]["session_id"]], []).append(chain)
        found["groups"] = [
            {"value": value or None, "steps": reached(part, len(steps))}
            for value, part in sorted(parts.items(), key=lambda item: (-len(item[1]), item[0]))
        ]
    return found


def reached(chains: Sequence[Sequence[Row]], steps: int) -> list[dict[str, Any]]:
    """Each step of some people."""
    counts = [sum(len(chain) > place for chain in chains) for place in range(steps)]
    found = []
    for place, count in enumerate(counts):
        before = counts[max(place - 1, 0)]
        taken = [
            (chain[place]["timestamp"] - chain[place - 1]["timestamp"]).total_seconds()
            for chain in chains
            if len(chain) > place > 0
        ]
        found.append(
            {
                "step": place + 1,
                "visitors": count,
                "from_previous": round(100 * count / before, 1) if before else None,
                "from_first": round(100 * count / counts[0], 1) if counts[0] else None,
                "median_time_s": round(median(taken), 3) if taken else None,
            }
        )
    return found


def conversions(now: Recount, step: Step, value: float) -> dict[str, Any]:
    """The report of a goal as the API answers it."""
    rows = [row for row in now.events if matches(step, row)]
    sessions, everybody = distinct(rows, "session_id"), distinct(now.events, "session_id")
    sources = grouped(rows, lambda row: now.source_of(row["session_id"]))
    days = [day.isoformat() for day in now.span.days]
    by_day = grouped(rows, lambda row: now.span.day_of(row["timestamp"]))
    return {
        "conversions": len(rows),
        "sessions": sessions,
        "rate": round(100 * sessions / everybody, 1) if everybody else None,
        "value": worth(rows, value),
        "by_source": sorted(
            (
                {
                    "source": source,
                    "conversions": len(part),
                    "sessions": distinct(part, "session_id"),
                    "value": worth(part, value),
                }
                for source, part in sources.items()
            ),
            key=lambda entry: (-entry["sessions"], entry["source"]),
        ),
        "by_day": [
            {
                "date": day,
                "conversions": len(by_day.get(day, [])),
                "sessions": distinct(by_day.get(day, []), "session_id"),
            }
            for day in days
        ],
    }


def worth(rows: Sequence[Row], value: float) -> float:
    """What completions say they are worth, else what the goal says."""
    return round(sum(json.loads(row["payload"]).get("value", value) for row in rows), 2)
