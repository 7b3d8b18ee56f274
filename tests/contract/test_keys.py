"""Keys, their cache and the token buckets: one suite over the real stores and their twins.

The real ones need the servers and carry the marker `integration`.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import psycopg
import pytest

from connectors.errors import RetryableError
from connectors.keys import MISSING, KeyCache, KeySource, KeyStore, hash_key
from connectors.memory import MemoryKeyCache, MemoryKeySource, MemoryTokenBuckets
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.redis import RedisKeyCache, RedisTokenBuckets, TokenBuckets, connect_redis
from schemas.records import ProjectKey
from sql.migrate import FOLDER as SQL_FOLDER
from tests.gateway_world import make_key
from tests.stack import RunningStack, fresh_databases

BOTH = ["memory", pytest.param("real", marks=pytest.mark.integration)]
NOWHERE = "127.0.0.1:1"


def new_hash() -> str:
    """The hash of a key that nobody has used."""
    return hashlib.sha256(secrets.token_bytes(16)).hexdigest()


@pytest.fixture(params=BOTH)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[KeyCache]:
    """A cache of keys."""
    if request.param == "memory":
        yield MemoryKeyCache()
        return
    stack: RunningStack = request.getfixturevalue("running_stack")
    client = connect_redis(stack.redis_url, timeout_s=5.0)
    try:
        yield RedisKeyCache(client)
    finally:
        await client.aclose()


async def test_cache_gives_back_what_it_was_given(cache: KeyCache) -> None:
    """A row comes back whole; what was never written is unknown."""
    key = replace(
        make_key(
            permissions=("write", "read"),
            expires_at_ms=5,
            allowed_domains=["a.example", "*.b.example"],
            settings={"privacy": {"blockUrls": ["/x"], "anonymizeIp": True}},
        ),
        key_hash=new_hash(),
    )
    assert await cache.read(key.key_hash) is None
    await cache.write(key.key_hash, key)
    assert await cache.read(key.key_hash) == key


async def test_cache_keeps_that_there_is_no_key(cache: KeyCache) -> None:
    """That a key does not exist is known as well."""
    key_hash = new_hash()
    await cache.write(key_hash, None)
    assert await cache.read(key_hash) is MISSING


async def test_cache_revoke_wins_over_a_late_writer(cache: KeyCache) -> None:
    """A reader that loaded the row just before it was revoked cannot bring it back."""
    key = replace(make_key(), key_hash=new_hash())
    await cache.write(key.key_hash, key)
    await cache.revoke(key.key_hash)
    await cache.write(key.key_hash, key)
    assert await cache.read(key.key_hash) is MISSING


async def test_cache_forgets(cache: KeyCache) -> None:
    """A row that was dropped is read anew and can be written again."""
    key = replace(make_key(), key_hash=new_hash())
    await cache.write(key.key_hash, key)
    await cache.forget(key.key_hash)
    assert await cache.read(key.key_hash) is None
    await cache.write(key.key_hash, key)
    assert await cache.read(key.key_hash) == key


@pytest.fixture(params=BOTH)
async def buckets(request: pytest.FixtureRequest) -> AsyncIterator[TokenBuckets]:
    """Token buckets."""
    if request.param == "memory":
        yield MemoryTokenBuckets()
        return
    stack: RunningStack = request.getfixturevalue("running_stack")
    client = connect_redis(stack.redis_url, timeout_s=5.0)
    try:
        yield RedisTokenBuckets(client)
    finally:
        await client.aclose()


async def test_bucket_gives_exactly_its_burst(buckets: TokenBuckets) -> None:
    """A new bucket holds the burst; then the wait for the next token is told."""
    key_hash = new_hash()

    async def take(needed: int, wanted: int) -> tuple[int, float]:
        return await buckets.take(key_hash, rate_per_s=0.1, burst=10, needed=needed, wanted=wanted)

    assert await take(1, 4) == (4, 0.0)
    assert await take(1, 4) == (4, 0.0)
    assert await take(1, 4) == (2, 0.0)
    granted, wait_s = await take(1, 4)
    assert granted == 0
    assert 5.0 < wait_s <= 10.0


async def test_bucket_refills(buckets: TokenBuckets) -> None:
    """Tokens come back with time, and never more than the burst."""
    key_hash = new_hash()
    first = await buckets.take(key_hash, rate_per_s=1000, burst=10, needed=1, wanted=10)
    assert first[0] == 10
    await asyncio.sleep(0.05)
    second = await buckets.take(key_hash, rate_per_s=1000, burst=10, needed=1, wanted=100)
    assert second[0] == 10


async def test_bucket_tells_what_is_left_and_how_long_to_wait(buckets: TokenBuckets) -> None:
    """One token at a time, with the rest; asking for the wait takes nothing."""
    name = new_hash()
    assert await buckets.wait_for_one(name, rate_per_s=0.01, burst=3) == 0
    taken = [await buckets.take_one(name, rate_per_s=0.01, burst=3) for _ in range(4)]
    assert [one.is_granted for one in taken] == [True, True, True, False]
    assert [one.left for one in taken] == [2, 1, 0, 0]
    assert 90 < taken[3].wait_s <= 100
    assert 90 < await buckets.wait_for_one(name, rate_per_s=0.01, burst=3) <= 100


async def test_buckets_are_taken_from_one_at_a_time(buckets: TokenBuckets) -> None:
    """Callers at the same time never get more than there is."""
    key_hash = new_hash()
    answers = await asyncio.gather(
        *(buckets.take(key_hash, rate_per_s=0.01, burst=50, needed=1, wanted=3) for _ in range(40))
    )
    assert sum(granted for granted, _ in answers) == 50


@dataclass
class Source:
    """A source of keys and how to put a row into it."""

    keys: KeySource
    put: Callable[[ProjectKey], Awaitable[None]]


@pytest.fixture(params=BOTH)
async def source(request: pytest.FixtureRequest) -> AsyncIterator[Source]:
    """Where keys are kept."""
    if request.param == "memory":
        memory = MemoryKeySource()

        async def put_memory(key: ProjectKey) -> None:
            memory.add(key)

        yield Source(memory, put_memory)
        return
    stack: RunningStack = request.getfixturevalue("running_stack")
    with fresh_databases(stack) as fresh:
        with psycopg.connect(fresh.database_url, autocommit=True) as connection:
            for path in sorted((SQL_FOLDER / "postgres").glob("*.sql")):
                connection.execute(path.read_bytes())
        pool = await connect_postgres(fresh.database_url)

        async def put(key: ProjectKey) -> None:
            await asyncio.to_thread(insert_key, fresh.database_url, key)

        try:
            yield Source(PostgresKeySource(pool), put)
        finally:
            await pool.close()


def insert_key(database_url: str, key: ProjectKey) -> None:
    """A tenant, a project and this key in PostgreSQL."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        [tenant] = connection.execute(
            "INSERT INTO tenants (name) VALUES ('t') RETURNING id"
        ).fetchone() or (None,)
        connection.execute(
            "INSERT INTO projects (id, tenant_id, name, slug, allowed_domains, settings)"
            " VALUES (%s, %s, 'p', %s, %s, %s)",
            (
                key.project_id,
                tenant,
                uuid.uuid4().hex,
                list(key.allowed_domains),
                psycopg.types.json.Jsonb(dict(key.settings.document)),
            ),
        )
        connection.execute(
            "INSERT INTO api_keys (project_id, key_hash, key_prefix, permissions, rate_limit,"
            " burst, is_active, expires_at)"
            " VALUES (%s, %s, 'gs_live_abcd', %s, %s, %s, %s, to_timestamp(%s))",
            (
                key.project_id,
                key.key_hash,
                list(key.permissions),
                key.rate_limit_per_s,
                key.burst,
                key.is_active,
                None if key.expires_at_ms is None else key.expires_at_ms / 1000,
            ),
        )


async def test_source_gives_the_whole_row(source: Source) -> None:
    """Everything that the gateway needs of a key and its project is in one row."""
    key = replace(
        make_key(
            project_id=str(uuid.uuid4()),
            permissions=("write", "read"),
            rate_limit_per_s=7,
            burst=70,
            expires_at_ms=1_900_000_000_000,
            allowed_domains=["a.example"],
            settings={"privacy": {"respectDnt": True}},
        ),
        key_hash=new_hash(),
    )
    assert await source.keys.load(key.key_hash) is None
    await source.put(key)
    assert await source.keys.load(key.key_hash) == key


async def test_inactive_key_is_there_and_says_so(source: Source) -> None:
    """Whether a key is valid is decided by its reader."""
    key = replace(make_key(project_id=str(uuid.uuid4()), is_active=False), key_hash=new_hash())
    await source.put(key)
    found = await source.keys.load(key.key_hash)
    assert found is not None
    assert not found.is_active


async def test_stores_that_are_away_say_so_in_time() -> None:
    """A closed port is a RetryableError, soon."""
    pool = await connect_postgres(f"postgresql://x@{NOWHERE}/x")
    client = connect_redis(f"redis://{NOWHERE}/0")
    try:
        async with asyncio.timeout(5):
            with pytest.raises(RetryableError):
                await PostgresKeySource(pool).load("0" * 64)
            with pytest.raises(RetryableError):
                await RedisKeyCache(client).read("0" * 64)
            with pytest.raises(RetryableError):
                await RedisTokenBuckets(client).take(
                    "0" * 64, rate_per_s=1, burst=1, needed=1, wanted=1
                )
    finally:
        await pool.close()
        await client.aclose()


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


@dataclass
class Store:
    """A key store on twins."""

    clock: Clock
    source: MemoryKeySource
    cache: MemoryKeyCache
    keys: KeyStore


@pytest.fixture
def store() -> Store:
    """A key store with one key."""
    clock = Clock()
    source, cache = MemoryKeySource(), MemoryKeyCache(clock)
    source.add(make_key())
    return Store(clock, source, cache, KeyStore(source, cache, clock=clock))


HASH = make_key().key_hash


async def test_store_loads_once_for_many(store: Store) -> None:
    """Requests that come together wait for one load; later ones need none."""
    found = await asyncio.gather(*(store.keys.find(HASH) for _ in range(50)))
    assert found == [make_key()] * 50
    assert store.keys.find_cached(HASH) == make_key()
    assert store.source.loads == 1


async def test_store_asks_the_cache_before_the_source(store: Store) -> None:
    """Another process's load serves this one, too."""
    await store.keys.find(HASH)
    second = KeyStore(store.source, store.cache, clock=store.clock)
    assert await second.find(HASH) == make_key()
    assert store.source.loads == 1


async def test_store_drops_a_revoked_key_within_five_seconds(store: Store) -> None:
    """After a revoke the process's own entry ends by its age."""
    await store.keys.find(HASH)
    store.source.remove(HASH)
    await store.cache.revoke(HASH)
    store.clock.now_s += 5.1
    assert store.keys.find_cached(HASH) is None
    assert await store.keys.find(HASH) is None


async def test_store_knows_unknown_keys_for_a_while(store: Store) -> None:
    """An unknown key costs one load, not one a request."""
    for _ in range(10):
        assert await store.keys.find("f" * 64) is None
        store.clock.now_s += 2.0
    assert store.source.loads == 1


async def test_store_serves_known_keys_while_the_source_is_away(store: Store) -> None:
    """For five minutes past its age a key that was valid stays valid; then it is an outage."""
    await store.keys.find(HASH)
    await store.cache.forget(HASH)
    store.source.is_away = store.cache.is_away = True
    store.clock.now_s += 304.0
    assert await store.keys.find(HASH) == make_key()
    store.clock.now_s += 2.0
    with pytest.raises(RetryableError):
        await store.keys.find(HASH)


async def test_store_never_calls_an_outage_unknown(store: Store) -> None:
    """A key that nobody can be asked about is neither valid nor unknown."""
    store.source.is_away = True
    with pytest.raises(RetryableError):
        await store.keys.find(HASH)
    assert await store.keys.check() is not None
    store.source.is_away = False
    assert await store.keys.find(HASH) == make_key()
    assert await store.keys.check() is None


async def test_store_goes_on_without_its_cache(store: Store) -> None:
    """Redis away: the source answers, and admits nobody else."""
    store.cache.is_away = True
    assert await store.keys.find(HASH) == make_key()
    assert await store.keys.find("f" * 64) is None


async def test_store_does_not_trust_a_row_of_another_key(store: Store) -> None:
    """A row under the wrong hash admits nobody."""
    other = hash_key("gs_live_" + "z" * 32)
    await store.cache.write(other, make_key())
    store.source.keys[other] = make_key()
    assert await store.keys.find(other) is None


async def test_store_is_bounded() -> None:
    """Any number of unknown keys takes a bounded number of entries."""
    source = MemoryKeySource({HASH: make_key()})
    keys = KeyStore(source, None, entries_max=10)
    for number in range(100):
        await keys.find(f"{number:064d}")
    loads = source.loads
    assert await keys.find("0" * 63 + "1") is None
    assert source.loads == loads + 1  # Forgotten long ago.
    assert await keys.find(f"{99:064d}") is None
    assert source.loads == loads + 1


async def test_store_does_not_call_a_key_unknown_while_nobody_can_be_asked(store: Store) -> None:
    """That a key was not there some minutes ago says nothing: it may have been made since."""
    assert await store.keys.find("e" * 64) is None
    await store.cache.forget("e" * 64)
    store.source.is_away = store.cache.is_away = True
    store.clock.now_s += 200.0
    with pytest.raises(RetryableError):
        await store.keys.find("e" * 64)
