"""Partitions shared out among processes by PostgreSQL: one holder each, whatever happens."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from connectors.claims import PostgresClaims
from connectors.errors import RetryableError
from connectors.kafka_log import Part
from tests.stack import RunningStack

PARTS: list[Part] = [("t", number) for number in range(12)]


@pytest.fixture
def join(running_stack: RunningStack) -> Iterator[Callable[[], PostgresClaims]]:
    """Starts members of one group; all leave at the end."""
    group = uuid.uuid4().hex
    members: list[PostgresClaims] = []

    def start() -> PostgresClaims:
        claims = PostgresClaims(running_stack.database_url, group, PARTS)
        claims.start()
        members.append(claims)
        return claims

    yield start
    for claims in members:
        claims.close()


def settle(*members: PostgresClaims) -> list[int]:
    """Let members hand over as their flows would, until all is held; how many each has."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for claims in members:
            claims.give_back(claims.asked_back())
        held = [set(claims.held()) for claims in members]
        sizes = [len(own) for own in held]
        assert sum(sizes) == len(set().union(*held)), "two hold one partition"
        if sum(sizes) == len(PARTS) and max(sizes) - min(sizes) <= 1:
            return sizes
        time.sleep(0.05)
    raise AssertionError(f"not shared out: {[dict(claims.held()) for claims in members]}")


def test_partitions_follow_the_number_of_processes(join: Callable[[], PostgresClaims]) -> None:
    """1, 4, 2, 1: always all of them, each once."""
    members = [join()]
    assert settle(*members) == [12]
    members += [join() for _ in range(3)]
    assert settle(*members) == [3] * 4
    members.pop(0).close()
    members.pop(1).close()
    assert settle(*members) == [6] * 2
    members.pop(0).close()
    assert settle(*members) == [12]


def test_a_partition_is_kept_until_it_is_given_back(join: Callable[[], PostgresClaims]) -> None:
    """A second process waits for what the first has not let go of."""
    first = join()
    settle(first)
    second = join()
    deadline = time.monotonic() + 20
    while not first.asked_back():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.5)
    assert len(first.held()) == 12
    assert not second.held()
    assert settle(first, second) == [6, 6]


def test_a_session_that_is_cut_has_new_holdings(
    join: Callable[[], PostgresClaims], running_stack: RunningStack
) -> None:
    """What was read under the old ones can be told, because another may have held them."""
    claims = join()
    settle(claims)
    before = claims.held()
    with psycopg.connect(running_stack.database_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            (f"gosight lease {claims.group}",),
        )
    deadline = time.monotonic() + 20
    while set(claims.held()) != set(PARTS) or set(claims.held().values()) & set(before.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert claims.is_sure()


def test_a_session_that_broke_is_found_out_by_asking(
    join: Callable[[], PostgresClaims], running_stack: RunningStack
) -> None:
    """Its partitions were free at once, long before the last confirmation is old."""
    claims = join()
    settle(claims)
    before = claims.held()
    assert claims.confirm()
    assert claims.held() == before
    with psycopg.connect(running_stack.database_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            (f"gosight lease {claims.group}",),
        )
    claims.confirm()
    assert not set(claims.held().items()) & set(before.items())


def test_a_frozen_process_loses_its_partitions(
    join: Callable[[], PostgresClaims],
    running_stack: RunningStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL ends its session; it is no longer sure before anybody else can be."""
    monkeypatch.setattr("connectors.claims.SURE_S", 1.0)
    monkeypatch.setattr("connectors.claims.SESSION_OPTIONS", "-c idle_session_timeout=3s")
    frozen = join()
    settle(frozen)
    other = join()
    settle(frozen, other)
    monkeypatch.setattr(frozen, "_beat", lambda: None)
    deadline = time.monotonic() + 20
    while len(other.held()) < 12:
        is_sure = frozen.is_sure()
        assert not (is_sure and len(other.held()) > 6)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not frozen.is_sure()


def test_no_database_is_no_claim() -> None:
    """A process that cannot know whether it is alone does not start."""
    with pytest.raises(RetryableError, match="PostgreSQL"):
        PostgresClaims("postgresql://gosight@127.0.0.1:1/gosight", "g", PARTS).start()
