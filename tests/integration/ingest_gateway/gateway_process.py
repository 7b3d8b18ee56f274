"""`python -m ingest_gateway` as a child process against real servers."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from psycopg.types.json import Jsonb

from connectors.keys import hash_key
from schemas.topics import BY_NAME
from sql.migrate import FOLDER as SQL_FOLDER

ROOT = Path(__file__).resolve().parents[3]
START_TIMEOUT_S = 30.0
NOWHERE = "127.0.0.1:1"  # A port that nobody listens on.


@dataclass
class GatewayProcess:
    """A started gateway and where it listens."""

    process: subprocess.Popen[str]
    http_port: int
    grpc_port: int
    log: list[dict[str, Any]]
    noise: list[str]  # What came on standard error beside the log.

    @property
    def url(self) -> str:
        """Of the HTTP port."""
        return f"http://127.0.0.1:{self.http_port}"

    def memory_bytes(self) -> int:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


@contextmanager
def gateway_process(environ: Mapping[str, str], *arguments: str) -> Iterator[GatewayProcess]:
    """A gateway that listens; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ingest_gateway", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "INGESTOR_HOST": "127.0.0.1",
            "INGESTOR_HTTP_PORT": "0",
            "INGESTOR_GRPC_PORT": "0",
            "METRICS_PORT": "0",
            **environ,
        },
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    )
    lines: queue.Queue[str] = queue.Queue()
    log: list[dict[str, Any]] = []
    noise: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.put(line)
            if line.startswith("{"):
                log.append(json.loads(line))
            else:
                noise.append(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield _wait_until_started(process, lines, log, noise)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(10)
        assert process.stderr is not None
        process.stderr.close()


def _wait_until_started(
    process: subprocess.Popen[str],
    lines: queue.Queue[str],
    log: list[dict[str, Any]],
    noise: list[str],
) -> GatewayProcess:
    deadline = time.monotonic() + START_TIMEOUT_S
    seen: list[str] = []
    while time.monotonic() < deadline and process.poll() is None:
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            continue
        seen.append(line)
        if '"event":"started"' in line:
            started = json.loads(line)
            return GatewayProcess(process, started["http_port"], started["grpc_port"], log, noise)
    raise AssertionError("the gateway did not start:\n" + "".join(seen))


@dataclass(frozen=True)
class Project:
    """A project in PostgreSQL with one key."""

    project_id: str
    key: str
    database_url: str

    def headers(self, content_type: str = "application/x-protobuf") -> dict[str, str]:
        """Headers of a request with this project's key."""
        return {"X-GoSight-Key": self.key, "Content-Type": content_type}

    def execute(self, statement: str) -> None:
        """Run a statement in which `%(hash)s` stands for the hash of this project's key."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(statement, {"hash": hash_key(self.key)})


def create_tables(database_url: str) -> None:
    """The project's own schema, from its migration files."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for path in sorted((SQL_FOLDER / "postgres").glob("*.sql")):
            connection.execute(path.read_bytes())


def create_project(
    database_url: str,
    *,
    rate_limit: int = 100_000,
    burst: int = 100_000,
    permissions: tuple[str, ...] = ("write",),
    allowed_domains: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None,
) -> Project:
    """A new project with a new key."""
    key = "gs_live_" + uuid.uuid4().hex
    with psycopg.connect(database_url, autocommit=True) as connection:
        [tenant_id] = connection.execute(
            "INSERT INTO tenants (name) VALUES ('t') RETURNING id"
        ).fetchone() or (None,)
        [project_id] = connection.execute(
            "INSERT INTO projects (tenant_id, name, slug, allowed_domains, settings)"
            " VALUES (%s, 'p', %s, %s, %s) RETURNING id::text",
            (tenant_id, uuid.uuid4().hex, list(allowed_domains), Jsonb(dict(settings or {}))),
        ).fetchone() or ("",)
        connection.execute(
            "INSERT INTO api_keys (project_id, key_hash, key_prefix, permissions, rate_limit,"
            " burst) VALUES (%s, %s, %s, %s, %s, %s)",
            (project_id, hash_key(key), key[:12], list(permissions), rate_limit, burst),
        )
    return Project(project_id, key, database_url)


class TopicReader:
    """Reads what reaches a topic from now on."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": brokers, "group.id": uuid.uuid4().hex, "log_level": 0}
        )
        partitions = [TopicPartition(topic, number) for number in range(BY_NAME[topic].partitions)]
        for partition in partitions:
            partition.offset = self._end(partition)
        self._consumer.assign(partitions)

    def _end(self, partition: TopicPartition) -> int:
        """Where the partition ends now; a topic made a moment ago may have no leader yet."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return int(self._consumer.get_watermark_offsets(partition, timeout=10)[1])
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def read(self, project_id: str, count: int, timeout_s: float = 15.0) -> list[Message]:
        """The project's next records: `count` of them, or fewer if they do not come in time."""
        found: list[Message] = []
        deadline = time.monotonic() + timeout_s
        while len(found) < count and time.monotonic() < deadline:
            for message in self._consumer.consume(500, timeout=0.2):
                assert message.error() is None
                if (message.key() or b"").startswith(project_id.encode()):
                    found.append(message)
        return found

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
