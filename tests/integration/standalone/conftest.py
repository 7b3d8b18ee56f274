"""A ClickHouse front of their own for these tests, with the project's client library."""

from __future__ import annotations

from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from standalone.clickhouse import ClickHouseServer
from tests.integration.standalone.fronts import make_front, stop_front


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A running front for the tests of one module."""
    server = make_front(tmp_path_factory.mktemp("front"))
    server.start(lambda _: None)
    yield server
    assert stop_front(server) == 0


@pytest.fixture
def client(front: ClickHouseServer) -> Iterator[Client]:
    """A client on the front, in an empty database."""
    with clickhouse_connect.get_client(dsn=front.url) as opened:
        opened.command("DROP DATABASE IF EXISTS gosight SYNC", use_database=False)
        opened.command("CREATE DATABASE gosight", use_database=False)
        yield opened
