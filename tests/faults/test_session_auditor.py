"""The auditor of sessions itself: what is lost, doubled or changed is found, wherever it is."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from confluent_kafka import Producer

from flows.core.insight import Insight
from flows.core.session_row import insight_message, session_message
from tests.faults.conftest import Sites
from tests.faults.session_auditor import SessionAuditor
from tests.faults.session_log import INSIGHTS_TOPIC, SESSIONS_TOPIC, Results
from tests.faults.site import GROUP, Site
from tests.faults.stores import ClickHouse, Kafka
from tests.faults.traffic import Load, Plan, ProjectDoor, Told
from tests.faults.visits import SCENES, VisitMaker

pytestmark = pytest.mark.integration

Tamper = Callable[[ClickHouse, Producer, Results, str], None]
LOAD_S = 3.0


def test_the_auditor_finds_what_is_wrong_with_sessions(sites: Sites) -> None:
    """A healthy run has no fault; whatever is taken, added, repeated or changed is found."""
    site = sites.get()
    site.arrange()
    store = ClickHouse(site.urls["CLICKHOUSE_URL"])
    producer = Producer({"bootstrap.servers": site.urls["KAFKA_BROKERS"]})
    doors = {text: site.project() for text in TAMPERS}
    auditors = {}
    for text in ["", *TAMPERS]:
        auditors[text] = SessionAuditor(store, Kafka(site.urls["KAFKA_BROKERS"], GROUP))
        auditors[text].begin()
    told = _send(site, list(doors.values()))
    healthy = auditors[""].audit(told, [door.project_id for door in doors.values()])
    assert healthy.faults == []
    assert healthy.sessions == healthy.scripted == len(SCENES) * len(doors)
    assert healthy.insights >= (len(SCENES) - 1) * len(doors)
    for text, tamper in TAMPERS.items():
        auditor, project_id = auditors[text], doors[text].project_id
        results = auditor.results([project_id])
        tamper(store, producer, results, f"project_id = '{project_id}'")
        assert producer.flush(20) == 0
        found = auditor.audit(_of_project(told, project_id), [project_id], settle_s=0)
        assert any(text in fault for fault in found.faults), (text, found.faults)


def _send(site: Site, doors: list[ProjectDoor]) -> Told:
    """Every scene once for each project."""
    chance = random.Random(5)
    plans = []
    now_ms = time.time_ns() // 1_000_000
    for door in doors:
        plan = Plan(door, [])
        visits = VisitMaker(chance)
        for _ in SCENES:
            visit = visits.make(now_ms, LOAD_S)
            plan.events += visit.events
            plan.scripts[visit.session_id] = visit.script
        plans.append(plan)
    return Load(site.http_url, site.grpc_address, plans, chance, 30.0).start().join()


def _of_project(told: Told, project_id: str) -> Told:
    return Told(
        sent={key: event for key, event in told.sent.items() if key[0] == project_id},
        acknowledged=Counter({k: n for k, n in told.acknowledged.items() if k[0] == project_id}),
        scripts={key: script for key, script in told.scripts.items() if key[0] == project_id},
    )


def _insight(results: Results) -> Insight:
    found = [one for own in results.insights.values() for one in own if not one.is_provisional]
    return min(found, key=lambda one: one.insight_id)


def _commit_insight(producer: Producer, insight: Insight) -> None:
    producer.produce(
        INSIGHTS_TOPIC,
        insight_message(insight).SerializeToString(),
        insight.project_id.encode(),
    )


def _take_insight(store: ClickHouse, _producer: Producer, _results: Results, where: str) -> None:
    store.run(
        "ALTER TABLE insights DELETE WHERE insight_id = (SELECT min(insight_id) FROM insights "
        f"WHERE {where}) SETTINGS mutations_sync = 1"
    )


def _store_twice(store: ClickHouse, _producer: Producer, _results: Results, where: str) -> None:
    store.run(
        "INSERT INTO insights SELECT * REPLACE (timestamp + INTERVAL 1 SECOND AS timestamp) "
        f"FROM insights WHERE {where} LIMIT 1"
    )


def _make_up(store: ClickHouse, _producer: Producer, _results: Results, where: str) -> None:
    store.run(
        "INSERT INTO insights SELECT * REPLACE (generateUUIDv4() AS insight_id) "
        f"FROM insights WHERE {where} LIMIT 1"
    )


def _change_insight(store: ClickHouse, _producer: Producer, _results: Results, where: str) -> None:
    store.run(
        "INSERT INTO insights SELECT * REPLACE ('low_' AS severity, revision + 1 AS revision) "
        f"FROM insights WHERE {where} LIMIT 1"
    )


def _take_session(store: ClickHouse, _producer: Producer, _results: Results, where: str) -> None:
    store.run(
        "ALTER TABLE sessions DELETE WHERE session_id = (SELECT min(session_id) FROM sessions "
        f"WHERE {where}) SETTINGS mutations_sync = 1"
    )


def _change_session(store: ClickHouse, _producer: Producer, _results: Results, where: str) -> None:
    store.run(
        "INSERT INTO sessions SELECT * REPLACE (click_count + 1 AS click_count, "
        f"revision + 100 AS revision) FROM sessions WHERE {where} LIMIT 1"
    )


def _commit_twice(_store: ClickHouse, producer: Producer, results: Results, _where: str) -> None:
    _commit_insight(producer, _insight(results))


def _commit_stranger(_store: ClickHouse, producer: Producer, results: Results, _where: str) -> None:
    insight = _insight(results)
    _commit_insight(producer, msgspec.structs.replace(insight, insight_id=insight.session_id))


def _repeat_revision(_store: ClickHouse, producer: Producer, results: Results, _where: str) -> None:
    rows = [own[-1] for own in results.rows.values() if own[-1].revision]
    row = max(rows, key=lambda one: one.session_id)
    key = f"{row.project_id}:{row.session_id}".encode()
    producer.produce(SESSIONS_TOPIC, session_message(row).SerializeToString(), key)


# By what must be said of each.
TAMPERS: dict[str, Tamper] = {
    "1 lost of insights": _take_insight,
    "insights stored twice": _store_twice,
    "1 made up in insights": _make_up,
    "'severity': ('low_'": _change_insight,
    "1 lost of sessions": _take_session,
    "'click_count': (": _change_session,
    "insights committed twice": _commit_twice,
    "made up: ": _commit_stranger,
    "revisions [": _repeat_revision,
}
