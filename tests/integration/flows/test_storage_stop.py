"""SIGTERM while a server hangs: the process ends in time, and with 0."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from sql.migrate import migrate_up
from tests.integration.flows.test_storage_restart import FlowProcess
from tests.stack import RunningStack, fresh_databases


@pytest.fixture
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Empty databases with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack


@pytest.mark.parametrize("server", ["CLICKHOUSE_URL", "DATABASE_URL", "KAFKA_BROKERS"])
def test_a_server_that_never_answers_does_not_hold_the_process(
    databases: RunningStack, tmp_path: Path, server: str
) -> None:
    """Docker would kill it after 10 s; it ends by itself before that."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        parts = urlsplit(databases.urls[server])
        credentials, at, _host = parts.netloc.rpartition("@")
        url = (
            where
            if server == "KAFKA_BROKERS"
            else urlunsplit(parts._replace(netloc=f"{credentials}{at}{where}"))
        )
        stack = replace(databases, urls={**databases.urls, server: url})
        log = tmp_path / "flow.log"
        flow = FlowProcess(stack, f"stop-{uuid.uuid4()}", log)
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()  # The probe or the flow itself: it is running.
            with connection:
                began_s = time.monotonic()
                assert flow.stop() == 0, log.read_text()[-2000:]
                assert time.monotonic() - began_s < 8.5
        finally:
            flow.process.kill()
