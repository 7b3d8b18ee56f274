"""The front across kills, restarts and repeats: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from standalone.clickhouse import ClickHouseServer
from standalone.ports import choose_port
from tests.integration.standalone.fronts import make_front, stop_front

pytestmark = pytest.mark.integration

TABLES = (
    "CREATE TABLE base (id UInt64, kind String) ENGINE = MergeTree ORDER BY id "
    "SETTINGS non_replicated_deduplication_window = 100",
    "CREATE TABLE totals (kind String, n UInt64) ENGINE = SummingMergeTree ORDER BY kind "
    "SETTINGS non_replicated_deduplication_window = 100",
    "CREATE MATERIALIZED VIEW totals_mv TO totals AS "
    "SELECT kind, count() AS n FROM base GROUP BY kind",
)
SETTINGS = {
    "insert_deduplication_token": "topic:0:1-1000",
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}
ROWS = [[number, "click" if number % 2 else "view"] for number in range(1_000)]


def insert(client: Client, **settings: object) -> None:
    """The same block with the same token."""
    client.insert("base", ROWS, column_names=["id", "kind"], settings={**SETTINGS, **settings})


def counts(client: Client) -> tuple[int, int]:
    """Rows in the base table; rows counted by the view."""
    base = client.command("SELECT count() FROM base")
    totals = client.command("SELECT sum(n) FROM totals")
    return base, totals


def kill(front: ClickHouseServer) -> None:
    """kill -9 of the engine's process itself."""
    assert front.process is not None
    os.kill(front.process.pid, signal.SIGKILL)
    assert front.process.wait(10.0) == 128 + signal.SIGKILL


def test_block_sent_again_counts_once_in_table_and_view_also_across_kills(tmp_path: Path) -> None:
    """One token, five inserts, two kills between them: base and view hold the block once."""
    front = make_front(tmp_path)
    front.start(lambda _: None)
    try:
        with clickhouse_connect.get_client(dsn=front.url) as client:
            for statement in TABLES:
                client.command(statement)
            for _ in range(3):
                insert(client)
            assert counts(client) == (1_000, 1_000)
        for _ in range(2):
            kill(front)
            front.start(lambda _: None)
            with clickhouse_connect.get_client(dsn=front.url) as client:
                assert counts(client) == (1_000, 1_000)
                insert(client)
                assert counts(client) == (1_000, 1_000)
                per_kind = client.query("SELECT kind, sum(n) FROM totals GROUP BY kind").result_rows
                assert sorted(per_kind) == [("click", 500), ("view", 500)]
        with clickhouse_connect.get_client(dsn=front.url) as client:
            insert(client, insert_deduplication_token="topic:0:1001-2000")
            assert counts(client) == (2_000, 2_000)
    finally:
        assert stop_front(front) == 0


def test_answered_inserts_survive_a_kill_at_any_moment(tmp_path: Path) -> None:
    """Every insert that was answered before a kill -9 is there afterwards."""
    front = make_front(tmp_path)
    front.start(lambda _: None)
    try:
        answered = 0
        with clickhouse_connect.get_client(dsn=front.url) as client:
            client.command("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
        for _ in range(3):
            with clickhouse_connect.get_client(dsn=front.url) as client:
                for _ in range(20):
                    client.insert("kept", [[answered]], column_names=["n"])
                    answered += 1
            kill(front)
            front.start(lambda _: None)
            with clickhouse_connect.get_client(dsn=front.url) as client:
                assert client.command("SELECT count(), max(n) + 1 FROM kept") == [str(answered)] * 2
    finally:
        stop_front(front)


def test_ordinary_stop_ends_with_zero_and_keeps_the_data(tmp_path: Path) -> None:
    """SIGTERM closes the engine; the next start finds everything."""
    front = make_front(tmp_path)
    front.start(lambda _: None)
    with clickhouse_connect.get_client(dsn=front.url) as client:
        client.command("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
        client.insert("kept", [[1], [2]], column_names=["n"])
    assert stop_front(front) == 0
    front.start(lambda _: None)
    try:
        with clickhouse_connect.get_client(dsn=front.url) as client:
            assert client.command("SELECT count() FROM kept") == 2
    finally:
        assert stop_front(front) == 0


def run_front(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Start a front that is expected to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "standalone.clickhouse_server", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_second_front_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """One process a data directory; the text says who has it."""
    front = make_front(tmp_path)
    front.start(lambda _: None)
    try:
        assert front.process is not None
        data = str(tmp_path / "clickhouse")
        refused = run_front("--data", data, "--port", str(choose_port(0)))
        assert refused.returncode == 2
        assert f"in use by process {front.process.pid}" in refused.stderr
    finally:
        stop_front(front)


def test_front_listens_on_loopback_only(tmp_path: Path) -> None:
    """An address that other machines could reach is refused with the reason."""
    refused = run_front("--data", str(tmp_path), "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "loopback" in refused.stderr


def test_insert_that_cannot_be_written_is_not_acknowledged(client: Client) -> None:
    """What goes wrong after the data were read, here in a view, is told; sent again, it counts."""
    for statement in TABLES[:2]:
        client.command(statement)
    client.command(
        "CREATE MATERIALIZED VIEW totals_mv TO totals AS "
        "SELECT throwIf(id = 7, 'no room') = 0 ? kind : kind AS kind, count() AS n "
        "FROM base GROUP BY kind, id"
    )
    with pytest.raises(DatabaseError, match="no room"):
        insert(client)
    client.command("DROP VIEW totals_mv SYNC")
    client.command(TABLES[2])
    insert(client)
    assert counts(client) == (1_000, 1_000)
