"""The real servers for a test session: one stack of its own, or a running one that is shared.

`GOSIGHT_TEST_STACK=PATH` names the state file of a running stack (DATA/stack.json, or the JSON line
that `python -m standalone` printed): then that one is used and left running.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import clickhouse_connect
import psycopg
from psycopg import sql

from standalone.stack import Stack

SHARED_STACK_VARIABLE = "GOSIGHT_TEST_STACK"


@dataclass(frozen=True)
class RunningStack:
    """The environment variables that lead to the servers; `stack` is None for a shared one."""

    urls: dict[str, str]
    stack: Stack | None

    @property
    def kafka_brokers(self) -> str:
        """For `bootstrap.servers`."""
        return self.urls["KAFKA_BROKERS"]

    @property
    def clickhouse_url(self) -> str:
        """http://user:password@host:port/database."""
        return self.urls["CLICKHOUSE_URL"]

    @property
    def database_url(self) -> str:
        """postgresql://user:password@host:port/database."""
        return self.urls["DATABASE_URL"]

    @property
    def redis_url(self) -> str:
        """redis://:password@host:port/0."""
        return self.urls["REDIS_URL"]


@contextmanager
def running_stack() -> Iterator[RunningStack]:
    """All four servers, ready; stopped again and their data removed unless they are shared."""
    shared = os.environ.get(SHARED_STACK_VARIABLE, "")
    if shared:
        content = json.loads(Path(shared).read_text())
        yield RunningStack(content.get("urls", content), None)
        return
    data_dir = Path(tempfile.mkdtemp(prefix="gosight-test-"))
    stack = Stack(data_dir, ports={})
    try:
        yield RunningStack(stack.start(), stack)
    finally:
        stack.stop()
        shutil.rmtree(data_dir, ignore_errors=True)


@contextmanager
def fresh_databases(running: RunningStack) -> Iterator[RunningStack]:
    """The same servers with an empty ClickHouse and PostgreSQL database of random names."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    # Not a database that may be dropped: the front refuses to USE one that is gone.
    client = clickhouse_connect.get_client(dsn=with_database(running.clickhouse_url, "default"))
    admin = psycopg.connect(running.database_url, autocommit=True)
    database = sql.Identifier(name)
    try:
        client.command(f"CREATE DATABASE {name}")
        admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
        urls = {
            **running.urls,
            "CLICKHOUSE_URL": with_database(running.clickhouse_url, name),
            "DATABASE_URL": with_database(running.database_url, name),
        }
        yield RunningStack(urls, running.stack)
    finally:
        client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
        client.close()
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        admin.close()


def with_database(url: str, database: str) -> str:
    """The URL with another database in its path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{database}"))
