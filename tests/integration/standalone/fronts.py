"""ClickHouse fronts that a test may kill."""

from __future__ import annotations

import os
from pathlib import Path

from standalone.clickhouse import ClickHouseServer
from standalone.ports import choose_port

PASSWORD = "front-password"


def make_front(directory: Path) -> ClickHouseServer:
    """A front over `directory`, not started."""
    return ClickHouseServer(
        directory / "clickhouse",
        choose_port(0),
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
