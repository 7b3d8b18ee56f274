"""Sessions over HTTP against the rows they were stored as."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from cli.project_store import connect as connect_projects
from cli.project_store import create_key, create_project
from connectors.clickhouse import connect, insert_arrow
from flows.core.behaviour import BehaviourMachine
from flows.core.detection_rules import rules_of_document
from flows.core.event_rows import RowBuilder
from flows.core.result_columns import session_table
from flows.core.session_row import SessionRow
from schemas.event_types import NUMBER_BY_NAME
from schemas.v1.events_pb2 import Event
from tests.factories import make_raw
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader
from tests.session_records import find_place, live_batches, parse_agent, polled

pytestmark = pytest.mark.integration


async def ids(reader: Reader, **query: Any) -> list[str]:
    """All ids of the list, page by page."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        document = await reader.whole("sessions", **reader.ever(), **query, **cursor)
        found += [row["id"] for row in document["data"]]
        if document["meta"]["next_cursor"] is None:
            return found
        cursor = {"cursor": document["meta"]["next_cursor"]}


def wanted(reader: Reader, holds: Callable[[SessionRow], bool]) -> set[str]:
    """Ids of the stored sessions for which something holds."""
    return {row.session_id for row in reader.scenes.sessions if holds(row)}


async def test_the_list_has_every_session_once_newest_first(reader: Reader) -> None:
    """In pages of three as in one page."""
    expected = [
        row.session_id
        for row in sorted(
            reader.scenes.sessions, key=lambda row: (-row.started_at_ms, UUID(row.session_id).int)
        )
    ]
    found = await ids(reader, per_page=3)
    assert sorted(found) == sorted(expected)
    assert await ids(reader, per_page=100) == found
    starts = {row.session_id: row.started_at_ms for row in reader.scenes.sessions}
    assert [starts[one] for one in found] == sorted(starts.values(), reverse=True)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("started_at", lambda row: row.started_at_ms),
        ("duration", lambda row: row.duration_ms),
        ("events", lambda row: row.event_count),
    ],
)
async def test_sorting(
    reader: Reader, sort: str, order: str, value: Callable[[SessionRow], int]
) -> None:
    """Both ways by each key, across pages."""
    by_id = {row.session_id: value(row) for row in reader.scenes.sessions}
    found = [by_id[one] for one in await ids(reader, sort=sort, order=order, per_page=4)]
    assert found == sorted(by_id.values(), reverse=order == "desc")
    alias = await ids(reader, sort_by=sort, sort_order=order, limit=100)
    assert [by_id[one] for one in alias] == found


FILTERS: list[tuple[dict[str, Any], Callable[[SessionRow], bool]]] = [
    ({"has_error": "true"}, lambda row: row.has_error),
    ({"has_error": "false"}, lambda row: not row.has_error),
    ({"has_rage_click": "true"}, lambda row: row.has_rage_click),
    ({"has_dead_click": "true"}, lambda row: row.has_dead_click),
    ({"has_dead_click": "false"}, lambda row: not row.has_dead_click),
    ({"has_replay": "true"}, lambda row: row.has_replay),
    ({"converted": "true"}, lambda row: row.converted),
    ({"country": "se"}, lambda row: row.country_code == "SE"),
    ({"country": "DE"}, lambda row: row.country_code == "DE"),
    ({"device_type": "mobile"}, lambda row: row.device_type == "mobile"),
    ({"browser": "Chrome"}, lambda row: row.browser == "Chrome"),
    ({"min_duration": "10.5"}, lambda row: row.duration_ms >= 10_500),
    ({"max_duration": "20"}, lambda row: row.duration_ms <= 20_000),
    (
        {"min_duration": "10", "max_duration": "20", "has_error": "false"},
        lambda row: 10_000 <= row.duration_ms <= 20_000 and not row.has_error,
    ),
    ({"utm_source": "NEWSLETTER"}, lambda row: row.utm_source == "newsletter"),
]


@pytest.mark.parametrize(("query", "holds"), FILTERS, ids=[str(query) for query, _ in FILTERS])
async def test_filters(
    reader: Reader, query: dict[str, Any], holds: Callable[[SessionRow], bool]
) -> None:
    """Exactly the sessions for which the filter holds."""
    assert set(await ids(reader, **query)) == wanted(reader, holds)


async def test_a_user_and_a_visited_page_filter(reader: Reader) -> None:
    """By who it was, and by any page that was seen, or by all pages below one."""
    users = {row.user_id for row in reader.scenes.sessions if row.user_id}
    assert users
    for user in users:
        assert set(await ids(reader, user_id=user)) == wanted(
            reader, lambda row, user=user: row.user_id == user
        )
    views = [row for row in reader.scenes.events if row["event_type"] == "page_view"]
    for path in ("/cart", "/help", "/nowhere"):
        seen = {row["session_id"] for row in views if row["path"] == path}
        assert set(await ids(reader, path=path)) == seen
    below = {row["session_id"] for row in views if row["path"].startswith("/p")}
    assert below
    assert set(await ids(reader, path="/p*")) == below
    assert await ids(reader, path="/%") == []


async def test_what_a_user_did_before_is_found(reader: Reader, scene_shop: SceneShop) -> None:
    """In both lists and their exports, once somebody said who it was."""
    with connect_projects(scene_shop.databases.database_url) as connection:
        project = create_project(connection, "Earlier")
        key, _ = create_key(connection, project.id, name="r", permission="read")
    now_ms = time.time_ns() // 1_000_000
    batches = [
        a_visit(str(project.id), "00000000-0000-4000-8000-000000000001", now_ms - 7_200_000),
        a_visit(str(project.id), "00000000-0000-4000-8000-000000000002", now_ms - 3_600_000, "ann"),
    ]
    chunk = RowBuilder(parse_agent, find_place).build(polled(batches))
    machine = BehaviourMachine(lambda _project: rules_of_document({}))
    rows = []
    for batch in live_batches(batches):
        _, outputs = machine.on_event(None, batch, batch.received_at_ms)
        rows += [row for row in outputs if isinstance(row, SessionRow)]
    client = connect(scene_shop.databases.clickhouse_url)
    insert_arrow(client, "events", chunk.table, "earlier")
    insert_arrow(client, "sessions", session_table(rows), "earlier")
    client.close()
    assert [row.user_id for row in rows] == ["", "ann"]
    for user, number in (({"user_id": "ann"}, 2), ({"user_id": "bob"}, 0), ({}, 2)):
        for path in ("sessions", "events"):
            status, document = await reader.ask(path, user, key=key, project=str(project.id))
            assert (status, len(document["data"])) == (200, number)
            async with reader.client.get(
                f"/api/v1/projects/{project.id}/export/{path}",
                params={**user, "format": "ndjson"},
                headers={"X-GoSight-Key": key},
            ) as answer:
                assert len((await answer.text()).splitlines()) == number


def a_visit(project_id: str, session_id: str, at_ms: int, user_id: str = "") -> bytes:
    """A batch of one event of the visitor a1: who it is, or else a page view."""
    event = Event(
        event_id=str(uuid4()),
        session_id=session_id,
        event_type=NUMBER_BY_NAME["identify" if user_id else "page_view"],
        anonymous_id="a1",
    )
    event.timestamp.millis = at_ms
    event.page.url = "https://shop.example/"
    event.page.path = "/"
    if user_id:
        event.identify.user_id = user_id
    raw = make_raw(
        [event], session_id, project_id=project_id, received_at_ms=at_ms, sent_at_ms=at_ms
    )
    return raw.SerializeToString()


async def test_rage_clicks_are_exactly_those_with_an_insight(reader: Reader) -> None:
    """The flag of the list is the insight of the session."""
    raged = {one.session_id for one in reader.scenes.insights if one.insight_type == "rage_click"}
    assert raged
    assert set(await ids(reader, has_rage_click="true")) == raged


async def test_pages_stay_while_sessions_arrive_and_grow(
    reader: Reader, scene_shop: SceneShop
) -> None:
    """Newer sessions, and revisions of those seen, neither repeat nor skip any."""
    known = {row.session_id for row in reader.scenes.sessions}
    template = max(reader.scenes.sessions, key=lambda row: row.started_at_ms)
    client = connect(scene_shop.databases.clickhouse_url)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    fields = {name: getattr(template, name) for name in template.__struct_fields__}
    for turn in range(100):
        document = await reader.whole("sessions", **reader.ever(), per_page=5, **cursor)
        seen += [row["id"] for row in document["data"]]
        if document["meta"]["next_cursor"] is None:
            break
        cursor = {"cursor": document["meta"]["next_cursor"]}
        newer = {**fields, "session_id": str(uuid4()), "started_at_ms": template.ended_at_ms + turn}
        again = {**fields, "revision": template.revision + turn}
        rows = [SessionRow(**newer), SessionRow(**again)]
        insert_arrow(client, "sessions", session_table(rows), f"later-{turn}")
    else:
        raise AssertionError("the list never ends")
    assert len(seen) == len(set(seen))
    assert known <= set(seen)
    client.command(
        "ALTER TABLE sessions DELETE WHERE started_at >= {since:DateTime64(3)} "
        "SETTINGS mutations_sync = 2",
        parameters={"since": template.ended_at_ms / 1000},
    )
    client.close()


async def test_a_session_has_its_pages_counts_and_insights(reader: Reader) -> None:
    """Every session's detail is what its rows say."""
    for row in reader.scenes.sessions:
        detail = await reader.get(f"sessions/{row.session_id}")
        events = [one for one in reader.scenes.events if one["session_id"] == row.session_id]
        views = [one for one in events if one["event_type"] == "page_view"]
        assert len(detail["pages"]) == len(views) == detail["stats"]["page_count"]
        assert detail["stats"]["event_count"] == row.event_count
        assert detail["stats"]["click_count"] == row.click_count
        found = sorted(one["id"] for one in detail["insights"])
        assert found == sorted(
            one.insight_id for one in reader.scenes.insights if one.session_id == row.session_id
        )
        assert (detail["user"] is None) == (row.user_id == "")
        assert detail["duration_ms"] == row.duration_ms
        assert detail["device"]["viewport"] is not None
        measured = {
            one["page_view_id"]: one["time_on_page_ms"]
            for one in events
            if one["event_type"] == "page_exit" and one["page_view_id"]
        }
        if len(measured) == len(views):
            times = sorted(page["time_on_page_ms"] for page in detail["pages"])
            assert times == sorted(measured.values())


async def test_traits_are_for_admins(reader: Reader, scene_shop: SceneShop) -> None:
    """A viewer learns who it was, an admin what was said of him, too."""
    row = next(row for row in reader.scenes.sessions if row.user_id)
    assert (await reader.get(f"sessions/{row.session_id}"))["user"]["traits"] is None
    status, document = await reader.ask(f"sessions/{row.session_id}", key=scene_shop.admin_key)
    assert status == 200
    assert isinstance(document["data"]["user"]["traits"], dict)


async def test_the_timeline_is_every_event_in_order(reader: Reader) -> None:
    """By page number, by cursor, and of some types only."""
    row = max(reader.scenes.sessions, key=lambda row: row.event_count)
    events = [one for one in reader.scenes.events if one["session_id"] == row.session_id]
    path = f"sessions/{row.session_id}/events"
    by_page: list[str] = []
    for page in range(1, 100):
        document = await reader.whole(path, per_page=20, page=page)
        by_page += [one["id"] for one in document["data"]]
        if page >= document["meta"]["total_pages"]:
            break
    assert document["meta"]["total"] == len(events) == len(by_page)
    at = {one["event_id"]: one["timestamp"] for one in events}
    assert [at[one] for one in by_page] == sorted(at.values())
    by_cursor: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        document = await reader.whole(path, per_page=50, **cursor)
        by_cursor += [one["id"] for one in document["data"]]
        if document["meta"]["next_cursor"] is None:
            break
        cursor = {"cursor": document["meta"]["next_cursor"]}
    assert by_cursor == by_page
    some = await reader.get(path, event_types="click, page_view", per_page=100)
    assert [one["id"] for one in some] == [
        one
        for one in by_page
        if {row["event_id"]: row["event_type"] for row in events}[one] in {"click", "page_view"}
    ]
    payloads = {one["event_id"]: json.loads(one["payload"]) for one in events}
    assert all(one["payload"] == payloads[one["id"]] for one in some)


async def test_steps_are_the_pages_without_repetitions(reader: Reader) -> None:
    """Numbers from one, no screen twice in a row."""
    for row in reader.scenes.sessions[:8]:
        steps = await reader.get(f"sessions/{row.session_id}/journey")
        assert [step["step_num"] for step in steps] == list(range(1, len(steps) + 1))
        screens = [step["screen"] for step in steps]
        assert all(one != other for one, other in pairwise(screens))
        assert (not steps) == (row.page_count == 0)


async def test_experience_is_that_of_the_row(reader: Reader) -> None:
    """Score, issues and emotion as they were stored; the deductions explain the score."""
    for row in reader.scenes.sessions:
        found = await reader.get(f"sessions/{row.session_id}/experience")
        assert found["score"] == row.experience_score
        assert found["issues"] == json.loads(row.issues)
        assert found["score"] == max(0, 100 - sum(one["penalty"] for one in found["issues"]))
        assert (found["emotion"], found["confidence"]) == (row.emotion, row.emotion_confidence)


async def test_another_projects_sessions_are_not_there(
    reader: Reader, scene_shop: SceneShop
) -> None:
    """Under one's own project another one's session is unknown, in every call about it."""
    session = reader.scenes.sessions[0].session_id
    for path in ("", "/events", "/journey", "/experience"):
        status, document = await reader.ask(
            f"sessions/{session}{path}",
            key=scene_shop.other_key,
            project=scene_shop.other_project,
        )
        assert (status, document["error"]["code"]) == (404, "NOT_FOUND")
    assert (await reader.ask("sessions/nothing"))[0] == 404
    status, document = await reader.ask(
        "sessions", reader.ever(), key=scene_shop.other_key, project=scene_shop.other_project
    )
    assert document["data"] == []


async def test_a_cursor_of_another_sorting_is_refused(reader: Reader) -> None:
    """So is one that is none at all."""
    document = await reader.whole("sessions", **reader.ever(), per_page=1)
    cursor = document["meta"]["next_cursor"]
    for query in ({"cursor": cursor, "sort": "events"}, {"cursor": "c2Vzc2lvbnM"}):
        status, answer = await reader.ask("sessions", {**reader.ever(), **query})
        assert (status, set(answer["error"]["details"])) == (400, {"cursor"})
