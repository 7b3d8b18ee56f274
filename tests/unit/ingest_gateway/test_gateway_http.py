"""The HTTP side beside the events: CORS, configuration, probes, metrics, slow and many clients."""

from __future__ import annotations

import asyncio
import time

import pytest

from ingest_gateway.handlers import HttpOptions
from tests.gateway_world import WRITE_KEY, World, gateway_world, make_batch, make_key

SHOP = "https://shop.example"


async def test_allowed_origin_is_echoed(world: World) -> None:
    """A listed page may send and may read the answer; the answer names it, never `*`."""
    world.source.add(make_key(allowed_domains=["shop.example"]))
    response = await world.post(make_batch(1).SerializeToString(), headers={"Origin": SHOP})
    assert response.status == 202
    assert response.headers["Access-Control-Allow-Origin"] == SHOP
    assert "Origin" in response.headers["Vary"]


async def test_foreign_origin_is_403(world: World) -> None:
    """A page of another site may not send with this key, and nothing is written."""
    world.source.add(make_key(allowed_domains=["shop.example"]))
    headers = {"Origin": "https://evil.example"}
    response = await world.post(make_batch(1).SerializeToString(), headers=headers)
    assert response.status == 403
    assert "Access-Control-Allow-Origin" not in response.headers
    assert not world.sink.records


async def test_errors_can_be_read_by_the_page(world: World) -> None:
    """A page sees why it was refused: the answer of an error carries CORS headers, too."""
    response = await world.post(b"\xff", headers={"Origin": SHOP})
    assert response.status == 400
    assert response.headers["Access-Control-Allow-Origin"] == SHOP


async def test_preflight(world: World) -> None:
    """OPTIONS of any path is 204 with what may be sent."""
    async with world.session.options(world.url + "/any/path", headers={"Origin": SHOP}) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == SHOP
        assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
        allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
        # A packed gRPC-Web frame says `grpc-encoding`; gRPC-Web clients say the others.
        grpc_web = {"x-grpc-web", "x-user-agent", "grpc-encoding", "grpc-timeout"}
        keys = {"x-gosight-key", "x-project-key"}
        assert {"content-type", "content-encoding", *keys, *grpc_web} <= set(allowed)
        assert response.headers["Access-Control-Max-Age"] == "86400"


@pytest.mark.parametrize(("origin", "is_told"), [(SHOP, True), ("https://evil.example", False)])
async def test_preflight_with_a_key(world: World, origin: str, is_told: bool) -> None:
    """With a key in the query the project's list decides."""
    world.source.add(make_key(allowed_domains=["shop.example"]))
    url = f"{world.url}/v1/events?key={WRITE_KEY}"
    async with world.session.options(url, headers={"Origin": origin}) as response:
        assert response.status == 204
        assert ("Access-Control-Allow-Origin" in response.headers) is is_told


async def test_config(world: World) -> None:
    """An SDK reads its project's settings with its key, and may keep them for five minutes."""
    world.source.add(make_key(settings={"privacy": {"respectDnt": True}}))
    headers = {"X-GoSight-Key": WRITE_KEY, "Origin": SHOP}
    async with world.session.get(world.url + "/v1/config", headers=headers) as response:
        assert response.status == 200
        assert "max-age=300" in response.headers["Cache-Control"]
        assert response.headers["Access-Control-Allow-Origin"] == SHOP
        document = await response.json()
    assert document["privacy"]["respectDnt"] is True
    async with world.session.get(world.url + "/v1/config") as response:
        assert response.status == 401


@pytest.mark.parametrize("path", ["/health", "/livez", "/health/"])
async def test_health_needs_nobody(world: World, path: str) -> None:
    """The process says that it lives while everything else is away."""
    world.source.is_away = world.sink.is_failing = True
    async with world.session.get(world.url + path) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["/ready", "/readyz"])
async def test_ready_names_what_is_away(world: World, path: str) -> None:
    """Ready needs Kafka; whatever is missing is named, with a moment and a sentence."""

    async def ask() -> tuple[int, dict[str, dict[str, object]]]:
        async with world.session.get(world.url + path) as response:
            return response.status, (await response.json())["dependencies"]

    status, found = await ask()
    assert status == 200
    assert [(name, entry["state"], entry["needed"]) for name, entry in found.items()] == [
        ("kafka", "up", True),
        ("postgres", "up", False),
    ]
    world.source.is_away = True
    status, found = await ask()
    assert status == 200
    assert found["kafka"]["state"] == "up"
    assert found["postgres"]["state"] == "down"
    assert found["postgres"]["detail"] == "PostgreSQL is away: told so"
    assert str(found["postgres"]["since"]).endswith("Z")
    world.sink.is_failing = True
    status, found = await ask()
    assert (status, found["kafka"]["state"]) == (503, "down")


async def test_metrics_count_without_names(world: World) -> None:
    """The figures say what happened, never to whom."""
    await world.send(make_batch(3))
    async with world.session.get(world.url + "/metrics") as response:
        text = await response.text()
    assert 'gosight_ingest_events_total{outcome="accepted",reason=""} 3.0' in text
    assert 'gosight_ingest_batches_total{status="accepted"} 1.0' in text
    assert 'gosight_ingest_request_duration_seconds_count{route="/v1/events"} 1.0' in text
    assert WRITE_KEY not in text
    assert make_key().project_id not in text


async def test_metrics_of_shared_ports_are_elsewhere() -> None:
    """One of several processes does not pass its figures off as those of all."""
    async with (
        gateway_world(http=HttpOptions(has_own_metrics_port=True)) as world,
        world.session.get(world.url + "/metrics") as response,
    ):
        assert response.status == 404


async def test_slow_body_is_408() -> None:
    """A body that does not come in time ends the request and the connection."""
    async with gateway_world(http=HttpOptions(request_timeout_s=0.2)) as world:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(world.url.rpartition(":")[2])
        )
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"X-GoSight-Key: " + WRITE_KEY.encode() + b"\r\nContent-Length: 100\r\n\r\nabc"
        )
        started_s = time.monotonic()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started_s < 2.0
        writer.close()
        await writer.wait_closed()


async def test_requests_beyond_the_bound_are_503() -> None:
    """More requests at once than allowed are refused at once; the others are finished."""
    async with gateway_world(http=HttpOptions(requests_in_flight_max=2)) as world:
        body = make_batch(1).SerializeToString()
        world.sink.may_acknowledge.clear()
        waiting = [asyncio.create_task(world.post(body)) for _ in range(2)]
        while len(world.metrics.bytes) == 0 or world.metrics.bytes["identity"] < 2 * len(body):
            await asyncio.sleep(0.01)
        response = await world.post(body)
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        world.sink.may_acknowledge.set()
        assert [(await request).status for request in waiting] == [202, 202]


async def test_forged_forwarded_for_is_not_believed(world: World) -> None:
    """Without trusted proxies nobody can say that they are somebody else."""
    await world.send(make_batch(1), **{"X-Forwarded-For": "8.8.8.8", "X-Real-IP": "8.8.4.4"})
    assert world.sink.raw()[0].client_ip == "127.0.0.1"


async def test_trusted_proxy_is_believed_for_its_own_entry() -> None:
    """With one trusted proxy the right-most entry counts, not what the client wrote before it."""
    async with gateway_world(http=HttpOptions(trusted_proxy_count=1)) as world:
        await world.send(make_batch(1), **{"X-Forwarded-For": "8.8.8.8, 203.0.113.9"})
        assert world.sink.raw()[0].client_ip == "203.0.113.9"


async def test_other_paths_and_methods_are_404(world: World) -> None:
    """Nothing else is there."""
    assert (await world.post(b"", "/v2/events")).status == 404
    async with world.session.get(world.url + "/v1/events") as response:
        assert response.status == 404


async def test_odd_headers_do_no_harm(world: World) -> None:
    """Bytes that are no text in headers neither fail the request nor reach the record."""
    batch = make_batch(1)
    body = batch.SerializeToString()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    writer.write(
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
        b"User-Agent: \xff\xfe\r\nX-GoSight-Key: " + WRITE_KEY.encode() + b"\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 202")
    assert world.sink.raw()[0].user_agent.isascii()
    writer.close()
    await writer.wait_closed()
