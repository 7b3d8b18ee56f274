"""One gateway process on the real servers for all tests of a module, with its own database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.ingest_gateway.gateway_process import (
    GatewayProcess,
    TopicReader,
    create_tables,
    gateway_process,
)
from tests.stack import RunningStack, fresh_databases


@pytest.fixture(scope="module")
def servers(running_stack: RunningStack) -> Iterator[RunningStack]:
    """The servers with an own PostgreSQL database that has the project's tables."""
    with fresh_databases(running_stack) as fresh:
        create_tables(fresh.database_url)
        yield fresh


@pytest.fixture(scope="module")
def gateway(servers: RunningStack) -> Iterator[GatewayProcess]:
    """A gateway process with default settings."""
    with gateway_process(servers.urls) as started:
        yield started


@pytest.fixture
def reader(servers: RunningStack) -> Iterator[Callable[[str], TopicReader]]:
    """Gives readers of topics, from now on."""
    readers: list[TopicReader] = []

    def open_reader(topic: str) -> TopicReader:
        readers.append(TopicReader(servers.kafka_brokers, topic))
        return readers[-1]

    yield open_reader
    for opened in readers:
        opened.close()
