"""Two flows on one host: the second is told that its port is taken, and by which setting."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.our_processes import ROOT

AWAY = {
    "KAFKA_BROKERS": "127.0.0.1:1",
    "CLICKHOUSE_URL": "http://127.0.0.1:1/gosight",
    "DATABASE_URL": "postgresql://gosight@127.0.0.1:1/gosight",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "METRICS_HOST": "127.0.0.1",
}


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which someone else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def run_flow(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    """`gosight flow run storage` until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "cli", "flow", "run", "storage", *options],
        cwd=ROOT,
        env={**os.environ, **AWAY, "METRICS_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_flow_says_which_setting_has_a_taken_port(taken_port: int) -> None:
    """One log line with the name and the number, and exit code 1."""
    done = run_flow(taken_port)
    assert done.returncode == 1
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    (failed,) = [entry for entry in entries if entry["level"] in {"error", "critical"}]
    assert failed["event"] == "flow_failed"
    assert failed["detail"].startswith(f"METRICS_PORT {taken_port} is taken")


def test_supervisor_starts_nothing_beyond_the_last_port() -> None:
    """Each process has the port after that of the one before, and there the ports end."""
    done = run_flow(65_535, "--processes", "2")
    assert done.returncode == 1
    assert "METRICS_PORT 65536 is no port" in done.stderr
    assert "Traceback" not in done.stderr


def test_supervisor_starts_nothing_on_a_taken_port(taken_port: int) -> None:
    """The second of its two ports is taken: it says so at once, and does not try again."""
    done = run_flow(taken_port - 1, "--processes", "2")
    assert done.returncode == 1
    # The first one may be somebody else's by now.
    assert re.search(f"METRICS_PORT ({taken_port - 1}|{taken_port}) is taken", done.stderr)
    assert "Traceback" not in done.stderr
