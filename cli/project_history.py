"""What commands about stored sessions begin with: project, detectors, client, progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from clickhouse_connect.driver.client import Client

from cli.output import PEOPLE
from cli.project_store import (
    NotFoundError,
    Project,
    connect,
    find_project,
    list_projects,
)
from cli.settings import load_settings
from connectors.clickhouse import connect as connect_clickhouse
from flows.core.detection_rules import rules_of_document
from flows.core.detectors.detector import Detector
from flows.detection_file import load_detection_file
from flows.history import Progress, ReadCounts
from flows.project_rules import SECTION
from flows.user_detectors import UserDetectors, load_user_detectors
from schemas.detection_settings import merged_detection
from schemas.records import RETENTION_DAYS_MAX
from schemas.settings_checks import check_section

# A stream over months may pause while ClickHouse sorts.
QUERY_TIMEOUT_S = 600.0
TOLD_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class ProjectHistory:
    """A project and where its events are; PostgreSQL has the list of who was erased."""

    project: Project
    client: Client
    own: UserDetectors
    database_url: str

    def detectors(self, explain: bool = False) -> tuple[Detector[Any], ...]:
        """Those that are switched on by the project's present settings, and the user's own."""
        rules = rules_of_document(self.project.settings)
        return (*rules.detectors(explain), *self.own.isolated(explain=explain))

    @property
    def currency(self) -> str:
        """In which the project's revenue is told; empty if it has set none."""
        return rules_of_document(self.project.settings).currency

    def retain_days(self, what: str) -> int:
        """How long the project keeps its `sessions` or `insights`; 0 is the table's default."""
        section = self.project.settings.get("retention")
        days = section.get(what) if isinstance(section, dict) else None
        return days if type(days) is int and 0 < days <= RETENTION_DAYS_MAX else 0

    @property
    def project_id(self) -> str:
        """As it is in every row."""
        return str(self.project.id)


@contextmanager
def project_history(data: Path, project: str) -> Iterator[ProjectHistory]:
    """A project by id or slug, or the only one, with a client that is closed afterwards.

    Raises:
        NotFoundError: there is no such project, or several and none was named.
        ConnectorError: ClickHouse does not answer.
        SettingsError: the installation's file of detection is not as it must be.
    """
    settings = load_settings(data)
    of_all = load_detection_file(settings.detection_file)
    with connect(settings.database_url) as connection:
        found = chosen_project(connection, project)
    own_section = check_section(found.settings, SECTION, [])
    merged = {**found.settings, SECTION: merged_detection(of_all, own_section)}
    found = replace(found, settings=merged)
    own = load_user_detectors(settings.detectors_dir)
    for fault in own.faults:
        PEOPLE.print(f"left out: {fault}", markup=False, soft_wrap=True)
    client = connect_clickhouse(settings.clickhouse_url, timeout_s=QUERY_TIMEOUT_S)
    try:
        yield ProjectHistory(found, client, own, settings.database_url)
    finally:
        client.close()


def chosen_project(connection: psycopg.Connection[Any], project: str) -> Project:
    """The project of this id or slug, or the only one.

    Raises:
        NotFoundError: there is no such project, or several and none was named.
    """
    if project:
        return find_project(connection, project)
    projects = list_projects(connection)
    if len(projects) != 1:
        raise NotFoundError(f"there are {len(projects)} projects; name one with --project")
    return projects[0]


@contextmanager
def shown_progress(what: str, total_events: int) -> Iterator[Progress]:
    """A bar on standard error that goes away at the end; nothing if that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=PEOPLE, transient=True, disable=not PEOPLE.is_terminal) as bar:
        task = bar.add_task(what, total=max(total_events, 1))

        def show(counts: ReadCounts) -> None:
            if counts.sessions % 100 == 0:
                bar.update(task, completed=counts.events)

        yield show


@contextmanager
def told_progress(total_events: int) -> Iterator[Progress]:
    """Lines for a program on standard error: `{"events": ..., "total": ...}`, a few a second."""
    told_at_s = 0.0

    def tell(counts: ReadCounts) -> None:
        nonlocal told_at_s
        if time.monotonic() - told_at_s >= TOLD_EVERY_S:
            told_at_s = time.monotonic()
            print(
                json.dumps({"events": counts.events, "total": total_events}),
                file=sys.stderr,
                flush=True,
            )

    yield tell
