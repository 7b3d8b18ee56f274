"""Repairing sessions: stored events in, rows and insights that were missing or wrong out.

Sessions are read and compared in groups; what is to be written of a group is written before the
next is read: insights first, so that a row never counts what is not there. It is written inside of
the gate that erasures close, as flows do it. A session of which something is not known, or may
still come, is left alone and counted.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import insert_arrow
from connectors.stored_results import insight_rows, session_rows
from connectors.stored_sessions import Period, store_now_ms
from connectors.write_gate import OpenGate, WriteGate
from flows.core.detector_set import DetectorSet
from flows.core.detectors.detector import Detector
from flows.core.repair import KeptDays, Repair, StoredInsight, repair_session
from flows.core.result_columns import insight_table, session_table
from flows.core.session_row import SessionRow
from flows.core.suppression import is_erased_insight, is_erased_session
from flows.gated import inside, sure_inside
from flows.history import Progress, ReadCounts, StoredSession, read_stored
from flows.retries import RetryPolicy
from schemas.erasure import Erased, LateRows

GROUP_SESSIONS = 500
GROUP_EVENTS = 100_000  # The group ends with the session that reaches it.
# A session younger than this may still be in the flow's hands, which forgets it after an hour
# without events (flows.core.behaviour); the rest is for events that are on their way.
QUIET_MS = 4_200_000
NAMED_MAX = 1_000
# Days for which `sessions` and `insights` are kept; 0 is the table's default.
RetainDays = Callable[[str], int]


@dataclass(slots=True)
class RepairReport:
    """What was found and, unless it was a trial, written. Ids are those of the first sessions.

    Skipped are sessions that may go on, that have more events than are read, of whose events,
    insights or row some may be gone, and that were erased.
    """

    is_trial: bool
    sessions: int = 0
    events: int = 0
    skipped_open: int = 0
    skipped_cut: int = 0
    skipped_gone: int = 0
    skipped_erased: int = 0
    right: int = 0
    rows_missing: int = 0
    rows_wrong: int = 0
    wrong_columns: Counter[str] = field(default_factory=Counter)
    insights_missing: Counter[str] = field(default_factory=Counter)
    session_ids: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """Sessions that were left alone."""
        return self.skipped_open + self.skipped_cut + self.skipped_gone + self.skipped_erased

    @property
    def repaired(self) -> int:
        """Sessions of which something was, or would be, written."""
        return self.sessions - self.skipped - self.right

    def document(self) -> dict[str, Any]:
        """As a command prints it in JSON."""
        return {
            "is_trial": self.is_trial,
            "sessions": self.sessions,
            "events": self.events,
            "skipped_open": self.skipped_open,
            "skipped_cut": self.skipped_cut,
            "skipped_gone": self.skipped_gone,
            "skipped_erased": self.skipped_erased,
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
    gate: WriteGate | None = None,
    dry_run: bool = False,
    now_ms: int | None = None,
    progress: Progress = lambda _: None,
) -> RepairReport:
    """Compare every session of the period with its events, and write what differs.

    `now_ms` is the store's clock, which is asked without it: rows are stored and forgotten by it.

    Raises:
        ConnectorError: ClickHouse does not answer; what was written stays, and the call may be
            repeated.
    """
    now_ms = store_now_ms(client) if now_ms is None else now_ms
    report = RepairReport(dry_run)
    ready = DetectorSet(detectors)
    gate = gate or OpenGate()
    kept = KeptDays(retain_days("sessions"), retain_days("insights"))
    counts = ReadCounts()
    for group in _groups(read_stored(client, period, counts, progress)):
        report.sessions += len(group)
        whole = [session for session in group if _is_whole(session, now_ms, report)]
        repairs: list[Repair] = []
        has_row: dict[str, bool] = {}
        for session, row, insights in _with_stored(client, period.project_id, whole):
            repair = repair_session(
                session.batches, row, insights, ready, now_ms=now_ms, kept=kept, currency=currency
            )
            if repair.is_gone:
                report.skipped_gone += 1
            elif not repair.is_needed:
                report.right += 1
            else:
                repairs.append(repair)
                has_row[repair.session_id] = row is not None
        if dry_run:
            allowed = _allowed(repairs, gate.known())
        else:
            allowed = _write(client, gate, period.project_id, repairs, kept)
        report.skipped_erased += len(repairs) - len(allowed)
        for repair in allowed:
            _count(report, repair, has_row[repair.session_id])
    report.events = counts.events
    return report


def _groups(sessions: Iterator[StoredSession]) -> Iterator[list[StoredSession]]:
    group: list[StoredSession] = []
    events = 0
    for session in sessions:
        group.append(session)
        events += session.event_count
        if len(group) == GROUP_SESSIONS or events >= GROUP_EVENTS:
            yield group
            group, events = [], 0
    if group:
        yield group


def _is_whole(session: StoredSession, now_ms: int, report: RepairReport) -> bool:
    """Whether all of the session is there; else it is counted.

    A gateway's clock may be behind, and storage may be late: what was stored lately is young
    whatever its receipt says.
    """
    received_ms = max(batch.received_at_ms for batch in session.batches)
    if max(received_ms, session.stored_at_ms) > now_ms - QUIET_MS:
        report.skipped_open += 1
        return False
    if session.is_cut:
        report.skipped_cut += 1
        return False
    return True


def _with_stored(
    client: Client, project_id: str, group: Sequence[StoredSession]
) -> Iterator[tuple[StoredSession, SessionRow | None, list[StoredInsight]]]:
    ids = [session.session_id for session in group]
    rows = session_rows(client, project_id, ids)
    insights = insight_rows(client, project_id, ids)
    for session_id, session in zip(ids, group, strict=True):
        row = rows.get(session_id)
        yield (
            session,
            None if row is None else msgspec.convert(row, SessionRow),
            [
                StoredInsight(
                    found["insight_id"],
                    found["insight_type"],
                    found["timestamp_ms"],
                    found["detector_version"],
                    tuple(found["related_event_ids"]),
                )
                for found in insights.get(session_id, ())
            ],
        )


def _count(report: RepairReport, repair: Repair, has_row: bool) -> None:
    if len(report.session_ids) < NAMED_MAX:
        report.session_ids.append(repair.session_id)
    if not has_row:
        report.rows_missing += 1
    elif repair.row is not None:
        report.rows_wrong += 1
        report.wrong_columns.update(repair.differing)
    report.insights_missing.update(insight.insight_type for insight in repair.missing)


def _allowed(repairs: Sequence[Repair], erased: Erased) -> list[Repair]:
    """Those of sessions that nobody has erased, be it after their events were read."""
    return (
        [repair for repair in repairs if not _is_erased(repair, erased)] if erased else [*repairs]
    )


def _is_erased(repair: Repair, erased: Erased) -> bool:
    return (repair.row is not None and is_erased_session(repair.row, erased)) or any(
        is_erased_insight(insight, erased) for insight in repair.missing
    )


def _write(
    client: Client, gate: WriteGate, project_id: str, repairs: Sequence[Repair], kept: KeptDays
) -> list[Repair]:
    """Those that were written: all but what is erased."""

    def put(erased: Erased) -> list[Repair]:
        allowed = _allowed(repairs, erased)
        _insert(client, gate, allowed, kept)
        return allowed

    def late_of(written: list[Repair], erased: Erased) -> list[LateRows]:
        ids = sorted(repair.session_id for repair in written if _is_erased(repair, erased))
        return [LateRows(project_id, sessions=ids)] if ids else []

    if not repairs:
        return []
    return inside("repair", gate, put, late_of, RetryPolicy(), lambda: False)


def _insert(client: Client, gate: WriteGate, repairs: Sequence[Repair], kept: KeptDays) -> None:
    """Insights, then rows.

    A key that is written twice is one row, so no token is needed to be safe: a new one each time
    lets a repair bring back what was deleted after an earlier one.
    """
    insights = [insight for repair in repairs for insight in repair.missing]
    rows = [repair.row for repair in repairs if repair.row is not None]
    if insights:
        sure_inside(gate)
        insert_arrow(client, "insights", insight_table(insights, lambda _: kept.insights), _token())
    if rows:
        sure_inside(gate)
        insert_arrow(client, "sessions", session_table(rows, lambda _: kept.sessions), _token())


def _token() -> str:
    return f"repair:{uuid.uuid4()}"
