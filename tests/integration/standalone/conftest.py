"""A ClickHouse front of their own for these tests, so that they can kill it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from standalone.clickhouse import ClickHouseServer
from standalone.ports import choose_port

PASSWORD = "front-password"


def make_front(directory: Path, port: int = 0) -> ClickHouseServer:
    """A front over `directory`, not started."""
    return ClickHouseServer(
        directory / "clickhouse",
        port or choose_port(0),
        "gosight",
        PASSWORD,
        "gosight",
        directory / "front.log",
        dict(os.environ),
    )


def stop_front(front: ClickHouseServer) -> int:
    """Stop a front in the ordinary way; returns its exit code."""
    assert front.process is not None
    return front.process.stop()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A running front for the tests of one module."""
    server = make_front(tmp_path_factory.mktemp("front"))
    server.start(lambda _: None)
    yield server
    assert stop_front(server) == 0


@pytest.fixture
def client(front: ClickHouseServer) -> Iterator[Client]:
    """The project's client library on the front, in an empty database."""
    with clickhouse_connect.get_client(dsn=front.url) as opened:
        opened.command("DROP DATABASE IF EXISTS gosight SYNC", settings={"database": "default"})
        opened.command("CREATE DATABASE gosight", use_database=False)
        yield opened


Connect = Callable[[], Client]
