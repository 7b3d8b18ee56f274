"""Settings of projects as flows have them at hand, on a real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cli.project_store import connect, create_project
from connectors import postgres_changes, project_documents
from connectors.errors import RetryableError
from connectors.project_documents import ProjectDocuments
from sql.migrate import migrate_up
from tests.stack import RunningStack, fresh_databases


@pytest.fixture(scope="module")
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Empty databases with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack


def make_project(url: str, name: str, settings: dict[str, Any]) -> str:
    """A project's id."""
    with connect(url) as connection:
        return str(create_project(connection, name, settings=settings).id)


def change(url: str, project_id: str, settings: dict[str, Any]) -> None:
    """Write the project's settings."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE projects SET settings = %s WHERE id = %s", (Jsonb(settings), project_id)
        )


def wait_for(what: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Until it is so."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_changes_come_by_themselves(
    databases: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, changed and removed documents; equal ones keep their version."""
    monkeypatch.setattr(postgres_changes, "REFRESH_S", 0.1)
    url = databases.database_url
    own = make_project(url, "with a section", {"insights": {"hold_ms": 1}})
    plain = make_project(url, "without", {"currency": "EUR"})
    documents = ProjectDocuments(url, "insights")
    documents.start()
    try:
        first = documents.get(own)
        assert first is not None
        assert first.content == {"hold_ms": 1}
        assert documents.get(plain) is None
        change(url, own, {"insights": {"hold_ms": 1}, "currency": "EUR"})
        change(url, plain, {"insights": {"preset": "posthog"}})
        wait_for(lambda: documents.get(plain) is not None)
        assert documents.get(own) == first
        change(url, own, {"insights": {"hold_ms": 2}})
        wait_for(lambda: documents.get(own) != first)
        change(url, own, {})
        wait_for(lambda: documents.get(own) is None)
    finally:
        documents.close()


def test_values_beside_the_section_come_with_it(databases: RunningStack) -> None:
    """Also where the section itself is missing; a change of either is a new version."""
    url = databases.database_url
    both = make_project(url, "both", {"insights": {"hold_ms": 1}, "currency": "EUR", "notify": {}})
    alone = make_project(url, "alone", {"currency": "USD"})
    neither = make_project(url, "neither", {"timezone": "UTC"})
    documents = ProjectDocuments(url, "insights", ["currency"])
    documents.refresh()
    try:
        first = documents.get(both)
        assert first is not None
        assert first[1:] == ({"hold_ms": 1}, {"currency": "EUR"})
        found = documents.get(alone)
        assert found is not None
        assert found[1:] == ({}, {"currency": "USD"})
        assert documents.get(neither) is None
        change(url, both, {"insights": {"hold_ms": 1}, "currency": "CHF"})
        change(url, alone, {"timezone": "UTC"})
        documents.refresh()
        second = documents.get(both)
        assert second is not None
        assert second.version > first.version
        assert second.beside == {"currency": "CHF"}
        assert documents.get(alone) is None
    finally:
        documents.close()


def test_without_postgres_the_last_documents_stay(
    databases: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut connection is made anew; a database that is gone changes nothing."""
    monkeypatch.setattr(postgres_changes, "REFRESH_S", 0.1)
    url = databases.database_url
    own = make_project(url, "stays", {"insights": {"hold_ms": 1}})
    documents = ProjectDocuments(url, "insights")
    documents.start()
    failed = project_documents.READS.labels("failed")
    before = failed._value.get()
    try:
        monkeypatch.setattr(documents, "_database_url", "postgresql://nobody@127.0.0.1:1/none")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'gosight settings' AND datname = current_database()"
            )
        wait_for(lambda: failed._value.get() >= before + 2)
        assert documents.get(own) is not None
        monkeypatch.setattr(documents, "_database_url", url)
        change(url, own, {"insights": {"hold_ms": 7}})
        wait_for(lambda: (documents.get(own) or (0, {}))[1] == {"hold_ms": 7})
    finally:
        documents.close()


def test_it_does_not_start_without_postgres() -> None:
    """At the start nothing is known yet."""
    with pytest.raises(RetryableError, match="settings"):
        ProjectDocuments("postgresql://nobody@127.0.0.1:1/none", "insights").start()
