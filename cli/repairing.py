"""Repairing sessions: stored events in, rows and insights that were missing or wrong out.

Sessions are read and compared in groups; what is to be written of a group is written before the
next is read: insights first, so that a row never counts what is not there.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import insert_arrow
from connectors.stored_results import insight_rows, session_rows
from connectors.stored_sessions import Period
from flows.core.detectors.detector import Detector
from flows.core.live_detectors import DetectorSet
from flows.core.repair import Repair, StoredInsight, repair_session
from flows.core.result_columns import insight_table, session_table
from flows.core.session_event import SessionBatch
from flows.core.session_row import SessionRow
from flows.history import Progress, ReadCounts, read_batches

GROUP_SESSIONS = 500
# A session younger than this may still be in the flow's hands, which forgets it after an hour
# without events (flows.core.behaviour); the rest is for events that are on their way.
QUIET_MS = 4_200_000
NAMED_MAX = 1_000
# Days for which `sessions` and `insights` are kept; 0 is the table's default.
RetainDays = Callable[[str], int]


@dataclass(slots=True)
class RepairReport:
    """What was found and, unless it was a trial, written. Ids are those of the first sessions."""

    is_trial: bool
    sessions: int = 0
    events: int = 0
    skipped_open: int = 0
    right: int = 0
    rows_missing: int = 0
    rows_wrong: int = 0
    wrong_columns: Counter[str] = field(default_factory=Counter)
    insights_missing: Counter[str] = field(default_factory=Counter)
    session_ids: list[str] = field(default_factory=list)

    @property
    def repaired(self) -> int:
        """Sessions of which something was, or would be, written."""
        return self.sessions - self.skipped_open - self.right

    def document(self) -> dict[str, Any]:
        """As a command prints it in JSON."""
        return {
            "is_trial": self.is_trial,
            "sessions": self.sessions,
            "events": self.events,
            "skipped_open": self.skipped_open,
            "right": self.right,
            "repaired": self.repaired,
            "rows_missing": self.rows_missing,
            "rows_wrong": self.rows_wrong,
            "wrong_columns": dict(self.wrong_columns),
            "insights_missing": dict(self.insights_missing),
            "session_ids": self.session_ids,
        }


def repair_period(
    client: Client,
    period: Period,
    detectors: Sequence[Detector[Any]],
    *,
    currency: str = "",
    retain_days: RetainDays = lambda _what: 0,
    dry_run: bool = False,
    now_ms: int | None = None,
    progress: Progress = lambda _: None,
) -> RepairReport:
    """Compare every session of the period with its events, and write what differs.

    Raises:
        ConnectorError: ClickHouse does not answer; what was written stays, and the call may be
            repeated.
    """
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    report = RepairReport(dry_run)
    ready = DetectorSet(detectors)
    counts = ReadCounts()
    sessions = read_batches(client, period, counts, progress)
    while group := list(islice(sessions, GROUP_SESSIONS)):
        repairs = []
        for batches, row, insights in _with_stored(client, period.project_id, group):
            report.sessions += 1
            if max(batch.received_at_ms for batch in batches) > now_ms - QUIET_MS:
                report.skipped_open += 1
                continue
            repair = repair_session(batches, row, insights, ready, currency=currency)
            _count(report, repair, row)
            if repair.is_needed:
                repairs.append(repair)
        if not dry_run:
            _write(client, repairs, retain_days)
    report.events = counts.events
    return report


def _with_stored(
    client: Client, project_id: str, group: Sequence[tuple[SessionBatch, ...]]
) -> Iterator[tuple[tuple[SessionBatch, ...], SessionRow | None, list[StoredInsight]]]:
    ids = [batches[0].session_id for batches in group]
    rows = session_rows(client, project_id, ids)
    insights = insight_rows(client, project_id, ids)
    for session_id, batches in zip(ids, group, strict=True):
        row = rows.get(session_id)
        yield (
            batches,
            None if row is None else msgspec.convert(row, SessionRow),
            [
                StoredInsight(
                    found["insight_id"],
                    found["insight_type"],
                    found["timestamp_ms"],
                    found["first_event_id"],
                )
                for found in insights.get(session_id, ())
            ],
        )


def _count(report: RepairReport, repair: Repair, row: SessionRow | None) -> None:
    if not repair.is_needed:
        report.right += 1
        return
    if len(report.session_ids) < NAMED_MAX:
        report.session_ids.append(repair.session_id)
    if row is None:
        report.rows_missing += 1
    elif repair.row is not None:
        report.rows_wrong += 1
        report.wrong_columns.update(repair.differing)
    report.insights_missing.update(insight.insight_type for insight in repair.missing)


def _write(client: Client, repairs: Sequence[Repair], retain_days: RetainDays) -> None:
    """Insights, then rows.

    A key that is written twice is one row, so no token is needed to be safe: a new one each time
    lets a repair bring back what was deleted after an earlier one.
    """
    insights = [insight for repair in repairs for insight in repair.missing]
    rows = [repair.row for repair in repairs if repair.row is not None]
    if insights:
        days = retain_days("insights")
        insert_arrow(client, "insights", insight_table(insights, lambda _: days), _token())
    if rows:
        kept = retain_days("sessions")
        insert_arrow(client, "sessions", session_table(rows, lambda _: kept), _token())


def _token() -> str:
    return f"repair:{uuid.uuid4()}"
