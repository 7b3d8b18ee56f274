"""The application on in-memory twins: who may ask, what is refused, how answers look."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from api.app import create_app
from api.reads.overview_models import Overview
from api.routes import DATA_ROUTES
from api.services import Row, Services
from connectors.errors import FatalError, RetryableError
from connectors.keys import KeyStore
from connectors.memory import MemoryKeySource
from schemas.records import ProjectKey, ProjectSettings

NOW_MS = 1_795_255_200_000
PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"
OTHER = "11111111-2222-4333-8444-555555555555"
READ_KEY = "gs_api_" + "r" * 32
WRITE_KEY = "gs_live_" + "w" * 32
FOREIGN_KEY = "gs_api_" + "f" * 32
EXPIRED_KEY = "gs_api_" + "e" * 32
REVOKED_KEY = "gs_api_" + "x" * 32
PATH = f"/api/v1/projects/{PROJECT}"
SUMMARY = {"events": 40, "sessions": 4, "users": 1, "visitors": 3, "page_views": 12}
ONE_ROW: dict[str, Row] = {
    "overview_closed": {
        "is_now": 1,
        "closed_sessions": 4,
        "bounced_sessions": 1,
        "duration_ms": 90_600,
    },
    "overview_insights": {
        "rage_clicks": 1,
        "dead_clicks": 0,
        "error_sessions": 2,
        "frustrated_sessions": 1,
    },
}
FRESH = {
    "events": 40,
    "last_received_ms": NOW_MS - 2_000,
    "last_ingested_ms": NOW_MS - 1_000,
    "lag_ms_p50": 400,
    "lag_ms_p99": 900,
    "lag_ms_max": 1_000,
}


class MemoryQueries:
    """Twin of the ClickHouse runner: rows by query name, and a record of what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Sequence[Row]] = {
            "freshness": [FRESH],
            "overview_visits": [{"kind": "total", "is_now": 1, **SUMMARY}],
            "overview_people": [{"is_now": 0, "users": 2}, {"is_now": 1, "users": 2}],
        }
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.fault: Exception | None = None

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """See `QueryRunner.rows`."""
        self.asked.append((query, parameters))
        if self.fault is not None:
            raise self.fault
        if query == "overview_summary":
            return [SUMMARY]
        if query in ONE_ROW:
            return [ONE_ROW[query]]
        return self.answers.get(query, [])


def key(text: str, project: str, permission: str, **changes: Any) -> ProjectKey:
    """A key's row."""
    fields: dict[str, Any] = {"is_active": True, "expires_at_ms": None, **changes}
    return ProjectKey(
        key_hash=hashlib.sha256(text.encode()).hexdigest(),
        project_id=project,
        permissions=frozenset({permission}),
        rate_limit_per_s=1000,
        burst=5000,
        allowed_domains=(),
        settings=ProjectSettings(),
        **fields,
    )


class World:
    """The twins behind one application."""

    def __init__(self) -> None:
        self.queries = MemoryQueries()
        self.source = MemoryKeySource()
        for row in (
            key(READ_KEY, PROJECT, "read"),
            key(WRITE_KEY, PROJECT, "write"),
            key(FOREIGN_KEY, OTHER, "read"),
            key(EXPIRED_KEY, PROJECT, "read", expires_at_ms=NOW_MS),
            key(REVOKED_KEY, PROJECT, "read", is_active=False),
        ):
            self.source.add(row)
        self.down: set[str] = set()

    def services(self) -> Services:
        """The services on these twins."""
        return Services(
            queries=self.queries,
            keys=KeyStore(self.source, None),
            checks={name: self._check(name) for name in ("postgres", "clickhouse", "redis")},
            vital=frozenset({"postgres", "clickhouse"}),
            now_ms=lambda: NOW_MS,
        )

    def _check(self, name: str) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            if name in self.down:
                raise RetryableError("told so")

        return check

    @asynccontextmanager
    async def client(self) -> AsyncIterator[TestClient[Any, Any]]:
        """A client of a running application."""
        async with TestClient(TestServer(create_app(self.services()))) as client:
            yield client

    async def get(
        self, path: str, key_text: str | None = READ_KEY, **headers: str
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """Status, document and headers of one GET."""
        sent = dict(headers) if key_text is None else {"X-GoSight-Key": key_text, **headers}
        async with self.client() as client, client.get(path, headers=sent) as answer:
            return answer.status, await answer.json(), answer.headers


@pytest.mark.parametrize("name", ["overview", "ledger", "events"])
@pytest.mark.parametrize(
    ("key_text", "status", "code"),
    [
        (None, 401, "UNAUTHORIZED"),
        ("gs_api_" + "u" * 32, 401, "UNAUTHORIZED"),
        ("nonsense", 401, "UNAUTHORIZED"),
        (EXPIRED_KEY, 401, "UNAUTHORIZED"),
        (REVOKED_KEY, 401, "UNAUTHORIZED"),
        (WRITE_KEY, 403, "FORBIDDEN"),
        (FOREIGN_KEY, 404, "NOT_FOUND"),
    ],
)
async def test_only_a_read_key_of_the_project_gets_in(
    name: str, key_text: str | None, status: int, code: str
) -> None:
    """Every other key is refused, and no query is run for it."""
    world = World()
    found, document, headers = await world.get(f"{PATH}/{name}", key_text)
    assert (found, document["error"]["code"]) == (status, code)
    assert document["success"] is False
    assert ("WWW-Authenticate" in headers) == (status == 401)
    assert world.queries.asked == []


async def test_a_write_key_does_not_learn_which_projects_exist() -> None:
    """Another project answers 404 before permissions are looked at."""
    status, _, _ = await World().get(f"/api/v1/projects/{OTHER}/overview", WRITE_KEY)
    assert status == 404


@pytest.mark.parametrize("project", ["not-a-uuid", "'; DROP TABLE events", PROJECT[:-1]])
async def test_a_path_that_names_no_project_is_not_found(project: str) -> None:
    """Whatever is no id of the key's project answers 404."""
    status, _, _ = await World().get(f"/api/v1/projects/{project}/overview")
    assert status == 404


async def test_a_key_may_come_as_bearer() -> None:
    """The Authorization header works like the key header."""
    world = World()
    status, _, _ = await world.get(f"{PATH}/events", None, Authorization=f"Bearer {READ_KEY}")
    assert status == 200


async def test_an_outage_of_the_key_store_is_not_a_bad_key() -> None:
    """While PostgreSQL is away an unknown key is answered 503, never 401."""
    world = World()
    world.source.is_away = True
    status, document, headers = await world.get(f"{PATH}/overview")
    assert (status, document["error"]["code"]) == (503, "UNAVAILABLE")
    assert "Retry-After" in headers


async def test_clickhouse_away_is_unavailable() -> None:
    """A store that is down is answered 503, without telling its error."""
    world = World()
    world.queries.fault = RetryableError("http://user:secret@clickhouse does not answer")
    status, document, _ = await world.get(f"{PATH}/overview")
    assert (status, document["error"]["code"]) == (503, "UNAVAILABLE")
    assert "secret" not in document["error"]["message"]


async def test_a_bug_is_an_internal_error_without_internals() -> None:
    """An unexpected failure is answered 500 with no detail of it."""
    world = World()
    world.queries.fault = FatalError("no column named secret")
    status, document, headers = await world.get(f"{PATH}/events")
    assert (status, document["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in str(document)
    assert headers["X-Request-Id"]


async def test_every_query_is_bound_to_the_project() -> None:
    """Whatever is asked, each query carries the project of the key."""
    world = World()
    for name in ("overview", "ledger", "events"):
        assert (await world.get(f"{PATH}/{name}"))[0] == 200
    assert len(world.queries.asked) > 10
    assert {parameters["project_id"] for _, parameters in world.queries.asked} == {PROJECT}


async def test_overview_has_counts_changes_and_freshness() -> None:
    """Counts come with their change; a period that had nothing before has no change."""
    world = World()
    world.queries.answers["overview_visits"] = [
        {"kind": "browser", "is_now": 1, "browser_name": "", "sessions": 2, "visitors": 1},
        {"kind": "total", "is_now": 1, **SUMMARY},
    ]
    _, document, _ = await world.get(f"{PATH}/overview?top=3")
    data = document["data"]
    Overview.model_validate(data)
    assert data["summary"]["pageviews"] == 12
    assert data["summary"]["pageviews_change"] is None
    assert (data["summary"]["users"], data["summary"]["users_change"]) == (2, 0.0)
    assert (data["summary"]["avg_session_duration"], data["summary"]["bounce_rate"]) == (22.6, 25)
    assert [day["value"] for day in data["charts"]["sessions_over_time"]] == [0] * 7
    assert data["charts"]["top_browsers"][0]["browser"] == "unknown"
    assert data["freshness"]["seconds_since_last"] == 2.0
    asked = dict(world.queries.asked)
    assert asked["top_pages"]["limit"] == 3


async def test_unknown_and_bad_parameters_are_all_named() -> None:
    """Each parameter at fault is in the details, unknown and repeated ones too."""
    query = "?per_page=0&session_id=&colour=red&path=/a&path=/b"
    status, document, _ = await World().get(f"{PATH}/events{query}")
    assert (status, document["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert set(document["error"]["details"]) == {"per_page", "session_id", "colour", "path"}


def event_row(number: int) -> dict[str, Any]:
    """A row of the events list."""
    return {
        "event_id": f"00000000-0000-4000-8000-{number:012d}",
        "timestamp_ms": NOW_MS - number,
        "received_at_ms": NOW_MS,
        "payload": '{"x":1}',
        "custom": "{}",
    }


async def test_events_are_paged_by_a_cursor() -> None:
    """A full page names where the next one starts; the last page names nothing."""
    world = World()
    world.queries.answers["events_list"] = [event_row(n) for n in range(3)]
    _, document, _ = await world.get(f"{PATH}/events?limit=2")
    assert [event["timestamp"] for event in document["data"]] == [
        "2026-11-21T10:00:00.000Z",
        "2026-11-21T09:59:59.999Z",
    ]
    assert document["data"][0]["payload"] == {"x": 1}
    cursor = document["meta"]["next_cursor"]
    world.queries.answers["events_list"] = [event_row(2)]
    _, document, _ = await world.get(f"{PATH}/events?limit=2&cursor={cursor}")
    assert document["meta"]["next_cursor"] is None
    _, parameters = world.queries.asked[-1]
    assert parameters["cursor_ms"] == NOW_MS - 1
    assert parameters["cursor_event_id"] == event_row(1)["event_id"]


async def test_ready_names_what_is_down() -> None:
    """A vital store that is down makes the process unready; Redis does not."""
    world = World()
    assert (await world.get("/ready", None))[0] == 200
    world.down = {"redis"}
    status, document, _ = await world.get("/ready", None)
    assert (status, document["dependencies"]["redis"]["state"]) == (200, "down")
    world.down = {"clickhouse"}
    assert (await world.get("/ready", None))[0] == 503


async def test_answers_carry_a_request_id() -> None:
    """An id that a client sends is kept if it is harmless, else one is made."""
    world = World()
    _, _, headers = await world.get("/health", None, **{"X-Request-Id": "abc-12345678"})
    assert headers["X-Request-Id"] == "abc-12345678"
    _, _, headers = await world.get("/health", None, **{"X-Request-Id": "<script>"})
    assert headers["X-Request-Id"] != "<script>"


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/api/v1/projects", 404)])
async def test_unknown_paths_have_the_same_error_shape(path: str, status: int) -> None:
    """The router's own refusals look like all others."""
    found, document, _ = await World().get(path)
    assert found == status
    assert document["error"]["code"] == "NOT_FOUND"


async def test_a_wrong_method_is_told() -> None:
    """A path that exists answers 405 to another method."""
    async with World().client() as client, client.post(f"{PATH}/overview") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET"
        assert (await answer.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize("path", sorted({route.path for route in DATA_ROUTES}))
async def test_a_path_has_its_own_methods_only(path: str) -> None:
    """A word where another path has a parameter is not taken for one."""
    app = create_app(World().services())
    request = make_mocked_request("OPTIONS", path.replace("{", "").replace("}", ""))
    with pytest.raises(web.HTTPMethodNotAllowed) as refused:
        await (await app.router.resolve(request)).handler(request)
    assert refused.value.allowed_methods == {
        route.method for route in DATA_ROUTES if route.path == path
    }


@pytest.mark.parametrize("text", ["{3f2504e0-4f89}", "{", "}{", "a/b", "a?b", "%7B", "~", "é"])
async def test_an_id_that_its_sender_chose_may_be_any_text(text: str) -> None:
    """Sites have ids in braces, too: their visitors can be exported and erased like others."""
    app = create_app(World().services())
    for path in (f"{PATH}/sessions/{{}}", f"{PATH}/sessions/{{}}/events"):
        request = make_mocked_request("GET", path.format(quote(text, safe="")))
        assert (await app.router.resolve(request))["session_id"] == text


async def test_metrics_have_the_route_not_the_path() -> None:
    """No project id becomes a label."""
    world = World()
    async with world.client() as client:
        async with client.get(f"{PATH}/overview", headers={"X-GoSight-Key": READ_KEY}):
            pass
        async with client.get("/metrics") as answer:
            text = await answer.text()
    assert 'route="/api/v1/projects/{project_id}/overview"' in text
    assert PROJECT not in text
