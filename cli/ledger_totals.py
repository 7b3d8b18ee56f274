"""Ledgers of projects, straight from ClickHouse.

In: where the stores are and how far back. Out: each project with the sum of its bookings and a
recount of its rows; see `api.ledger`, which adds them up.
"""

from __future__ import annotations

import time

from clickhouse_connect.driver.client import Client

from api.ledger import LedgerEntry, build_ledger
from cli.project_store import Project, connect, find_project, list_projects
from cli.settings import CliSettings
from connectors.clickhouse import connect as connect_clickhouse
from connectors.clickhouse import query_rows
from sql.loader import load_query

MINUTE_MS = 60_000
# A block's rows and its bookings are two inserts: a difference between them must not last.
VERIFY_ATTEMPTS = 5
VERIFY_PAUSE_S = 1.0
_BOOKED_COLUMNS = ("minute_ms", "outcome", "reason", "events")
_RECOUNTED_COLUMNS = ("minute_ms", "stored")

Totals = list[tuple[Project, LedgerEntry]]


def read_ledgers(settings: CliSettings, project: str, minutes: int, *, patient: bool) -> Totals:
    """One project by id or slug, or all; `patient` reads again while anything is not sound.

    Raises:
        NotFoundError: there is no such project.
        ConnectorError: ClickHouse does not answer.
    """
    with connect(settings.database_url) as connection:
        projects = [find_project(connection, project)] if project else list_projects(connection)
    client = connect_clickhouse(settings.clickhouse_url)
    try:
        attempts_left = VERIFY_ATTEMPTS if patient else 1
        while True:
            totals = [(item, read_totals(client, str(item.id), minutes)) for item in projects]
            attempts_left -= 1
            if not attempts_left or all(total.is_sound for _, total in totals):
                return totals
            time.sleep(VERIFY_PAUSE_S)
    finally:
        client.close()


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
