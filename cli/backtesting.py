"""Running a backtest: a period of stored sessions, under the settings of now and changed ones.

Only detectors whose settings differ are run, and only events of types that they take are read.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from cli.rule_changes import changed_types, differences, settings_of
from connectors.stored_sessions import Period, count_of_period
from flows.core.backtest import Comparison, TypeComparison
from flows.core.detection_rules import rules_of_document
from flows.core.detectors.detector import Detector
from flows.history import Progress, ReadCounts, read_sessions


class BacktestReport(msgspec.Struct, frozen=True):
    """What a backtest found; fields are added, never renamed.

    `changed` are the settings that differ: key -> (old value, new value). `events` are those that
    were read, of the types that are needed.
    """

    project_id: str
    start_ms: int
    end_ms: int
    changed: Mapping[str, tuple[Any, Any]]
    sessions: int
    events: int
    cut_sessions: int
    seconds: float
    types: tuple[TypeComparison, ...]


def run_backtest(
    client: Client,
    period: Period,
    old_document: Mapping[str, Any],
    new_document: Mapping[str, Any],
    shown: Callable[[int], AbstractContextManager[Progress]],
) -> BacktestReport:
    """Compare two settings documents over the sessions that began in the period.

    `shown` makes something that tells of progress, of so many events in all.

    Raises:
        ConnectorError: ClickHouse does not answer.
    """
    began_s = time.perf_counter()
    old, new = settings_of(old_document), settings_of(new_document)
    types = changed_types(old, new)
    comparison = Comparison(_chosen(old_document, types), _chosen(new_document, types))
    counts = ReadCounts()
    if comparison.kinds:
        wanted = dataclasses.replace(period, event_types=tuple(sorted(comparison.kinds)))
        with shown(count_of_period(client, wanted)) as progress:
            for session_id, events in read_sessions(client, wanted, counts, progress):
                comparison.add(session_id, events)
    return BacktestReport(
        project_id=period.project_id,
        start_ms=period.start_ms,
        end_ms=period.end_ms,
        changed=differences(old, new),
        sessions=counts.sessions,
        events=counts.events,
        cut_sessions=counts.cut_sessions,
        seconds=round(time.perf_counter() - began_s, 3),
        types=comparison.result(),
    )


def _chosen(document: Mapping[str, Any], types: frozenset[str]) -> tuple[Detector[Any], ...]:
    detectors = rules_of_document(document).detectors()
    return tuple(detector for detector in detectors if detector.insight_type in types)
