"""Attacks on a real gateway process with real servers behind it: bounded, refused, not told on."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis
from aiohttp import ClientSession
from backports import zstd

from connectors.keys import SHARED_MISSING_TTL_S, hash_key
from connectors.redis import RedisKeyCache, connect_redis
from schemas.topics import EVENTS_RAW
from schemas.v1.pipeline_pb2 import RawBatch
from schemas.v1.replay_pb2 import ReplayChunk, ReplayCodec
from tests.fuzz.target import peak_bytes
from tests.gateway_world import make_batch
from tests.integration.ingest_gateway.gateway_process import (
    NOWHERE,
    GatewayProcess,
    Project,
    TopicReader,
    create_project,
    gateway_process,
)
from tests.stack import RunningStack

MIB = 1024 * 1024
GROWTH_BYTES_MAX = 20 * MIB
ANSWER_S = 0.5
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
ZEROS = bytes(100 * MIB)
REPLAY = "/v1/replay"
EVENTS = "/v1/events"


async def post(
    gateway: GatewayProcess,
    headers: dict[str, str],
    body: bytes | None = None,
    path: str = EVENTS,
) -> int:
    """The status of a POST on a connection of its own."""
    content = make_batch(1).SerializeToString() if body is None else body
    async with (
        ClientSession() as session,
        session.post(gateway.url + path, data=content, headers=headers) as response,
    ):
        await response.read()
        return response.status


def chunk(plain: bytes, codec: ReplayCodec) -> bytes:
    """A replay chunk with this data."""
    pack = zstd.compress if codec == ReplayCodec.REPLAY_CODEC_ZSTD else gzip.compress
    return ReplayChunk(session_id="s", codec=codec, data=pack(plain)).SerializeToString()


def _many(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


TINY_EVENTS = b"[" + _many(b'{"type":1},', 16 * MIB - 64)[:-1] + b"]"
BOMBS: dict[str, tuple[str, str, str, bytes]] = {  # name: path, content type, encoding, body
    "gzip": (EVENTS, PROTOBUF, "gzip", gzip.compress(ZEROS)),
    "zstd": (EVENTS, PROTOBUF, "zstd", zstd.compress(ZEROS)),
    "deflate": (EVENTS, PROTOBUF, "deflate", zlib.compress(ZEROS)),
    "raw deflate": (EVENTS, PROTOBUF, "deflate", zlib.compress(ZEROS, wbits=-15)),
    "gzip in gzip": (EVENTS, PROTOBUF, "gzip", gzip.compress(gzip.compress(ZEROS))),
    "zstd in gzip": (EVENTS, PROTOBUF, "gzip", gzip.compress(zstd.compress(ZEROS))),
    "many members": (EVENTS, PROTOBUF, "gzip", gzip.compress(bytes(100_000)) * 1000),
    "a million empty events": (EVENTS, PROTOBUF, "gzip", gzip.compress(b"\x12\x00" * 1_000_000)),
    "a million unknown fields": (EVENTS, PROTOBUF, "gzip", gzip.compress(b"\x50\x00" * 1_000_000)),
    "deep JSON": (EVENTS, JSON, "gzip", gzip.compress(b'{"events":' + b"[" * 2_000_000)),
    "deep JSON, closed": (
        EVENTS,
        JSON,
        "gzip",
        gzip.compress(b'{"events":' + b"[" * 900_000 + b"]" * 900_000 + b"}"),
    ),
    "700,000 JSON values": (
        EVENTS,
        JSON,
        "gzip",
        gzip.compress(b'{"events":[' + _many(b"{},", 2 * MIB - 100) + b"{}]}"),
    ),
    "replay data, gzip": (REPLAY, PROTOBUF, "", chunk(ZEROS, ReplayCodec.REPLAY_CODEC_GZIP)),
    "replay data, zstd": (REPLAY, PROTOBUF, "", chunk(ZEROS, ReplayCodec.REPLAY_CODEC_ZSTD)),
    "1.5 million replay events": (
        REPLAY,
        PROTOBUF,
        "",
        chunk(TINY_EVENTS, ReplayCodec.REPLAY_CODEC_GZIP),
    ),
}


@pytest.mark.parametrize("name", list(BOMBS))
async def test_bomb(gateway: GatewayProcess, servers: RunningStack, name: str) -> None:
    """4xx within half a second, and the process grows by less than 20 MiB meanwhile.

    The memory is the peak of the resident set, measured by the system.
    """
    project = create_project(servers.database_url)
    path, content_type, encoding, body = BOMBS[name]
    headers = {**project.headers(content_type)}
    if encoding:
        headers["Content-Encoding"] = encoding
    for _ in range(3):  # Connections, pools and the like.
        assert await post(gateway, project.headers()) == 202
    seconds = []
    for _ in range(3):
        Path(f"/proc/{gateway.process.pid}/clear_refs").write_text("5")
        before = gateway.memory_bytes()
        started_s = time.perf_counter()
        status = await post(gateway, headers, body, path)
        seconds.append(time.perf_counter() - started_s)
        assert 400 <= status < 500
        grown = peak_bytes(gateway.process.pid) - before
        assert grown < GROWTH_BYTES_MAX, f"{grown / MIB:.1f} MiB"
    assert min(seconds) < ANSWER_S
    assert await post(gateway, project.headers()) == 202


@pytest.fixture
def two_gateways(servers: RunningStack) -> Iterator[list[GatewayProcess]]:
    """Two processes that share Redis and PostgreSQL, as on two machines."""
    environ = {
        **servers.urls,
        "IP_HASH_SECRET": "secret",
        "ADDRESS_RATE_LIMIT_RPS": "100000",
        "ADDRESS_RATE_LIMIT_BURST": "100000",
    }
    with gateway_process(environ) as first, gateway_process(environ) as second:
        yield [first, second]


@pytest.mark.parametrize(("rate", "burst"), [(1, 20), (1, 37), (5, 50)])
async def test_race_for_the_bucket(
    two_gateways: list[GatewayProcess], servers: RunningStack, rate: int, burst: int
) -> None:
    """100 requests at once over two processes: the burst gets in and what was earned meanwhile."""
    project = create_project(servers.database_url, rate_limit=rate, burst=burst)
    started_s = time.monotonic()
    statuses = await asyncio.gather(
        *(post(two_gateways[number % 2], project.headers()) for number in range(100))
    )
    earned = int((time.monotonic() - started_s) * rate) + 1
    assert set(statuses) == {202, 429}
    assert burst <= statuses.count(202) <= burst + earned


async def test_no_double_burst_at_the_edge_of_a_second(
    two_gateways: list[GatewayProcess], servers: RunningStack
) -> None:
    """A burst just before a full second and one just after it are one burst."""
    project = create_project(servers.database_url, rate_limit=10, burst=20)
    # The key is known to both before it matters: one token.
    assert await post(two_gateways[0], project.headers()) == 202
    await asyncio.sleep(1.95 - time.time() % 1.0)
    started_s = time.monotonic()
    first = await asyncio.gather(*(post(two_gateways[0], project.headers()) for _ in range(40)))
    await asyncio.sleep(max(0.0, 0.1 - (time.monotonic() - started_s)))
    second = await asyncio.gather(*(post(two_gateways[1], project.headers()) for _ in range(40)))
    earned = int((time.monotonic() - started_s) * 10) + 1
    assert 19 <= [*first, *second].count(202) <= 20 + earned


async def test_addresses_share_a_bucket_over_processes(servers: RunningStack) -> None:
    """The limit of an address holds over processes and keys, and Redis does not learn addresses."""
    projects = [create_project(servers.database_url) for _ in range(2)]
    environ = {
        **servers.urls,
        "IP_HASH_SECRET": f"secret {time.time_ns()}",  # Buckets of its own.
        "ADDRESS_RATE_LIMIT_RPS": "1",
        "ADDRESS_RATE_LIMIT_BURST": "12",
    }
    with gateway_process(environ) as first, gateway_process(environ) as second:
        started_s = time.monotonic()
        statuses = await asyncio.gather(
            *(
                post((first, second)[number % 2], projects[number // 2 % 2].headers())
                for number in range(40)
            )
        )
        earned = int(time.monotonic() - started_s) + 1
    assert set(statuses) == {202, 429}
    assert 12 <= statuses.count(202) <= 12 + earned
    with redis.Redis.from_url(servers.redis_url, decode_responses=True) as client:
        names = list(client.scan_iter("rl:*"))
    assert any(name.startswith("rl:address:") for name in names)
    assert not any("127.0.0" in name for name in names)


async def test_limits_hold_while_redis_is_away(servers: RunningStack) -> None:
    """Without Redis each process limits keys, projects and addresses by itself."""
    project = create_project(servers.database_url, rate_limit=1, burst=100)
    limits = {"ADDRESS_RATE_LIMIT_RPS": "1", "ADDRESS_RATE_LIMIT_BURST": "7"}
    for environ, burst in ((limits, 7), ({}, 100)):
        away = {**servers.urls, "REDIS_URL": f"redis://{NOWHERE}/0", **environ}
        with gateway_process(away) as gateway:
            started_s = time.monotonic()
            statuses = [await post(gateway, project.headers()) for _ in range(burst + 20)]
            earned = int(time.monotonic() - started_s) + 1
        assert set(statuses) == {202, 429}
        assert burst <= statuses.count(202) <= burst + earned


async def test_keys_that_look_alike(gateway: GatewayProcess, servers: RunningStack) -> None:
    """While a key is cached, no other is taken for it: a prefix, a suffix, one letter, its case."""
    project = create_project(servers.database_url)
    for _ in range(3):
        assert await post(gateway, project.headers()) == 202
    key = project.key

    def with_other(place: int) -> str:
        return key[:place] + ("0" if key[place] != "0" else "1") + key[place:][1:]

    forged = [
        key[:12] + "Z" * 28,
        with_other(len(key) - 1),
        key[:-1],
        key + "0",
        key.upper(),
        with_other(8),
        hash_key(key),
        "gs_live_" + hash_key(key)[:32],
        key.replace("gs_live_", "gs_test_"),
    ]
    for other in forged:
        assert await post(gateway, {**project.headers(), "X-GoSight-Key": other}) == 401
    assert await post(gateway, project.headers()) == 202


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now()"])
async def test_key_ends_within_seconds(
    gateway: GatewayProcess, servers: RunningStack, change: str
) -> None:
    """A key that is used all the time is refused within ten seconds of its end in PostgreSQL."""
    project = create_project(servers.database_url)
    assert await post(gateway, project.headers()) == 202
    project.execute(f"UPDATE api_keys SET {change} WHERE key_hash = %(hash)s")
    client = connect_redis(servers.redis_url, timeout_s=5.0)
    await RedisKeyCache(client).revoke(hash_key(project.key))
    await client.aclose()
    started_s = time.monotonic()
    while await post(gateway, project.headers()) == 202:
        assert time.monotonic() - started_s < 10.0
    assert [await post(gateway, project.headers()) for _ in range(3)] == [401] * 3


async def test_wrong_keys_do_not_reach_the_database_twice(
    gateway: GatewayProcess, servers: RunningStack
) -> None:
    """That a key does not exist is remembered: a hundred tries read its row once."""
    wrong = "gs_live_" + f"{time.time_ns():032d}"
    headers = {"X-GoSight-Key": wrong, "Content-Type": PROTOBUF}
    before = _row_reads(servers)
    statuses = await asyncio.gather(*(post(gateway, headers) for _ in range(100)))
    assert set(statuses) == {401}
    with redis.Redis.from_url(servers.redis_url, decode_responses=True) as client:
        assert client.hgetall(f"apikey:{hash_key(wrong)}") == {"missing": "1"}
        assert 0 < client.ttl(f"apikey:{hash_key(wrong)}") <= SHARED_MISSING_TTL_S
    # A few more are of the server itself and of whoever else reads settings now.
    assert 1 <= _row_reads(servers) - before <= 20


def _row_reads(servers: RunningStack) -> int:
    """How often the table of keys was looked into; PostgreSQL tells it after a while."""
    deadline = time.monotonic() + 3.0
    seen = -1
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            connection.execute("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
            row = connection.execute(
                "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0)"
                " FROM pg_stat_user_tables WHERE relname = 'api_keys'"
            ).fetchone()
            assert row is not None
            if row[0] == seen:
                time.sleep(0.5)
            seen = int(row[0])
    return seen


async def test_trusted_proxies_in_a_real_process(servers: RunningStack) -> None:
    """With one trusted proxy its own entry counts; without, none."""
    project = create_project(servers.database_url)
    topic = TopicReader(servers.kafka_brokers, EVENTS_RAW.name)
    try:
        for count, expected in (("0", "127.0.0.1"), ("1", "203.0.113.7")):
            with gateway_process({**servers.urls, "TRUSTED_PROXY_COUNT": count}) as gateway:
                forged = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7", "X-Real-IP": "6.6.6.6"}
                assert await post(gateway, {**project.headers(), **forged}) == 202
            [message] = topic.read(project.project_id, 1)
            assert RawBatch.FromString(message.value()).client_ip == expected
    finally:
        topic.close()


async def test_foreign_pages_are_refused(gateway: GatewayProcess, servers: RunningStack) -> None:
    """A page of another site gets 403 and no leave to read the answer, on every route."""
    project = create_project(servers.database_url, allowed_domains=("shop.example",))
    foreign = {**project.headers(), "Origin": "https://evil.example"}
    own = {**project.headers(), "Origin": "https://shop.example"}
    async with ClientSession() as session:
        for method, path in (("POST", EVENTS), ("POST", REPLAY), ("GET", "/v1/config")):
            for headers, status in ((foreign, 403), (own, None)):
                async with session.request(method, gateway.url + path, headers=headers) as response:
                    allowed = response.headers.get("Access-Control-Allow-Origin")
                    assert (response.status == 403) == (status == 403)
                    assert allowed == (None if status == 403 else "https://shop.example")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/events HT", b"POST /v1/events HTTP/1.1\r\nA: b"])
async def test_thousand_idle_connections(
    gateway: GatewayProcess, servers: RunningStack, sent: bytes
) -> None:
    """A thousand connections that are silent, or stop in a line, cost others nothing."""
    project = create_project(servers.database_url)
    assert await post(gateway, project.headers()) == 202
    before = gateway.memory_bytes()
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", gateway.http_port) for _ in range(1_000))
    )
    try:
        for _, writer in opened:
            writer.write(sent)
        seconds = []
        for _ in range(5):
            started_s = time.perf_counter()
            assert await post(gateway, project.headers()) == 202
            seconds.append(time.perf_counter() - started_s)
        assert min(seconds) < ANSWER_S
        assert gateway.memory_bytes() - before < 3 * GROWTH_BYTES_MAX
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def _attack(gateway: GatewayProcess, project: Project) -> None:
    """Everything that makes a server talk: damaged requests, wrong keys, rates, HTTP/2 frames."""
    raw = [
        b"GET / HTTP/1.1\r\nX-GoSight-Key " + project.key.encode() + b"\r\n\r\n",
        b"POST /v1/events?key=" + project.key.encode() + b" HTTP/9.9\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nX-GoSight-Key: " + project.key.encode() + b"\x00\r\n\r\n",
        b"\x16\x03\x01" + bytes(100),
    ]
    goaway = b"\x00\x00\x10\x07\x00\x00\x00\x00\x00" + bytes(4) + b"\xff" * 4 + b"private!"
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    for port, content in [
        *((gateway.http_port, content) for content in raw),
        (gateway.grpc_port, preface + goaway),
        (gateway.grpc_port, raw[0]),
    ]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(content)
        await writer.drain()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(0.3):
                while await reader.read(65536):
                    pass
        writer.close()
    for _ in range(8):
        await post(gateway, project.headers())
    await post(gateway, {**project.headers(), "X-GoSight-Key": project.key[:-1] + "%"})
    await post(gateway, {**project.headers(), "X-Forwarded-For": "6.6.6.6"})


@pytest.mark.parametrize("broken", [{}, {"KAFKA_BROKERS": NOWHERE}, {"DATABASE_URL": ""}])
async def test_nothing_of_clients_in_log_and_metrics(
    servers: RunningStack, broken: dict[str, str]
) -> None:
    """No key, hash, address, body or session is in standard error or in the metrics."""
    project = create_project(servers.database_url, rate_limit=1, burst=3)
    if "DATABASE_URL" in broken:
        broken = {"DATABASE_URL": f"postgresql://x@{NOWHERE}/x"}
    environ = {
        **servers.urls,
        **broken,
        "LOG_LEVEL": "debug",
        "KAFKA_DELIVERY_TIMEOUT_SECONDS": "1",
        "ADDRESS_RATE_LIMIT_RPS": "50",
        "PROJECT_RATE_LIMIT_RPS": "50",
    }
    with gateway_process(environ) as gateway:
        await _attack(gateway, project)
        async with ClientSession() as session, session.get(gateway.url + "/metrics") as response:
            metrics = await response.text()
        gateway.stop()
    assert gateway.noise == []
    told = [str(line) for line in gateway.log if line["event"] not in ("started", "stopped")]
    for secret in (project.key, project.key[:16], hash_key(project.key), "6.6.6.6", "private!"):
        assert secret not in metrics
        assert not any(secret in line for line in told)
    assert "127.0.0.1" not in metrics
    addresses = [line for line in told if "127.0.0.1" in line and NOWHERE not in line]
    assert addresses == []
