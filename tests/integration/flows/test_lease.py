"""Two copies of one flow: the second does not start, and takes over when the first is gone."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import psycopg
import pytest

from connectors.errors import FatalError, RetryableError
from connectors.lease import Lease
from tests.integration.flows.test_storage_restart import FlowProcess
from tests.stack import RunningStack


def test_a_part_has_one_holder(running_stack: RunningStack) -> None:
    """Others are refused by name; other parts and groups are free; closing gives it back."""
    url = running_stack.database_url
    group = uuid.uuid4().hex
    first = Lease(url, group, ["t:0", "t:1"])
    first.acquire(0)
    with pytest.raises(FatalError, match=f"{group} writes t:1"):
        Lease(url, group, ["t:2", "t:1"]).acquire(0)
    others = [Lease(url, group, ["t:2"]), Lease(url, uuid.uuid4().hex, ["t:0"])]
    for other in others:
        other.acquire(0)
        other.close()
    first.close()
    again = Lease(url, group, ["t:1"])
    again.acquire(2)
    again.close()


def test_no_database_is_no_lease() -> None:
    """A process that cannot know whether it is alone does not start."""
    with pytest.raises(RetryableError, match="PostgreSQL"):
        Lease("postgresql://gosight@127.0.0.1:1/gosight", "g", ["t:0"]).acquire(0)


def test_a_cut_connection_is_taken_again_or_given_up(
    running_stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage the holder confirms its lease; if another was faster it must stop."""
    monkeypatch.setattr("connectors.lease.PING_S", 0.1)
    url = running_stack.database_url
    group = uuid.uuid4().hex

    def cut() -> None:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s",
                (f"gosight lease {group}",),
            )

    holder = Lease(url, group, ["t:0"])
    holder.acquire(0)
    cut()
    time.sleep(1)
    assert not holder.lost.is_set()
    with pytest.raises(FatalError):
        Lease(url, group, ["t:0"]).acquire(0)
    monkeypatch.setattr("connectors.lease.PING_S", 2.0)
    time.sleep(0.2)
    rival = Lease(url, group, ["t:0"])
    cut()
    rival.acquire(5)
    try:
        assert holder.lost.wait(10)
        assert not rival.lost.is_set()
    finally:
        rival.close()
        holder.close()


def test_a_second_copy_of_a_flow_does_not_start(
    running_stack: RunningStack, tmp_path: Path
) -> None:
    """It says why and ends with 1; when the first is killed, the next one starts."""
    from sql.migrate import migrate_up
    from tests.stack import fresh_databases

    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        group = f"lease-{uuid.uuid4()}"
        first = FlowProcess(databases, group, tmp_path / "first.log")
        try:
            _wait_for_text(tmp_path / "first.log", "flow_started")
            second = FlowProcess(databases, group, tmp_path / "second.log")
            assert second.process.wait(timeout=60) == 1
            assert "PARTITION_SHARE" in (tmp_path / "second.log").read_text()
            first.kill_and_start_again()
            _wait_for_text(tmp_path / "first.log", "flow_started", count=2)
            assert first.stop() == 0
        finally:
            first.process.kill()


def _wait_for_text(path: Path, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + 60
    while path.read_text().count(text) < count:
        assert time.monotonic() < deadline, path.read_text()[-2000:]
        time.sleep(0.1)
