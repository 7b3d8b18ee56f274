"""The gateway on real Kafka, Redis and PostgreSQL: what is written, and who may write."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import psycopg
import pytest
import redis
from aiohttp import ClientSession

from connectors.keys import hash_key
from connectors.redis import RedisKeyCache, connect_redis
from schemas.topics import EVENTS_ERRORS, EVENTS_RAW, EVENTS_REJECTED
from schemas.v1.ingest_pb2 import IngestResponse
from schemas.v1.pipeline_pb2 import ErrorEvent, RawBatch, RejectedRecord
from tests.gateway_world import make_batch, make_error
from tests.integration.ingest_gateway.gateway_process import (
    NOWHERE,
    GatewayProcess,
    Project,
    TopicReader,
    create_project,
    gateway_process,
)
from tests.stack import RunningStack

OpenReader = Callable[[str], TopicReader]
REVOKED_WITHIN_S = 10.0


async def post(
    gateway: GatewayProcess, project: Project, body: bytes, **headers: str
) -> tuple[int, IngestResponse, dict[str, str]]:
    """POST a batch: status, answer, headers."""
    async with (
        ClientSession() as session,
        session.post(
            gateway.url + "/v1/events", data=body, headers={**project.headers(), **headers}
        ) as response,
    ):
        content = await response.read()
        is_message = response.headers["Content-Type"] == "application/x-protobuf"
        answer = IngestResponse.FromString(content) if is_message else IngestResponse()
        return response.status, answer, dict(response.headers)


async def test_bytes_in_kafka_are_the_bytes_sent(
    gateway: GatewayProcess, servers: RunningStack, reader: OpenReader
) -> None:
    """After 202 the record is there: the client's bytes, then the server's facts."""
    project = create_project(servers.database_url)
    topic = reader(EVENTS_RAW.name)
    body = make_batch().SerializeToString()
    status, answer, _ = await post(gateway, project, body)
    assert (status, answer.events_accepted) == (202, 10)
    [message] = topic.read(project.project_id, 1)
    value = message.value()
    assert value.startswith(body)
    raw = RawBatch.FromString(value)
    assert message.key().decode() == f"{project.project_id}:{raw.events[0].session_id}"
    assert (raw.project_id, raw.event_count) == (project.project_id, 10)
    assert dict(message.headers())["events"] == b"10"


async def test_one_session_stays_in_one_partition_in_order(
    gateway: GatewayProcess, servers: RunningStack, reader: OpenReader
) -> None:
    """Records of one session are in one partition, in the order of their requests."""
    project = create_project(servers.database_url)
    topic = reader(EVENTS_RAW.name)
    batches = [make_batch(1, "session-1") for _ in range(20)]
    for batch in batches:
        await post(gateway, project, batch.SerializeToString())
    messages = topic.read(project.project_id, 20)
    assert len({message.partition() for message in messages}) == 1
    stored = [RawBatch.FromString(message.value()).events[0].event_id for message in messages]
    assert stored == [batch.events[0].event_id for batch in batches]


async def test_errors_and_refused_events_reach_their_topics(
    gateway: GatewayProcess, servers: RunningStack, reader: OpenReader
) -> None:
    """The answer counts them, and each is where it belongs."""
    project = create_project(servers.database_url)
    errors, rejected = reader(EVENTS_ERRORS.name), reader(EVENTS_REJECTED.name)
    batch = make_batch(1, "s-1")
    batch.events.append(make_error())
    batch.events.append(make_error(session=""))
    status, answer, _ = await post(gateway, project, batch.SerializeToString())
    assert (status, answer.events_accepted, answer.events_rejected) == (202, 2, 1)
    [error] = errors.read(project.project_id, 1)
    assert ErrorEvent.FromString(error.value()).event.event_id == batch.events[1].event_id
    [letter] = rejected.read(project.project_id, 1)
    assert RejectedRecord.FromString(letter.value()).payload == batch.events[2].SerializeToString()


async def test_key_with_equal_prefix_is_refused(
    gateway: GatewayProcess, servers: RunningStack
) -> None:
    """While a key is cached everywhere, another one with its first 39 characters is not."""
    project = create_project(servers.database_url)
    body = make_batch(1).SerializeToString()
    assert (await post(gateway, project, body))[0] == 202
    for kept in (12, 39):
        forged = project.key[:kept] + "Z" * (40 - kept)
        status, answer, _ = await post(gateway, project, body, **{"X-GoSight-Key": forged})
        assert (status, answer.error) == (401, "INVALID_KEY")


async def test_revoked_key_is_refused_within_seconds(
    gateway: GatewayProcess, servers: RunningStack
) -> None:
    """A key that was used a moment ago is refused soon after it was revoked."""
    project = create_project(servers.database_url)
    body = make_batch(1).SerializeToString()
    assert (await post(gateway, project, body))[0] == 202
    project.execute("UPDATE api_keys SET revoked_at = now() WHERE key_hash = %(hash)s")
    client = connect_redis(servers.redis_url, timeout_s=5.0)
    await RedisKeyCache(client).revoke(hash_key(project.key))
    await client.aclose()
    deadline = time.monotonic() + REVOKED_WITHIN_S
    status = 202
    while status == 202 and time.monotonic() < deadline:
        status = (await post(gateway, project, body))[0]
    assert status == 401


async def test_burst_boundary(gateway: GatewayProcess, servers: RunningStack) -> None:
    """Exactly the burst gets through; the next request is told to wait."""
    project = create_project(servers.database_url, rate_limit=1, burst=5)
    body = make_batch(1).SerializeToString()
    started_s = time.monotonic()
    answers = [await post(gateway, project, body) for _ in range(6)]
    assert time.monotonic() - started_s < 1.0, "too slow a machine for this test"
    assert [status for status, _, _ in answers] == [202] * 5 + [429]
    assert answers[5][1].error == "RATE_LIMITED"
    assert answers[5][2]["Retry-After"] == "1"
    with redis.Redis.from_url(servers.redis_url) as client:
        assert 60 < client.ttl(f"rl:{hash_key(project.key)}") <= 120


async def test_statuses(gateway: GatewayProcess, servers: RunningStack) -> None:
    """Keys, permissions and origins by status."""
    body = make_batch(1).SerializeToString()
    reading = create_project(servers.database_url, permissions=("read",))
    assert (await post(gateway, reading, body))[0] == 403
    listed = create_project(servers.database_url, allowed_domains=("shop.example",))
    assert (await post(gateway, listed, body, Origin="https://evil.example"))[0] == 403
    assert (await post(gateway, listed, body, Origin="https://shop.example"))[0] == 202
    expired = create_project(servers.database_url)
    expired.execute("UPDATE api_keys SET expires_at = now() WHERE key_hash = %(hash)s")
    assert (await post(gateway, expired, body))[0] == 401


async def test_masked_address_in_kafka(
    gateway: GatewayProcess, servers: RunningStack, reader: OpenReader
) -> None:
    """A project that anonymises addresses has none in full in Kafka."""
    project = create_project(servers.database_url, settings={"privacy": {"anonymizeIp": True}})
    topic = reader(EVENTS_RAW.name)
    await post(gateway, project, make_batch(1).SerializeToString())
    [message] = topic.read(project.project_id, 1)
    assert RawBatch.FromString(message.value()).client_ip == "127.0.0.0"


async def test_grpc_port(gateway: GatewayProcess, servers: RunningStack) -> None:
    """The same by gRPC, with its statuses."""
    project = create_project(servers.database_url)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        call = channel.unary_unary("/gosight.IngestService/SendBatch")
        body = make_batch(3).SerializeToString()
        metadata = (("x-gosight-key", project.key),)
        answer = IngestResponse.FromString(await call(body, metadata=metadata, timeout=10))
        assert answer.events_accepted == 3
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(body, timeout=10)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_ready_with_all_servers(gateway: GatewayProcess) -> None:
    """Every dependency is there and says so."""
    async with ClientSession() as session, session.get(gateway.url + "/ready") as response:
        assert response.status == 200
        lines = (await response.json())["dependencies"]
    assert {name: entry["state"] for name, entry in lines.items()} == {
        "kafka": "up",
        "postgres": "up",
        "redis": "up",
    }


async def test_without_redis_ingestion_goes_on(servers: RunningStack) -> None:
    """Redis away: PostgreSQL admits, local buckets limit, nobody else gets in."""
    project = create_project(servers.database_url, rate_limit=1, burst=3)
    environ = {**servers.urls, "REDIS_URL": f"redis://{NOWHERE}/0"}
    with gateway_process(environ) as gateway:
        body = make_batch(1).SerializeToString()
        statuses = [(await post(gateway, project, body))[0] for _ in range(4)]
        assert statuses == [202, 202, 202, 429]
        forged = project.key[:-1] + ("a" if project.key[-1] != "a" else "b")
        assert (await post(gateway, project, body, **{"X-GoSight-Key": forged}))[0] == 401
        async with ClientSession() as session, session.get(gateway.url + "/ready") as response:
            assert response.status == 200
        assert gateway.stop() == 0
        told = [line for line in gateway.log if line["event"] == "rate_limit_local"]
        assert len(told) == 1


async def test_without_postgres_unknown_keys_are_503(servers: RunningStack) -> None:
    """PostgreSQL away: a key that Redis knows works, an unknown one is 503 and never 401."""
    known, unknown = (create_project(servers.database_url) for _ in range(2))
    body = make_batch(1).SerializeToString()
    with gateway_process(servers.urls) as gateway:
        assert (await post(gateway, known, body))[0] == 202
    environ = {**servers.urls, "DATABASE_URL": f"postgresql://x@{NOWHERE}/x"}
    with gateway_process(environ) as gateway:
        assert (await post(gateway, known, body))[0] == 202
        status, answer, headers = await post(gateway, unknown, body)
        assert (status, answer.error) == (503, "UNAVAILABLE")
        assert int(headers["Retry-After"]) >= 1
        async with ClientSession() as session, session.get(gateway.url + "/ready") as response:
            # Other keys may be known here: it is not taken out of service.
            assert response.status == 200
            assert (await response.json())["dependencies"]["postgres"]["state"] == "down"


async def test_log_holds_no_secrets(servers: RunningStack) -> None:
    """Neither keys nor addresses nor bodies are in the log, also not when something fails."""
    project = create_project(servers.database_url)
    environ = {**servers.urls, "KAFKA_BROKERS": NOWHERE, "KAFKA_DELIVERY_TIMEOUT_SECONDS": "1"}
    with gateway_process({**environ, "LOG_LEVEL": "debug"}) as gateway:
        batch = make_batch(1)
        batch.events[0].page.title = "a very private title"
        assert (await post(gateway, project, batch.SerializeToString()))[0] == 503
        gateway.stop()
        text = str(gateway.log)
    assert "kafka_write_failed" in text
    for secret in (project.key, hash_key(project.key), "private title"):
        assert secret not in text
    assert not any("127.0.0.1" in str(line) for line in gateway.log if "started" not in str(line))


async def test_uses_of_a_key_are_counted(servers: RunningStack) -> None:
    """By the time the process has ended: accepted requests with this key, and when the last was."""
    project, other = (create_project(servers.database_url) for _ in range(2))
    with gateway_process(servers.urls) as gateway:
        for _ in range(3):
            assert (await post(gateway, project, make_batch(1).SerializeToString()))[0] == 202
        assert (await post(gateway, project, b"", **{"X-GoSight-Key": "gs_live_none"}))[0] == 401
        assert gateway.stop() == 0
    with psycopg.connect(servers.database_url) as connection:
        counts = dict(
            connection.execute(
                "SELECT project_id::text, (request_count, last_used_at > now() - interval '5 min')"
                "::text FROM api_keys WHERE project_id = ANY(%s::uuid[])",
                ([project.project_id, other.project_id],),
            ).fetchall()
        )
    assert counts == {project.project_id: "(3,t)", other.project_id: "(0,)"}
