"""Every read of the route table on in-memory twins: who may ask, and what it is bound to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.access import Access
from api.app import create_app
from api.read_routes import READ_ROUTES
from api.reads.commands import Said
from api.reads.jobs import Jobs
from api.reads.sql_runner import SqlResult
from api.reads.stores import ReadStores
from api.route import PROJECT as PROJECT_PATH
from api.route import Route
from api.services import Services
from connectors.error_groups import MemoryErrorGroups
from connectors.errors import RetryableError
from connectors.job_book import MemoryJobBook
from connectors.keys import KeyStore
from connectors.live_figures import MemoryLiveFigures
from connectors.memory import MemoryKeySource
from connectors.project_settings import MemoryProjectSettings
from tests.unit.api.test_api_app import (
    FOREIGN_KEY,
    NOW_MS,
    PROJECT,
    READ_KEY,
    WRITE_KEY,
    MemoryQueries,
    key,
)

ADMIN_KEY = "gs_api_" + "a" * 32
SESSION = "00000000-0000-4000-8000-000000000001"
FINGERPRINT = "0123456789abcdef"
QUERY = {"path": "/cart"}
BODIES: Mapping[str, Any] = {
    "errors": {"status": "resolved"},
    "backtests": {"preset": "posthog"},
    "sql": {"query": "SELECT 1"},
}
IDS = [f"{route.method} {route.path.removeprefix(PROJECT_PATH)}" for route in READ_ROUTES]


class NoCommands:
    """A command that finds nothing."""

    async def run(self, arguments: Sequence[str], timeout_s: float, on_line: Any = None) -> Said:
        """See `Commands.run`."""
        assert PROJECT in arguments
        del timeout_s, on_line
        return Said(1, b"", "error: x is no event of the session")


class NoSql:
    """A runner that remembers for whom it was asked."""

    def __init__(self) -> None:
        self.projects: list[str] = []

    async def run(self, text: str, project_id: str) -> SqlResult:
        """See `SqlRunner.run`."""
        del text
        self.projects.append(project_id)
        return SqlResult(("a",), ("UInt8",), ((1,),), False)


class Reads:
    """An application whose stores are twins."""

    def __init__(self, *, with_stores: bool = True) -> None:
        self.queries = MemoryQueries()
        self.sql = NoSql()
        source = MemoryKeySource()
        for row in (
            key(READ_KEY, PROJECT, "read"),
            key(WRITE_KEY, PROJECT, "write"),
            key(ADMIN_KEY, PROJECT, "admin"),
            key(FOREIGN_KEY, "11111111-2222-4333-8444-555555555555", "read"),
        ):
            source.add(row)
        stores = ReadStores(
            error_groups=MemoryErrorGroups(),
            live=MemoryLiveFigures(),
            settings=MemoryProjectSettings({}),
            commands=NoCommands(),
            jobs=Jobs(MemoryJobBook(), lambda: NOW_MS),
            sql=self.sql,
        )
        self.services = Services(
            queries=self.queries,
            keys=KeyStore(source, None),
            checks={},
            vital=frozenset(),
            now_ms=lambda: NOW_MS,
            reads=stores if with_stores else None,
        )

    @asynccontextmanager
    async def client(self) -> Any:
        """A client of a running application."""
        async with TestClient(TestServer(create_app(self.services))) as client:
            yield client

    async def call(self, route: Route, key_text: str | None) -> tuple[int, Any]:
        """Status and document of a call that is otherwise in order."""
        path = route.path.replace("{project_id}", PROJECT).replace("{session_id}", SESSION)
        path = path.replace("{error_id}", FINGERPRINT).replace("{job_id}", SESSION)
        fields = route.parameters.model_fields if route.parameters else {}
        query = {name: value for name, value in QUERY.items() if name in fields}
        body = next((BODIES[part] for part in BODIES if part in path), None)
        headers = {} if key_text is None else {"X-GoSight-Key": key_text}
        async with (
            self.client() as client,
            client.request(
                route.method,
                path,
                params=query,
                headers=headers,
                json=None if route.method == "GET" else body,
            ) as answer,
        ):
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.read()


@pytest.mark.parametrize("route", READ_ROUTES, ids=IDS)
async def test_a_key_gets_what_its_role_may(route: Route) -> None:
    """Nobody 401, another project 404, too low a role 403; and then nothing is asked for it."""
    reads = Reads()
    refused = {None: 401, FOREIGN_KEY: 404, WRITE_KEY: 403}
    if route.access > Access.VIEWER:
        refused[READ_KEY] = 403
    if route.access > Access.ADMIN:
        refused[ADMIN_KEY] = 403
    for key_text, status in refused.items():
        assert (await reads.call(route, key_text))[0] == status, key_text
    assert reads.queries.asked == []
    assert reads.sql.projects == []


@pytest.mark.parametrize("route", READ_ROUTES, ids=IDS)
async def test_whatever_is_asked_is_about_the_project_of_the_key(route: Route) -> None:
    """Every query carries it; an empty project answers, or says that a thing is not there."""
    if route.access > Access.ADMIN:
        pytest.skip("no key is an owner")
    reads = Reads()
    # What has always one row, also of nothing.
    reads.queries.answers |= {
        "heat_scroll": [dict.fromkeys(SCROLL, 0)],
        "project_score": [dict.fromkeys(("closed_sessions", "good", "fair", "poor"), 0)],
    }
    reads.queries.answers["project_score"][0]["score"] = None  # type: ignore[index]
    status, document = await reads.call(route, ADMIN_KEY)
    asks_for_one = any(part in route.path for part in ("{session", "{error", "{job"))
    assert status == (404 if asks_for_one else route.status), document
    if status == 200 and route.answer is not None:
        route.answer.model_validate(document["data"])
    projects = {parameters["project_id"] for _, parameters in reads.queries.asked}
    assert projects <= {PROJECT}
    assert projects or reads.sql.projects == [PROJECT] or "job" in route.path or status == 202


@pytest.mark.parametrize("route", READ_ROUTES, ids=IDS)
async def test_a_store_that_is_away_is_told_and_nothing_else(route: Route) -> None:
    """503 without the words of the store."""
    if route.access > Access.ADMIN:
        pytest.skip("no key is an owner")
    reads = Reads(with_stores=False)
    reads.queries.fault = RetryableError("http://user:secret@clickhouse does not answer")
    status, document = await reads.call(route, ADMIN_KEY)
    assert (status, document["error"]["code"]) == (503, "UNAVAILABLE")
    assert "secret" not in str(document)


@pytest.mark.parametrize("route", READ_ROUTES, ids=IDS)
def test_the_table_says_what_a_call_takes_and_gives(route: Route) -> None:
    """Documents are made of it: a summary, models of parameters and of the answer."""
    assert route.summary.endswith(".")
    assert route.parameters is not None
    assert route.access >= Access.VIEWER
    assert (route.answer is None) == ("/export/" in route.path)
    assert (route.body is None) == (route.method == "GET")


SCROLL = (
    *("total_sessions", "viewport_width", "viewport_height", "page_height"),
    *(f"reached_{depth}" for depth in (25, 50, 75, 90, 100)),
)
