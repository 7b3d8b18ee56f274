"""In-memory twins of what the results flow writes to, for tests and dry runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pyarrow as pa

from connectors.errors import RetryableError
from connectors.live_results import RECENT_MAX, SESSION_TTL_MS, LiveInsight, LiveSession

Table = Literal["sessions", "insights"]


class MemoryResultStore:
    """Twin of `ClickHouseResultStore`: one row a key, the one of the highest revision.

    It can be told to fail before or after an insert took effect.
    """

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, str], dict[str, Any]] = {}
        self.insights: dict[str, dict[str, Any]] = {}
        self.inserts: list[tuple[Table, int]] = []
        self.failures: list[tuple[Literal["before", "after"], Table]] = []

    def insert_sessions(self, rows: pa.Table, token: str) -> None:
        """See `ResultStore.insert_sessions`."""
        self._fail_if_told("before", "sessions")
        for row in self._noted("sessions", rows):
            key = (row["project_id"], row["session_id"])
            if key not in self.sessions or row["revision"] >= self.sessions[key]["revision"]:
                self.sessions[key] = row
        self._fail_if_told("after", "sessions")

    def insert_insights(self, rows: pa.Table, token: str) -> None:
        """See `ResultStore.insert_insights`."""
        self._fail_if_told("before", "insights")
        self.insights.update({row["insight_id"]: row for row in self._noted("insights", rows)})
        self._fail_if_told("after", "insights")

    def _noted(self, table: Table, rows: pa.Table) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = rows.to_pylist()
        if found:
            self.inserts.append((table, len(found)))
        return found

    def _fail_if_told(self, when: Literal["before", "after"], table: Table) -> None:
        if (when, table) in self.failures:
            self.failures.remove((when, table))
            raise RetryableError(f"the memory store was told to fail {when} {table}")


class MemoryLiveResults:
    """Twin of `RedisLiveResults`; `published` is what each project's channel said, in order."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self.states: dict[str, dict[str, str]] = {}
        self.recent: dict[str, dict[str, LiveInsight]] = defaultdict(dict)
        self.published: dict[str, list[bytes]] = defaultdict(list)

    def put(self, sessions: Sequence[LiveSession], insights: Sequence[LiveInsight]) -> None:
        """See `LiveResults.put`."""
        for insight in insights:
            self._put_insight(insight)
        for session in sessions:
            known = self.states.get(session.session_id)
            if session.last_event_at_ms + SESSION_TTL_MS <= self._clock_ms() or (
                known is not None
                and (
                    known["project_id"] != session.project_id
                    or int(known["revision"]) > session.revision
                )
            ):
                continue
            own = {"project_id": session.project_id, "revision": str(session.revision)}
            self.states[session.session_id] = own | dict(session.fields)

    def _put_insight(self, insight: LiveInsight) -> None:
        recent = self.recent[insight.project_id]
        is_known = insight.insight_id in recent
        if not insight.is_preview:
            recent[insight.insight_id] = insight
            newest = sorted(recent, key=lambda key: (recent[key].at_ms, key))[-RECENT_MAX:]
            for key in recent.keys() - set(newest):
                del recent[key]
        if not is_known and (insight.is_preview or insight.insight_id in recent):
            self.published[insight.project_id].append(insight.document)
