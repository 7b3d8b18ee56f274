"""Flows that start while Kafka is away: they wait for it, and end when they are told to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.errors import RetryableError
from connectors.kafka_admin import check_topics, read_topics
from flows.run import STOP_S_MAX
from tests.integration.standalone.processes import wait_for
from tests.our_processes import FLOWS, ROOT

# Nothing may listen there; the system's own ports are not handed out.
REFUSING = "127.0.0.1:1"


@pytest.fixture(params=["refuses", "is silent"])
def brokers(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address where nothing listens, or where all that is said is accepted and not answered."""
    if request.param == "refuses":
        yield REFUSING
        return
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        yield f"127.0.0.1:{silent.getsockname()[1]}"


def test_brokers_that_do_not_answer_may_be_asked_again(brokers: str) -> None:
    """The request and who waits for it end at the same time: neither is a bug of ours."""
    with pytest.raises(RetryableError, match="no Kafka broker answers"):
        read_topics(brokers, ["gosight.events.raw"], timeout_s=0.5)
    with pytest.raises(RetryableError, match="no Kafka broker answers"):
        check_topics(brokers, timeout_s=0.5)


def test_flows_wait_for_kafka_and_end_when_told(brokers: str, tmp_path: Path) -> None:
    """Each tries again and runs on; SIGTERM ends it in time, with 0."""
    environ = {
        **os.environ,
        "KAFKA_BROKERS": brokers,
        "DATABASE_URL": "postgresql://gosight@127.0.0.1:1/gosight",
        "CLICKHOUSE_URL": "http://127.0.0.1:1/gosight",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "METRICS_PORT": "0",
    }
    logs = {name: tmp_path / f"{name}.log" for name in FLOWS}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, path in logs.items():
            with path.open("wb") as log:
                processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "flows", name], cwd=ROOT, env=environ, stderr=log
                )

        def all_tried_again() -> bool:
            for name, process in processes.items():
                assert process.poll() is None, logs[name].read_text()
            return all("start_retried" in path.read_text() for path in logs.values())

        wait_for(all_tried_again, 60)
        told_s = time.monotonic()
        for process in processes.values():
            process.terminate()
        for name, process in processes.items():
            assert process.wait(STOP_S_MAX + 10) == 0, logs[name].read_text()
        # Five interpreters end at the same time.
        assert time.monotonic() - told_s < STOP_S_MAX + 2
    finally:
        for process in processes.values():
            process.kill()
            process.wait(10)
