"""The auditor itself: what is not as it should be is found, whatever it is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from tests.faults.auditor import Auditor
from tests.faults.conftest import Sites
from tests.faults.events import EventMaker
from tests.faults.site import GROUP, Site
from tests.faults.stores import ClickHouse, Kafka
from tests.faults.traffic import Load, Plan, ProjectDoor, Told

pytestmark = pytest.mark.integration

Tamper = Callable[[ClickHouse, str], None]


def test_the_auditor_finds_what_is_wrong(sites: Sites) -> None:
    """A healthy run has no fault; a row taken, added or changed, or a wrong sum, is found."""
    site = sites.get()
    site.arrange()
    store = ClickHouse(site.urls["CLICKHOUSE_URL"])
    auditor = Auditor(store, Kafka(site.urls["KAFKA_BROKERS"], GROUP))
    auditor.begin()
    doors = [site.project() for _ in TAMPERS]
    told = {door: _send(site, door) for door in doors}
    auditor.settle()
    for door, (text, tamper) in zip(doors, TAMPERS.items(), strict=True):
        healthy = auditor.audit(told[door], [door.project_id])
        assert healthy.faults == []
        assert (healthy.lost, healthy.doubled) == (0, 0)
        tamper(store, f"project_id = '{door.project_id}'")
        verdict = auditor.audit(told[door], [door.project_id])
        assert any(text in fault for fault in verdict.faults), (text, verdict.faults)
    auditor.finish()


def _send(site: Site, door: ProjectDoor) -> Told:
    chance = random.Random(door.project_id)
    events = EventMaker(chance, sessions=5).make(60, time.time_ns() // 1_000_000)
    plan = Plan(door, [(0.0, event) for event in events])
    return Load(site.http_url, site.grpc_address, [plan], chance, 30.0).start().join()


def _take_row(store: ClickHouse, where: str) -> None:
    store.run("SYSTEM START MERGES")  # Mutations wait for them.
    store.run(
        f"ALTER TABLE events DELETE WHERE event_id = (SELECT min(event_id) FROM events "
        f"WHERE {where}) SETTINGS mutations_sync = 1"
    )


def _double_row(store: ClickHouse, where: str) -> None:
    store.run(f"INSERT INTO events SELECT * FROM events WHERE {where} LIMIT 1")


def _add_stranger(store: ClickHouse, where: str) -> None:
    store.run(
        f"INSERT INTO events SELECT * REPLACE (generateUUIDv4() AS event_id) FROM events "
        f"WHERE {where} LIMIT 1"
    )


def _change_row(store: ClickHouse, where: str) -> None:
    store.run("SYSTEM START MERGES")
    store.run(
        f"ALTER TABLE events UPDATE title = 'another' WHERE {where} SETTINGS mutations_sync = 1"
    )


def _count_twice_in_view(store: ClickHouse, where: str) -> None:
    store.run(f"INSERT INTO element_clicks SELECT * FROM element_clicks WHERE {where} LIMIT 1")


def _book_too_much(store: ClickHouse, where: str) -> None:
    store.run(
        f"INSERT INTO ledger_entries SELECT * FROM ledger_entries WHERE {where} "
        "AND outcome = 'stored' LIMIT 1"
    )


# Those that let merges run come last: a merge would take a copy away.
TAMPERS: dict[str, Tamper] = {
    "rows too many": _double_row,
    "rows nobody sent": _add_stranger,
    "element_clicks": _count_twice_in_view,
    "the ledger does not add up": _book_too_much,
    "acknowledged events lost": _take_row,
    "rows not as sent": _change_row,
}
