"""Sessions under revision: one row each, and daily figures that follow."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client

from tests.integration.sql.databases import answers, insert_twice, rows_of

pytestmark = pytest.mark.integration

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
Session = dict[str, Any]


def session(project_id: str, number: int, revision: int, **more: Any) -> Session:
    """One revision of one session."""
    return {
        "project_id": project_id,
        "session_id": str(UUID(int=number + 1)),
        "user_id": "",
        "anonymous_id": f"visitor-{number % 7}",
        "started_at": TODAY - timedelta(days=2),
        "ended_at": TODAY - timedelta(days=2) + timedelta(minutes=5),
        "duration_ms": 300_000,
        "page_count": 1,
        "country": "Vietnam",
        "device_type": "mobile",
        "has_error": False,
        "has_rage_click": False,
        "has_dead_click": False,
        "is_bounce": True,
        "is_closed": False,
        "converted": False,
        "revision": revision,
    } | more


def write(client: Client, rows: Iterable[Session]) -> None:
    """Deliver some revisions as one block, twice."""
    insert_twice(client, "sessions", list(rows), str(uuid4()))


def refresh(client: Client) -> None:
    """Have the daily figures counted now."""
    client.command("SYSTEM REFRESH VIEW sessions_daily_mv")
    client.command("SYSTEM WAIT VIEW sessions_daily_mv")


def days(client: Client, project_id: str) -> list[tuple[Any, ...]]:
    """Day, sessions, closed, users, visitors, duration, pages, errors ... of a project."""
    found = answers(
        client,
        "sessions_by_day",
        project_id=project_id,
        first_day=(TODAY - timedelta(days=100)).date(),
        last_day=TODAY.date(),
    )
    return [tuple(row.values()) for row in found]


def test_the_highest_revision_wins_in_any_order(client: Client) -> None:
    """A correction that moves no end, or arrives early, is not lost; the row is one."""
    project = str(uuid4())
    write(client, [session(project, 0, 3, page_count=9)])
    write(client, [session(project, 0, 1, page_count=12, ended_at=TODAY)])
    write(client, [session(project, 0, 2, page_count=1)])
    query = f"SELECT page_count, revision FROM sessions FINAL WHERE project_id = '{project}'"
    assert rows_of(client, query) == [(9, 3)]
    client.command("OPTIMIZE TABLE sessions FINAL")
    assert rows_of(client, query.replace(" FINAL", "")) == [(9, 3)]


def test_a_session_that_moves_to_an_earlier_month_stays_one_row(client: Client) -> None:
    """A late earlier event changes the start's month; merging still finds the older row."""
    project = str(uuid4())
    start = TODAY.replace(day=1) - timedelta(days=32)
    first_of_month = start.replace(day=1) + timedelta(minutes=1)
    write(client, [session(project, 0, 1, started_at=first_of_month)])
    write(client, [session(project, 0, 2, started_at=first_of_month - timedelta(minutes=9))])
    for settings in ("", " SETTINGS do_not_merge_across_partitions_select_final = 1"):
        query = f"SELECT revision FROM sessions FINAL WHERE project_id = '{project}'{settings}"
        assert rows_of(client, query) == [(2,)]
    client.command("OPTIMIZE TABLE sessions FINAL")
    query = f"SELECT session_date FROM sessions WHERE project_id = '{project}'"
    assert rows_of(client, query) == [((first_of_month - timedelta(minutes=9)).date(),)]


def test_daily_figures_follow_each_revision(client: Client) -> None:
    """A session counts once on the day and in the group where its last revision puts it."""
    project = str(uuid4())
    midnight = TODAY - timedelta(days=2)
    write(client, [session(project, 0, 1, started_at=midnight, country="")])
    write(client, [session(project, 1, 1, started_at=midnight, user_id="ann")])
    refresh(client)
    day = midnight.date()
    assert days(client, project) == [(day, 2, 0, 1, 2, 600_000, 2, 0, 0, 0, 2, 0)]
    earlier = midnight - timedelta(minutes=10)
    write(
        client,
        [
            session(
                project,
                0,
                2,
                started_at=earlier,
                page_count=4,
                has_error=True,
                has_rage_click=True,
                has_dead_click=True,
                is_bounce=False,
                is_closed=True,
                converted=True,
            )
        ],
    )
    refresh(client)
    assert days(client, project) == [
        (day - timedelta(days=1), 1, 1, 0, 1, 300_000, 4, 1, 1, 1, 0, 1),
        (day, 1, 0, 1, 1, 300_000, 1, 0, 0, 0, 1, 0),
    ]
    refresh(client)
    assert len(days(client, project)) == 2


def test_daily_figures_equal_a_recount(client: Client) -> None:
    """Many sessions, each revised several times in random order, between several refreshes."""
    project = str(uuid4())
    dice = random.Random(5)
    revisions = [
        session(
            project,
            number,
            revision,
            started_at=TODAY - timedelta(minutes=dice.randrange(10_000)),
            ended_at=TODAY,
            user_id=dice.choice(["", "ann", "bob"]),
            duration_ms=dice.randrange(10**9),
            page_count=dice.randrange(30),
            country=dice.choice(["", "Vietnam", "Germany"]),
            device_type=dice.choice(["mobile", "desktop"]),
            has_error=dice.random() < 0.2,
            is_bounce=dice.random() < 0.5,
            is_closed=dice.random() < 0.5,
        )
        for number in range(120)
        for revision in range(1, dice.randrange(2, 6))
    ]
    last: dict[str, Session] = {}
    for row in revisions:
        last[row["session_id"]] = row
    dice.shuffle(revisions)
    for start in range(0, len(revisions), 40):
        write(client, revisions[start : start + 40])
        if start % 80 == 0:
            refresh(client)
    refresh(client)
    by_day: defaultdict[date, list[Session]] = defaultdict(list)
    for row in last.values():
        by_day[row["started_at"].date()].append(row)
    assert days(client, project) == [
        (
            day,
            len(rows),
            sum(row["is_closed"] for row in rows),
            len({row["user_id"] for row in rows} - {""}),
            len({row["anonymous_id"] for row in rows}),
            sum(row["duration_ms"] for row in rows),
            sum(row["page_count"] for row in rows),
            sum(row["has_error"] for row in rows),
            0,
            0,
            sum(row["is_bounce"] for row in rows),
            0,
        )
        for day, rows in sorted(by_day.items())
    ]


def test_insights_and_replay_chunks_are_kept_once(client: Client) -> None:
    """A finding that is found again and a chunk that is sent again replace themselves."""
    project = str(uuid4())
    insight = {
        "insight_id": str(UUID(int=1)),
        "project_id": project,
        "session_id": str(UUID(int=2)),
        "insight_type": "rage_click",
        "timestamp": TODAY,
        "ended_at": TODAY,
        "x": 40_000,
        "related_event_ids": [str(UUID(int=3)), str(UUID(int=4))],
        "revision": 2,
    }
    for token, row in (("a", insight), ("b", insight | {"revision": 1, "x": 1}), ("c", insight)):
        insert_twice(client, "insights", [row], f"{project}:{token}")
    query = f"FROM insights FINAL WHERE project_id = '{project}'"
    assert rows_of(client, f"SELECT x, revision, length(related_event_ids) {query}") == [
        (40_000, 2, 2)
    ]
    chunk = {
        "session_id": str(UUID(int=2)),
        "project_id": project,
        "chunk_index": 70_000,
        "timestamp_start": TODAY,
        "timestamp_end": TODAY,
        "data": bytes(range(256)),
        "data_size": 1_000,
        "event_count": 70_000,
    }
    for token in ("a", "b"):
        insert_twice(client, "replay_chunks", [chunk], f"{project}:{token}")
    query = (
        "SELECT chunk_index, event_count, hex(data) FROM replay_chunks FINAL "
        f"WHERE project_id = '{project}'"
    )
    assert rows_of(client, query) == [(70_000, 70_000, bytes(range(256)).hex().upper())]
