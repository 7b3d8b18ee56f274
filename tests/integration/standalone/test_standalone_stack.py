"""The whole stack: what it promises about data, processes, ports and its directory."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import psutil
import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from standalone.kafka import KafkaServer
from standalone.locks import LockedError
from standalone.process import StartError
from standalone.settings import cache_dir
from standalone.stack import Stack
from tests.integration.standalone.processes import is_gone, wait_for
from tests.stack import RunningStack, fresh_databases

pytestmark = pytest.mark.integration

LARGE_BYTES = 7_000_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack for the tests that leave it running."""
    with Stack(tmp_path_factory.mktemp("stack"), ports={}) as running:
        yield running


def produce(brokers: str, topic: str, value: bytes) -> None:
    """One message, acknowledged by the broker."""
    errors: list[object] = []
    producer = Producer(
        {"bootstrap.servers": brokers, "enable.idempotence": True, "message.max.bytes": 8_000_000}
    )
    producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors == [None]


def consume(brokers: str, topic: str) -> bytes:
    """The first message of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "test",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value() or b""
    finally:
        consumer.close()


def write_everywhere(urls: dict[str, str]) -> None:
    """One fact in each server."""
    admin = AdminClient({"bootstrap.servers": urls["KAFKA_BROKERS"]})
    for future in admin.create_topics([NewTopic("kept", 1, 1)]).values():
        future.result()
    produce(urls["KAFKA_BROKERS"], "kept", b"x" * LARGE_BYTES)
    with clickhouse_connect.get_client(dsn=urls["CLICKHOUSE_URL"]) as client:
        client.command("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
        client.insert("kept", [[5]], column_names=["n"])
    with psycopg.connect(urls["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 5 AS n")
    with closing(redis.Redis.from_url(urls["REDIS_URL"])) as cache:
        cache.set("kept", "5")


def check_everywhere(urls: dict[str, str]) -> None:
    """Those facts are there."""
    assert consume(urls["KAFKA_BROKERS"], "kept") == b"x" * LARGE_BYTES
    with clickhouse_connect.get_client(dsn=urls["CLICKHOUSE_URL"]) as client:
        assert client.command("SELECT n FROM kept") == 5
    with psycopg.connect(urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (5,)
    with closing(redis.Redis.from_url(urls["REDIS_URL"])) as cache:
        assert cache.get("kept") == b"5"


def run_stack(data_dir: Path, **options: Any) -> subprocess.Popen[str]:
    """`python -m standalone` in the background, with its output to read."""
    return subprocess.Popen(
        [sys.executable, "-m", "standalone", "--data", str(data_dir), "--any-ports"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def read_urls(process: subprocess.Popen[str]) -> dict[str, str]:
    """The JSON line that says that all are ready."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    urls: dict[str, str] = json.loads(line)
    return urls


def server_pids(data_dir: Path) -> list[int]:
    """The process ids in the state file."""
    content = json.loads((data_dir / "stack.json").read_text())
    return list(content["pids"].values())


def test_data_survives_restarts_at_the_same_addresses(tmp_path: Path) -> None:
    """Stop and start again: the same URLs, and everything is there."""
    with Stack(tmp_path, ports={}) as first:
        urls = first.urls
        write_everywhere(urls)
        check_everywhere(urls)
    with Stack(tmp_path) as second:
        assert second.urls == urls
        check_everywhere(urls)


def test_kill_of_the_parent_ends_the_servers_and_the_next_start_finds_the_data(
    tmp_path: Path,
) -> None:
    """kill -9: no server is left behind, Java included; an immediate start works."""
    with run_stack(tmp_path) as process:
        urls = read_urls(process)
        write_everywhere(urls)
        pids = server_pids(tmp_path)
        assert len(pids) == 4
        process.kill()
    with Stack(tmp_path) as again:
        assert all(is_gone(pid) for pid in pids)
        check_everywhere(again.urls)


def test_sigterm_stops_everything_with_exit_code_zero(tmp_path: Path) -> None:
    """The foreground command ends cleanly and leaves no process."""
    with run_stack(tmp_path) as process:
        read_urls(process)
        pids = server_pids(tmp_path)
        process.terminate()
        assert process.wait(60) == 0
    assert all(is_gone(pid) for pid in pids)


def test_server_that_dies_ends_the_foreground_command(tmp_path: Path) -> None:
    """A stack with a missing server is no stack: exit code 1, and the others are stopped."""
    with run_stack(tmp_path) as process:
        read_urls(process)
        pids = server_pids(tmp_path)
        os.kill(pids[0], signal.SIGKILL)
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert "ended by itself" in process.stderr.read()
    assert all(is_gone(pid) for pid in pids)


def test_failed_start_leaves_nothing_running(tmp_path: Path) -> None:
    """One server cannot start: the text says why, the others are stopped, the lock is free."""
    cluster = tmp_path / "postgres" / "data"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("3\n")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    for _ in range(2):
        with pytest.raises(StartError, match="postgres ended with code"):
            Stack(tmp_path, ports={}).start()
        after = {child.pid for child in psutil.Process().children(recursive=True)}
        assert after <= before


def test_first_start_that_failed_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka could not be fetched when PostgreSQL had its cluster: the next start opens that."""
    cluster = tmp_path / "postgres" / "data"

    def fail_after_cluster(_: object, _progress: object) -> None:
        wait_for(cluster.exists)
        raise StartError("kafka: cannot be fetched")

    with monkeypatch.context() as broken:
        broken.setattr(KafkaServer, "start", fail_after_cluster)
        with pytest.raises(StartError, match="cannot be fetched"):
            Stack(tmp_path, ports={}).start()
    with Stack(tmp_path) as again, psycopg.connect(again.urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_second_stack_in_one_directory_is_refused(stack: Stack) -> None:
    """The text says which process has it; the running stack is not disturbed."""
    with pytest.raises(LockedError, match=f"in use by process {os.getpid()}"):
        Stack(stack.data_dir).start()
    with run_stack(stack.data_dir) as process:
        assert process.wait(60) == 2
    assert stack.dead() == {}


def test_taken_port_is_replaced(tmp_path: Path, stack: Stack) -> None:
    """A usual port that someone else has is no obstacle."""
    taken = int(stack.urls["KAFKA_BROKERS"].rpartition(":")[2])
    with Stack(tmp_path, ports={"kafka": taken}) as other:
        port = int(other.urls["KAFKA_BROKERS"].rpartition(":")[2])
        assert port != taken
        assert json.loads(other.state_path.read_text())["ports"]["kafka"] == port


def test_servers_listen_on_loopback_only(stack: Stack) -> None:
    """No server can be reached from another machine."""
    listening = [
        connection.laddr
        for pid in stack.process_ids.values()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_passwords_are_private_and_needed(stack: Stack) -> None:
    """The state file is its owner's only; nobody gets in without the password."""
    assert stat.S_IMODE(stack.state_path.stat().st_mode) == 0o600
    database = urlsplit(stack.urls["DATABASE_URL"])
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://gosight:wrong@127.0.0.1:{database.port}/gosight")
    cache = urlsplit(stack.urls["REDIS_URL"])
    with (
        closing(redis.Redis(port=cache.port or 0, retry=None)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_killed_servers_can_be_started_again_one_by_one(stack: Stack) -> None:
    """Each server survives kill -9 with its data, at its address."""
    write_everywhere(stack.urls)
    for name, pid in stack.process_ids.items():
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda name=name: name in stack.dead())
        stack.restart(name)
    check_everywhere(stack.urls)
    assert stack.dead() == {}


def test_topics_are_not_made_by_accident(stack: Stack) -> None:
    """Auto-creation is off: a producer to an unknown topic fails."""
    producer = Producer(
        {"bootstrap.servers": stack.urls["KAFKA_BROKERS"], "message.timeout.ms": 2_000}
    )
    errors: list[Any] = []
    producer.produce("unknown", b"x", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors[0] is not None


def test_fresh_databases_are_empty_and_go_away(stack: Stack) -> None:
    """The helper for tests: own ClickHouse and PostgreSQL databases on shared servers."""
    with fresh_databases(RunningStack(stack.urls, stack)) as own:
        assert own.clickhouse_url != stack.urls["CLICKHOUSE_URL"]
        with clickhouse_connect.get_client(dsn=own.clickhouse_url) as client:
            name = client.command("SELECT currentDatabase()")
            assert client.query("SHOW TABLES").result_rows == []
    with clickhouse_connect.get_client(dsn=stack.urls["CLICKHOUSE_URL"]) as client:
        assert client.command(f"EXISTS DATABASE {name}") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_ordinary_user_can_run_the_stack() -> None:
    """Started by root as an account without rights: ready, and gone again at SIGTERM."""
    account = pwd.getpwnam("nobody")
    probe = [sys.executable, "-c", "import standalone"]
    identity: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid}
    try:
        subprocess.run(probe, **identity, extra_groups=[], check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this Python or this checkout cannot be read by other users")
    with tempfile.TemporaryDirectory(prefix="gosight-user-") as name:
        data_dir = Path(name)
        cache = data_dir / "cache"
        shutil.copytree(cache_dir(os.environ), cache)
        for path in (data_dir, *data_dir.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
        environ = {**os.environ, "GOSIGHT_CACHE_DIR": str(cache), "HOME": name}
        with run_stack(data_dir, env=environ, extra_groups=[], **identity) as process:
            read_urls(process)
            owners = {psutil.Process(pid).uids().effective for pid in server_pids(data_dir)}
            assert owners == {account.pw_uid}
            process.terminate()
            assert process.wait(60) == 0
