"""`gosight ledger`: what became of every event, straight from ClickHouse."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from clickhouse_connect.driver.client import Client

from api.ledger import LedgerEntry, build_ledger
from cli.options import Data, Json
from cli.output import RESULT, fail, print_json, print_table, told_plainly
from cli.project_store import (
    NotFoundError,
    Project,
    connect,
    find_project,
    list_projects,
)
from cli.settings import DEFAULT_DATA, CliSettings, load_settings
from connectors.clickhouse import connect as connect_clickhouse
from connectors.clickhouse import query_rows
from sql.loader import load_query

MINUTE_MS = 60_000
# A block's rows and its bookings are two inserts: a difference between them must not last.
VERIFY_ATTEMPTS = 5
VERIFY_PAUSE_S = 1.0
_BOOKED_COLUMNS = ("minute_ms", "outcome", "reason", "events")
_RECOUNTED_COLUMNS = ("minute_ms", "stored")


def ledger(
    project: Annotated[str, typer.Option("--project", "-p", help="Id or slug; else all.")] = "",
    minutes: Annotated[int, typer.Option(min=1, help="How far back, in minutes.")] = 24 * 60,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Exit with 1 unless everything received is accounted for and the rows that are "
            "stored were counted again and match.",
        ),
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show received = stored + duplicate + rejected + dropped, by project."""
    with told_plainly():
        settings = load_settings(data)
        projects = _projects(settings, project)
        client = connect_clickhouse(settings.clickhouse_url)
        attempts = VERIFY_ATTEMPTS if verify else 1
        for attempt in range(attempts):
            totals = [(item, read_totals(client, str(item.id), minutes)) for item in projects]
            is_right = all(is_sound(total) for _, total in totals)
            if is_right or attempt + 1 == attempts:
                break
            time.sleep(VERIFY_PAUSE_S)
    if as_json:
        print_json({"ok": is_right, "projects": [_document(*pair) for pair in totals]})
    else:
        _print(totals, minutes, is_right)
    raise typer.Exit(1 if verify and not is_right else 0)


def read_totals(client: Client, project_id: str, minutes: int) -> LedgerEntry:
    """The sum of a project's ledger over the last minutes, with the recount."""
    now_ms = time.time_ns() // 1_000_000
    end_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS
    parameters = {
        "project_id": project_id,
        "start_ms": end_ms - minutes * MINUTE_MS,
        "end_ms": end_ms,
    }
    booked = query_rows(client, load_query("ledger_reasons_by_minute"), parameters)
    recounted = query_rows(client, load_query("stored_rows_by_minute"), parameters)
    _, total = build_ledger(
        [dict(zip(_BOOKED_COLUMNS, row, strict=True)) for row in booked],
        [dict(zip(_RECOUNTED_COLUMNS, row, strict=True)) for row in recounted],
    )
    return total


def is_sound(total: LedgerEntry) -> bool:
    """Everything is accounted for, and the rows are there."""
    return total.unaccounted == 0 and total.recounted == total.stored


def _projects(settings: CliSettings, project: str) -> list[Project]:
    with connect(settings.database_url) as connection:
        if not project:
            return list_projects(connection)
        try:
            return [find_project(connection, project)]
        except NotFoundError as error:
            fail(str(error))


def _document(project: Project, total: LedgerEntry) -> dict[str, Any]:
    return {"project_id": project.id, "slug": project.slug, **total.document()}


def _print(totals: list[tuple[Project, LedgerEntry]], minutes: int, is_right: bool) -> None:
    print_table(
        f"Ledger of the last {minutes:,} minutes",
        ("project", "received", "stored", "duplicate", "rejected", "dropped", "rows", "balanced"),
        [
            (
                project.slug,
                total.received,
                total.stored,
                total.duplicate,
                sum(total.rejected.values()),
                sum(total.dropped.values()),
                total.recounted,
                is_sound(total),
            )
            for project, total in totals
        ],
    )
    for project, total in totals:
        for reason, events in sorted(total.rejected.items()):
            RESULT.print(f"  {project.slug}: {events:,} rejected as {reason}")
    if not is_right:
        RESULT.print("[bold red]The ledger does not add up.[/]")
