"""`gosight migrate` while a server is away: it says what it waits for before it has waited."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.our_processes import ROOT


@pytest.mark.parametrize("command", ["up", "status", "verify"])
def test_what_is_waited_for_is_told_at_once(command: str) -> None:
    """The first line on standard error, a minute before the last."""
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "migrate", command, "--json"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "postgresql://gosight:secret@127.0.0.1:1/gosight",
            "CLICKHOUSE_URL": "http://127.0.0.1:1/gosight",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        is_still_waiting = process.poll() is None
        process.kill()
    assert line.startswith("PostgreSQL: ")
    assert line.endswith("; waiting for it, up to 60 s\n")
    assert "secret" not in line
    assert is_still_waiting
