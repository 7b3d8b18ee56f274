"""`gosight up` as a child process and commands run against it; a project with stored events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.stored_history import Store, stored_history
from tests.stack import RunningStack

ROOT = Path(__file__).resolve().parents[3]
START_TIMEOUT_S = 120.0
_SERVER_VARIABLES = ("KAFKA_BROKERS", "CLICKHOUSE_URL", "DATABASE_URL", "REDIS_URL")


def command_environment() -> dict[str, str]:
    """Ours without addresses of other servers, so that the data folder's are used."""
    kept = {name: value for name, value in os.environ.items() if name not in _SERVER_VARIABLES}
    return {**kept, "NO_COLOR": "1", "LOG_LEVEL": "info"}


def gosight(*arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass
class Running:
    """A `gosight up` that is ready."""

    process: subprocess.Popen[str]
    addresses: dict[str, Any]
    data: Path
    start_s: float

    def run(self, *arguments: str, code: int = 0) -> Any:
        """The JSON of a command run against this machine."""
        result = gosight(*arguments, "--data", str(self.data), "--json")
        assert result.returncode == code, result.stdout + result.stderr
        return json.loads(result.stdout)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode


def start_machine(data: Path, *options: str) -> Running:
    """Start `gosight up --json` and wait for its line."""
    began = time.monotonic()
    errors = data.parent / f"{data.name}.stderr"
    with errors.open("a") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cli",
                "up",
                "--json",
                "--any-ports",
                "--data",
                str(data),
                *options,
            ],
            cwd=ROOT,
            env=command_environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(10)
        pytest.fail(errors.read_text())
    return Running(process, json.loads(line), data, time.monotonic() - began)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One machine for all tests of these commands."""
    running = start_machine(tmp_path_factory.mktemp("machine") / "data")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


@pytest.fixture
def store(running_stack: RunningStack) -> Iterator[Store]:
    """Migrated databases with one project and no events."""
    with stored_history(running_stack) as store:
        yield store
