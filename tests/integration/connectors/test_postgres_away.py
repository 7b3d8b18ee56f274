"""PostgreSQL frozen in the middle of its work: look-ups answer at once all the same."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from connectors.errors import RetryableError
from connectors.keys import KeyStore, hash_key
from connectors.postgres import DEADLINE_S, PROBE_PAUSE_S, Pool, PostgresKeySource, connect_postgres
from standalone.ports import choose_port
from standalone.postgres import PostgresServer
from tests.integration.ingest_gateway.gateway_process import (
    Project,
    create_project,
    create_tables,
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server with our tables that a test may freeze."""
    found = PostgresServer(
        tmp_path / "postgres", choose_port(0), "gosight", "secret", tmp_path / "postgres.log"
    )
    found.start(lambda _: None)
    try:
        create_tables(found.url)
        yield found
    finally:
        send_to_all(found, signal.SIGCONT)
        assert found.process is not None
        found.process.stop()


@pytest.fixture
async def pool(server: PostgresServer) -> AsyncIterator[Pool]:
    """The pool of a process."""
    opened = await connect_postgres(server.url)
    yield opened
    await opened.close(timeout=1.0)


@pytest.fixture
def project(server: PostgresServer) -> Project:
    """A project with a key."""
    return create_project(server.url)


def send_to_all(server: PostgresServer, number: signal.Signals) -> None:
    """Send a signal to the server and to every session of it."""
    assert server.process is not None
    main = psutil.Process(server.process.pid)
    for process in [main, *main.children(recursive=True)]:
        os.kill(process.pid, number)


def unknown_hash() -> str:
    """The hash of a key that nobody has asked for yet."""
    return hash_key(secrets.token_hex())


async def test_a_frozen_postgres_costs_one_second_once(
    server: PostgresServer, pool: Pool, project: Project
) -> None:
    """Frozen: the first look-up ends within its deadline, all later ones at once; then it is back.

    Keys seen before are answered all along, and an unknown key is an outage, never "no such key".
    """
    source = PostgresKeySource(pool)
    keys = KeyStore(source, None, fresh_s=0.0)
    known = hash_key(project.key)
    assert await keys.find(known) is not None
    assert await keys.find(unknown_hash()) is None
    send_to_all(server, signal.SIGSTOP)
    began_s = time.monotonic()
    # More than the pool has connections, so that some wait for one.
    first = await asyncio.gather(
        *(keys.find(unknown_hash()) for _ in range(20)), return_exceptions=True
    )
    assert {type(error) for error in first} == {RetryableError}
    assert time.monotonic() - began_s < DEADLINE_S + 0.5
    for _ in range(40):
        began_s = time.monotonic()
        with pytest.raises(RetryableError):
            await keys.find(unknown_hash())
        assert await keys.find(known) is not None
        assert time.monotonic() - began_s < 0.2
        await asyncio.sleep(0.05)  # Over the time of some probes.
    send_to_all(server, signal.SIGCONT)
    async with asyncio.timeout(PROBE_PAUSE_S + 2 * DEADLINE_S + 4):
        while await keys.check() is not None:
            await asyncio.sleep(0.05)
    assert await keys.find(unknown_hash()) is None
    assert await source.load(known) is not None


def test_a_process_ends_quietly_while_the_server_is_away() -> None:
    """A probe that waits for a connection ends with its source; the loop's end finds none left."""
    told: list[dict[str, Any]] = []
    url = f"postgresql://gosight:secret@127.0.0.1:{choose_port(0)}/gosight"

    async def serve() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: told.append(fault))
        pool = await connect_postgres(url)
        source = PostgresKeySource(pool, clock=lambda: 1.0)
        for _ in range(2):  # The second one is refused at once, and has the server probed.
            with pytest.raises(RetryableError):
                await source.load(unknown_hash())
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) > 1
        began_s = time.monotonic()
        await source.close()
        await pool.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert time.monotonic() - began_s < DEADLINE_S

    asyncio.run(serve())
    assert told == []


async def test_a_cancelled_look_up_leaves_nothing_waiting(
    server: PostgresServer, pool: Pool, project: Project
) -> None:
    """A caller that is cancelled while the server is frozen ends at once, and so does its task."""
    source = PostgresKeySource(pool)
    assert await source.load(hash_key(project.key)) is not None
    send_to_all(server, signal.SIGSTOP)
    before = len(asyncio.all_tasks())
    load = asyncio.create_task(source.load(unknown_hash()))
    await asyncio.sleep(0.2)
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    async with asyncio.timeout(2):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.02)
