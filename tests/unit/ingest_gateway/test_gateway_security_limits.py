"""Who may send how much: addresses, projects, the edge of a window, clocks, forged senders."""

from __future__ import annotations

import asyncio

import pytest

from connectors.memory import MemoryTokenBuckets
from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.handlers import HttpOptions
from ingest_gateway.limits import RateGuard, RateOptions, SharedRates
from tests.gateway_world import READ_KEY, World, gateway_world, make_batch, make_key, now_ms

DAY_MS = 86_400_000
SECRET = b"secret"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """The time."""
        return self.now_s


async def admitted(rates: SharedRates, address: str, tries: int) -> int:
    """How many of so many requests of an address get through."""
    passed = 0
    for _ in range(tries):
        try:
            await rates.take_for_address(address)
        except RefusedError:
            continue
        passed += 1
    return passed


async def test_addresses_are_limited_apart() -> None:
    """Each address has its own bucket; one that is empty does not hold back another."""
    clock = Clock()
    options = RateOptions(address_per_s=10, address_burst=20, secret=SECRET)
    rates = SharedRates(MemoryTokenBuckets(clock), options, clock=clock)
    assert await admitted(rates, "192.0.2.1", 50) == 20
    assert await admitted(rates, "192.0.2.2", 50) == 20
    clock.now_s += 1.0
    assert await admitted(rates, "192.0.2.1", 50) == 10
    assert await admitted(rates, "", 50) == 50


async def test_addresses_of_one_ipv6_network_share_a_bucket() -> None:
    """Whoever has a /64 has one bucket and not 2**64."""
    clock = Clock()
    options = RateOptions(address_per_s=1, address_burst=5, secret=SECRET)
    rates = SharedRates(MemoryTokenBuckets(clock), options, clock=clock)
    passed = [await admitted(rates, f"2001:db8::{number:x}", 1) for number in range(20)]
    assert sum(passed) == 5
    assert await admitted(rates, "2001:db8:0:1::1", 1) == 1


async def test_buckets_do_not_name_addresses() -> None:
    """What goes to Redis is a keyed hash of the address."""
    names: list[str] = []

    class Listening(MemoryTokenBuckets):
        async def take(
            self, key_hash: str, *, rate_per_s: float, burst: int, needed: int, wanted: int
        ) -> tuple[int, float]:
            names.append(key_hash)
            return wanted, 0.0

    for secret in (SECRET, b"another"):
        options = RateOptions(address_per_s=10, address_burst=20, secret=secret)
        await SharedRates(Listening(), options).take_for_address("192.0.2.1")
    assert len(set(names)) == 2
    assert not any("192" in name for name in names)


async def test_keys_of_one_project_share_its_limit() -> None:
    """A project's own limit holds over all of its keys."""
    clock = Clock()
    options = RateOptions(project_per_s=1, project_burst=30)
    rates = SharedRates(MemoryTokenBuckets(clock), options, clock=clock)
    for _ in range(30):
        await rates.take_for_project("p-1")
    with pytest.raises(RefusedError) as refused:
        await rates.take_for_project("p-1")
    assert refused.value.kind is ErrorKind.RATE_LIMITED
    await rates.take_for_project("p-2")


async def test_guessing_keys_is_limited_by_address(world: World) -> None:
    """Wrong keys cost tokens of the address as well, also where only the settings are read."""
    options = RateOptions(address_per_s=1, address_burst=4, secret=SECRET)
    world.ingestor._shared_rates = SharedRates(world.buckets, options)
    statuses = []
    for number in range(6):
        key = {"X-GoSight-Key": f"gs_live_{number:032d}"}
        if number % 2:
            async with world.session.get(world.url + "/v1/config", headers=key) as response:
                statuses.append(response.status)
        else:
            statuses.append((await world.post(b"x", headers=key)).status)
    assert statuses == [401, 401, 401, 401, 429, 429]
    assert (await world.post(make_batch(1).SerializeToString())).status == 429


@pytest.mark.parametrize("offset_s", [0.0, 0.5, 0.999])
async def test_no_double_burst_at_the_edge_of_a_second(offset_s: float) -> None:
    """Before and after any moment together no more than burst and refill get through."""
    clock = Clock(1000.0 + offset_s)
    guard = RateGuard(MemoryTokenBuckets(clock), clock=clock)
    key = make_key(rate_limit_per_s=100, burst=100)
    passed = 0
    for step_s in (0.0, 0.002):
        clock.now_s += step_s
        for _ in range(200):
            try:
                await guard.take(key)
            except RefusedError:
                continue
            passed += 1
    assert passed == 100


async def test_parallel_requests_get_exactly_the_burst() -> None:
    """100 at once against a bucket of 40, over two processes: exactly 40."""
    clock = Clock()
    buckets = MemoryTokenBuckets(clock)
    guards = [RateGuard(buckets, clock=clock) for _ in range(2)]
    key = make_key(rate_limit_per_s=1, burst=40)
    results = await asyncio.gather(
        *(guards[number % 2].take(key) for number in range(100)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 40


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "6.6.6.6", "127.0.0.1"),
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6, 7.7.7.7, 203.0.113.7", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (1, "6.6.6.6, nobody", ""),
    ],
)
async def test_forged_address_is_not_believed(proxies: int, forwarded: str, expected: str) -> None:
    """Only the entry of the outermost trusted proxy counts, whatever a client wrote before it."""
    async with gateway_world(http=HttpOptions(trusted_proxy_count=proxies)) as world:
        headers = {"X-Forwarded-For": forwarded, "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
        response = await world.post(make_batch(1).SerializeToString(), headers=headers)
        assert response.status == 202
        assert world.sink.raw()[0].client_ip == expected


async def test_forged_address_does_not_escape_the_limit() -> None:
    """A new X-Forwarded-For for each request is no new address."""
    async with gateway_world() as world:
        options = RateOptions(address_per_s=1, address_burst=3, secret=SECRET)
        world.ingestor._shared_rates = SharedRates(world.buckets, options)
        statuses = [
            (
                await world.post(
                    make_batch(1).SerializeToString(),
                    headers={"X-Forwarded-For": f"192.0.2.{number}"},
                )
            ).status
            for number in range(5)
        ]
    assert statuses == [202, 202, 202, 429, 429]


@pytest.mark.parametrize("ahead_ms", [10 * 60_000, DAY_MS, 365 * DAY_MS, 2**62])
async def test_client_clock_cannot_reach_the_future(world: World, ahead_ms: int) -> None:
    """An event from the future is refused or its clock corrected; what is stored says when it came.

    `received_at_ms`, which everything else goes by, is never the client's.
    """
    batch = make_batch(1)
    batch.events[0].timestamp.millis = min(now_ms() + ahead_ms, 2**63 - 1)
    batch.sent_at = 0
    response = await world.post(batch.SerializeToString())
    assert response.status == 202
    for raw in world.sink.raw():
        assert abs(raw.received_at_ms - now_ms()) < 60_000
    for record in world.sink.records:
        received = dict(record.headers)["received_at"]
        assert abs(int(received) - now_ms()) < 60_000


@pytest.mark.parametrize("key", [READ_KEY, None])
async def test_write_key_reads_nothing(world: World, key: str | None) -> None:
    """No route gives back anything that was sent; a write key gets its public settings only."""
    batch = make_batch(1)
    batch.events[0].page.title = "a private title"
    assert (await world.post(batch.SerializeToString())).status == 202
    headers = {"X-GoSight-Key": key or world.headers["X-GoSight-Key"]}
    for path in ("/v1/events", "/v1/replay", "/v1/sessions", "/v1/query", "/", "/v1/projects"):
        async with world.session.get(world.url + path, headers=headers) as response:
            assert response.status == 404
    for path in ("/v1/config", "/health", "/ready", "/metrics"):
        async with world.session.get(world.url + path, headers=headers) as response:
            text = await response.text()
            assert response.status == 200
            for secret in ("private title", headers["X-GoSight-Key"], batch.events[0].session_id):
                assert secret not in text
