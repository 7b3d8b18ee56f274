"""Running a rule over stored history: which signals are read, what comes of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from cli.alert_store import load_rule
from cli.project_history import chosen_project
from cli.project_store import connect
from cli.settings import load_settings
from connectors.stored_sessions import Period, count_of_period
from connectors.stored_signals import insights_of_period, sessions_of_period
from flows.core.alerts.metrics import INSIGHTS, Kind, kinds_of_rule
from flows.core.alerts.signal_makers import (
    signals_of_batch,
    signals_of_insight,
    signals_of_session,
)
from flows.core.alerts.signals import SignalBatch
from flows.core.alerts.simulation import Simulation
from flows.core.alerts.transitions import Transition
from flows.core.insight import Insight
from flows.core.session_row import SessionRow
from flows.history import Progress, ReadCounts, read_batches
from schemas.alert_rules import AlertRule, read_rule

# Some 200 bytes each.
SIGNALS_MAX = 5_000_000
DAY_MS = 86_400_000
_EVENT_TYPES = {
    Kind.PAGEVIEW: ("page_view",),
    Kind.ERROR: ("js_error", "unhandled_rejection"),
    Kind.LCP: ("page_load", "web_vitals"),
    Kind.TTFB: ("page_load", "web_vitals"),
    Kind.GOAL: ("goal",),
    Kind.PURCHASE: ("purchase",),
}
Shown = Callable[[int], AbstractContextManager[Progress]]


class TooMuchHistoryError(ValueError):
    """The period has more signals than memory is given for."""


class Firing(msgspec.Struct, frozen=True):
    """One alert: when it fired and was over, in ms; None: it still held at the end."""

    fired_at_ms: int
    resolved_at_ms: int | None
    group: dict[str, str]
    value: float | None
    threshold: float | None
    severity: str
    top_paths: tuple[tuple[str, int], ...]
    affected_sessions: int
    alert_id: str


class SimulationReport(msgspec.Struct, frozen=True):
    """What a rule would have said; fields are added, never renamed.

    `values` are (T in ms, value or null) of the group nearest to the bound, every ten seconds.
    `open_at_start` alerts had fired before the period and held when it began.
    """

    project_id: str
    start_ms: int
    end_ms: int
    metric: str
    signals: int
    seconds: float
    firings: tuple[Firing, ...]
    values: tuple[tuple[int, float | None], ...]
    open_at_start: int = 0


def rule_to_try(
    data: Path, project: str, rule_id: str, document: Mapping[str, Any] | None
) -> AlertRule:
    """A saved rule, or that of a document, which needs neither id nor name.

    Raises:
        NotFoundError: there is no such project.
        UnknownRuleError: there is no such rule.
        RuleError: the document cannot be read.
    """
    with connect(load_settings(data).database_url) as connection:
        if document is None:
            return load_rule(connection, rule_id).rule
        wanted = project or str(document.get("project_id", ""))
        found = chosen_project(connection, wanted)
    base = {"id": str(uuid.uuid4()), "name": "The rule"}
    return read_rule({**base, **document, "project_id": str(found.id), "channels": ()})


def run_simulation(
    client: Client, rule: AlertRule, start_ms: int, end_ms: int, shown: Shown
) -> SimulationReport:
    """Evaluate a rule over a period, whether it is active or not.

    Raises:
        ConnectorError: ClickHouse does not answer.
        TooMuchHistoryError: the period is too long for this project.
    """
    began_s = time.perf_counter()
    rule = msgspec.structs.replace(rule, is_active=True)
    simulation = Simulation(rule, start_ms, end_ms)
    period = Period(rule.project_id, simulation.from_ms, end_ms)
    for source, batch in _signals(client, rule, period, shown):
        simulation.add(source, batch)
        if simulation.signals > SIGNALS_MAX:
            raise TooMuchHistoryError(
                f"the period has more than {SIGNALS_MAX:,} signals of this rule: take a shorter one"
            )
    found = simulation.run()
    return SimulationReport(
        project_id=rule.project_id,
        start_ms=start_ms,
        end_ms=end_ms,
        metric=rule.metric,
        signals=simulation.signals,
        seconds=round(time.perf_counter() - began_s, 3),
        firings=tuple(_firings(found.transitions)),
        values=tuple(found.values),
        open_at_start=found.open_at_start,
    )


def _signals(
    client: Client, rule: AlertRule, period: Period, shown: Shown
) -> Iterator[tuple[str, SignalBatch]]:
    kinds = kinds_of_rule(rule)
    events = kinds - INSIGHTS - {Kind.SESSION}
    if events:
        # What happened within a day before may have come in the period.
        types = {name for kind in events for name in _EVENT_TYPES.get(kind, ())}
        wanted = Period(
            period.project_id,
            period.start_ms - DAY_MS,
            period.end_ms,
            () if Kind.ACTIVITY in events else tuple(sorted(types)),
            any_event=True,
        )
        with shown(count_of_period(client, wanted)) as progress:
            for batches in read_batches(client, wanted, ReadCounts(), progress):
                for offset, batch in enumerate(batches):
                    if batch.received_at_ms > period.start_ms:
                        made = signals_of_batch(batch, offset, events)
                        if made is not None:
                            yield f"0:{batch.session_id}", made
    if kinds & INSIGHTS:
        for offset, row in enumerate(insights_of_period(client, period)):
            made = signals_of_insight(_insight(period.project_id, row), offset, kinds)
            if made is not None:
                yield "1", made
    if Kind.SESSION in kinds:
        for offset, row in enumerate(sessions_of_period(client, period)):
            made = signals_of_session(stored_session(period.project_id, row), offset, kinds)
            if made is not None:
                yield "1", made


def _insight(project_id: str, row: Any) -> Insight:
    return Insight(
        insight_id=row["insight_id"],
        project_id=project_id,
        session_id=row["session_id"],
        insight_type=row["insight_type"],
        timestamp_ms=row["timestamp_ms"],
        ended_at_ms=row["ended_at_ms"],
        url="",
        path=row["path"],
        x=None,
        y=None,
        target_selector=None,
        severity="",
        rule_version=0,
        details="",
        related_event_ids=(),
    )


def stored_session(project_id: str, row: Any) -> SessionRow:
    """A session as it was heard of live, soon after it began.

    The row is of its end, half an hour after its last event: whoever waited for that had judged it
    by its age before.
    """
    names = SessionRow.__struct_fields__
    facts = {name: value for name, value in row.items() if name in names}
    then = {"is_closed": False, "ended_at_ms": row["started_at_ms"]}
    return SessionRow(
        **(facts | then | {"project_id": project_id, "is_bounce": bool(row["is_bounce"])})
    )


def _firings(transitions: Any) -> Iterator[Firing]:
    """Each firing with its end, in order of time."""
    ends: dict[str, int] = {
        change.alert_id: change.at_ms for change in transitions if change.kind == "resolved"
    }
    change: Transition
    for change in transitions:
        if change.kind == "fired":
            yield Firing(
                fired_at_ms=change.at_ms,
                resolved_at_ms=ends.get(change.alert_id),
                group=dict(zip(change.rule.group_by, change.group, strict=True)),
                value=change.value,
                threshold=change.threshold,
                severity=change.severity,
                top_paths=change.top_paths,
                affected_sessions=change.affected_sessions,
                alert_id=change.alert_id,
            )
