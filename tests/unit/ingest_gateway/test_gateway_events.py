"""POST /v1/events: what is answered and what reaches the topics."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
from backports import zstd

from schemas.identifiers import session_uuid
from schemas.v1.events_pb2 import EventType
from schemas.v1.ingest_pb2 import EventBatch, IngestResponse
from tests.gateway_world import (
    PROJECT,
    PROTOBUF,
    READ_KEY,
    WRITE_KEY,
    World,
    gateway_world,
    make_batch,
    make_error,
    make_key,
    now_ms,
)


async def test_batch_is_accepted_and_written_as_sent(world: World) -> None:
    """One record holds the client's bytes followed by the server's facts."""
    batch = make_batch()
    before_ms = now_ms()
    response = await world.post(batch.SerializeToString(), headers={"User-Agent": "UA/1"})
    assert response.status == 202
    assert response.headers["Content-Type"] == PROTOBUF
    answer = IngestResponse.FromString(await response.read())
    assert (answer.success, answer.events_accepted, answer.events_rejected) == (True, 10, 0)
    [record] = world.sink.records
    session = batch.events[0].session_id
    assert record.topic == "gosight.events.raw"
    assert record.key == f"{PROJECT}:{session}".encode()
    assert record.value.startswith(batch.SerializeToString())
    [raw] = world.sink.raw()
    assert raw.project_id == PROJECT
    assert raw.session_id == session
    assert before_ms <= raw.received_at_ms <= now_ms()
    assert (raw.client_ip, raw.user_agent) == ("127.0.0.1", "UA/1")
    assert (raw.event_count, raw.retain_days, raw.scrubber_version) == (10, 90, 2)
    assert raw.batch_id
    assert list(raw.events) == list(batch.events)
    assert dict(record.headers) == {
        "schema": b"RawBatch/1",
        "received_at": b"%d" % raw.received_at_ms,
        "events": b"10",
    }


async def test_facts_sent_by_a_client_do_not_count(world: World) -> None:
    """Fields of the server that a client puts into its batch are not passed on."""
    forged = b"\x82\x02\x09forged-id"  # Field 32, project_id, as a client might forge it.
    response = await world.post(make_batch(1).SerializeToString() + forged)
    assert response.status == 202
    [raw] = world.sink.raw()
    assert raw.project_id == PROJECT
    assert b"forged-id" not in world.sink.records[0].value


async def test_key_in_the_body_is_not_passed_on(world: World) -> None:
    """A key that comes in the body admits the batch and is then taken out of it."""
    batch = make_batch(2)
    batch.project_key = WRITE_KEY
    response = await world.post(batch.SerializeToString(), headers={"X-GoSight-Key": None})
    assert response.status == 202
    assert WRITE_KEY.encode() not in world.sink.records[0].value
    assert len(world.sink.raw()[0].events) == 2


@pytest.mark.parametrize("headers", [{"X-GoSight-Key": None}, {}], ids=["body", "header"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_no_key_of_the_body_is_passed_on(
    world: World, times: int, headers: dict[str, None]
) -> None:
    """However often it stands there, before or behind the events, and whichever admitted it."""
    key = EventBatch(project_key=WRITE_KEY).SerializeToString()
    body = key * times + make_batch(2).SerializeToString()
    for one in (body, body + key):
        assert (await world.post(one, headers=headers)).status == 202
    assert len(world.sink.raw()) == 2
    assert all(WRITE_KEY.encode() not in record.value for record in world.sink.records)
    assert all(len(raw.events) == 2 for raw in world.sink.raw())


@pytest.mark.parametrize("where", ["alias", "query"])
async def test_key_in_other_places(world: World, where: str) -> None:
    """The key may be in X-Project-Key or in the query."""
    body = make_batch(1).SerializeToString()
    alias = {"X-GoSight-Key": None, "X-Project-Key": WRITE_KEY if where == "alias" else None}
    path = f"/v1/events?key={WRITE_KEY}" if where == "query" else "/v1/events"
    assert (await world.post(body, path, alias)).status == 202


async def test_header_key_wins_over_body_key(world: World) -> None:
    """A bad key in the header is not rescued by a good one in the body."""
    batch = make_batch(1)
    batch.project_key = WRITE_KEY
    bad = "gs_live_" + "0" * 32
    response = await world.post(batch.SerializeToString(), headers={"X-GoSight-Key": bad})
    assert response.status == 401


async def test_sessions_of_one_batch_go_apart(world: World) -> None:
    """Each session gets a record of its own, in the order of its events."""
    batch = make_batch(2, "s-1")
    batch.events.extend(make_batch(2, "s-2").events)
    batch.events.append(make_batch(1, "s-1").events[0])
    answer = await world.send(batch)
    assert answer.events_accepted == 5
    first, second = world.sink.raw()
    assert [event.event_id for event in first.events] == [
        batch.events[place].event_id for place in (0, 1, 4)
    ]
    assert (first.session_id, first.event_count) == ("s-1", 3)
    assert (second.session_id, second.event_count) == ("s-2", 2)
    assert first.sent_at == second.sent_at == batch.sent_at
    assert first.batch_id == second.batch_id
    keys = [record.key for record in world.sink.records]
    assert keys == [f"{PROJECT}:{session_uuid(PROJECT, name)}".encode() for name in ("s-1", "s-2")]


async def test_partly_refused_batch_is_202_with_counts(world: World) -> None:
    """Bad events are counted and named; the good ones are written, the bad ones kept aside."""
    batch = make_batch(3)
    batch.events[1].event_type = EventType.EVENT_TYPE_RAGE_CLICK
    batch.events[1].ClearField("click")
    response = await world.post(batch.SerializeToString())
    answer = IngestResponse.FromString(await response.read())
    assert response.status == 202
    assert (answer.success, answer.error) == (False, "unknown_event_type")
    assert (answer.events_accepted, answer.events_rejected) == (2, 1)
    [rejection] = answer.rejections
    assert (rejection.index, rejection.reason) == (1, "unknown_event_type")
    assert rejection.event_id == batch.events[1].event_id
    assert world.sink.raw()[0].event_count == 2
    [letter] = world.sink.rejected()
    assert (letter.project_id, letter.stage) == (PROJECT, "gateway")
    assert letter.reason == "unknown_event_type"
    assert letter.payload_kind == "event"
    assert letter.payload == batch.events[1].SerializeToString()
    assert letter.event_count == 1
    assert letter.sent_at == batch.sent_at
    assert world.metrics.events["rejected", "unknown_event_type"] == 1
    assert world.metrics.events["accepted", ""] == 2


async def test_wholly_refused_batch_is_202(world: World) -> None:
    """A batch of which nothing gets in is still final for the client."""
    batch = make_batch(30)
    for event in batch.events:
        event.session_id = ""
    answer = await world.send(batch)
    assert (answer.events_accepted, answer.events_rejected) == (0, 30)
    assert len(answer.rejections) == 20
    assert len(world.sink.rejected()) == 30
    assert not world.sink.raw()


async def test_same_refusal_has_the_same_id(world: World) -> None:
    """A repeated request names its refused event alike, so that it can be told as one."""
    batch = make_batch(1)
    batch.events[0].session_id = ""
    await world.send(batch)
    batch.sent_at += 1
    await world.send(batch)
    first, second = world.sink.rejected()
    assert first.rejection_id == second.rejection_id
    assert first.batch_id != second.batch_id


async def test_raw_value_is_refused_and_not_kept(world: World) -> None:
    """An input value never reaches a topic, not even that of refused events."""
    batch = make_batch(1)
    event = batch.events[0]
    event.event_type = EventType.EVENT_TYPE_INPUT_CHANGE
    event.input_change.target.attributes["value"] = "hunter2"
    answer = await world.send(batch)
    assert answer.error == "raw_value"
    [letter] = world.sink.rejected()
    assert (letter.payload, letter.payload_withheld) == (b"", True)
    assert letter.payload_bytes > 0
    assert all(b"hunter2" not in record.value for record in world.sink.records)


async def test_card_number_reaches_no_topic(world: World) -> None:
    """What is always scrubbed is gone from accepted and refused events and from errors."""
    card = "4111111111111111"
    batch = make_batch(2)
    batch.events[0].page.title = f"pay {card}"
    batch.events[1].session_id = ""
    batch.events[1].page.title = f"pay {card}"
    batch.events.append(make_error(f"bad card {card}", batch.events[0].session_id))
    answer = await world.send(batch)
    assert (answer.events_accepted, answer.events_rejected) == (2, 1)
    assert len(world.sink.records) == 3
    assert all(card.encode() not in record.value for record in world.sink.records)
    assert world.sink.raw()[0].events[0].page.title == "pay [redacted:card]"


async def test_errors_are_copied_without_the_visitor(world: World) -> None:
    """The errors' topic gets a copy under a fingerprint, naming no visitor."""
    batch = EventBatch(sent_at=now_ms())
    batch.events.extend([make_error("failed for order 123"), make_error("failed for order 456")])
    await world.send(batch)
    first, second = world.sink.errors()
    assert first.fingerprint == second.fingerprint
    assert first.project_id == PROJECT
    assert first.event.js_error.message == "failed for order 123"
    for copy in (first, second):
        assert not copy.event.user_id
        assert not copy.event.anonymous_id
    assert world.sink.raw()[0].events[0].user_id == "user-7"


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstd.compress),
        ("identity", bytes),
        (None, gzip.compress),
    ],
)
async def test_packed_bodies(world: World, encoding: str | None, pack: object) -> None:
    """Each packing is understood, gzip also without its header."""
    assert callable(pack)
    body = pack(make_batch(3).SerializeToString())
    response = await world.post(body, headers={"Content-Encoding": encoding})
    assert response.status == 202
    assert world.sink.raw()[0].event_count == 3


async def test_packing_and_form_in_the_query(world: World) -> None:
    """`?c=` and `?f=` say what a beacon cannot say in headers."""
    body = gzip.compress(make_batch(1).SerializeToString())
    headers = {"Content-Type": "text/plain"}
    assert (await world.post(body, "/v1/events?c=gzip&f=pb", headers)).status == 204
    assert (await world.post(body, "/v1/events?f=xml", headers)).status == 415


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/v1/events", "text/plain;charset=UTF-8"), ("/v1/events?beacon=1", PROTOBUF)],
)
async def test_beacons_get_no_content(world: World, path: str, content_type: str) -> None:
    """Nobody reads the answer to a beacon: 204 without a body."""
    response = await world.post(
        make_batch(1).SerializeToString(), path, {"Content-Type": content_type}
    )
    assert (response.status, await response.read()) == (204, b"")
    assert len(world.sink.raw()) == 1


@pytest.mark.parametrize("path", ["/v1/events/", "/e", "/e/"])
async def test_other_paths(path: str) -> None:
    """A trailing slash and the alias lead to the same place."""
    async with gateway_world(alias_path="/e") as world:
        assert (await world.post(make_batch(1).SerializeToString(), path)).status == 202


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "INVALID_BODY"),
        (b"\xff\xff\xff", 400, "INVALID_BODY"),
        (EventBatch(sent_at=5).SerializeToString(), 400, "INVALID_BODY"),
        (make_batch(10).SerializeToString()[:-3], 400, "INVALID_BODY"),
        (b"\x12\x00" * 501, 413, "TOO_LARGE"),
        (b"x" * (256 * 1024 + 1), 413, "TOO_LARGE"),
    ],
    ids=["empty", "garbage", "no events", "cut off", "501 events", "too long"],
)
async def test_bad_bodies(world: World, body: bytes, status: int, error: str) -> None:
    """Each kind of bad body has its status; nothing is written."""
    response = await world.post(body)
    assert response.status == status
    assert IngestResponse.FromString(await response.read()).error == error
    assert not world.sink.records


async def test_unknown_type_and_encoding_are_415(world: World) -> None:
    """A type or packing that nobody knows is told so."""
    body = make_batch(1).SerializeToString()
    assert (await world.post(body, headers={"Content-Type": "text/html"})).status == 415
    assert (await world.post(body, headers={"Content-Encoding": "br"})).status == 415


@pytest.mark.parametrize(
    "key", ["", "nonsense", "gs_live_" + "0" * 32, WRITE_KEY[:12] + "Z" * 28, WRITE_KEY + "x"]
)
async def test_unknown_keys_are_401(world: World, key: str) -> None:
    """Missing, malformed and unknown keys look alike, also with the prefix of a valid one."""
    await world.send(make_batch(1))  # The valid key is cached now.
    response = await world.post(make_batch(1).SerializeToString(), headers={"X-GoSight-Key": key})
    assert response.status == 401
    assert IngestResponse.FromString(await response.read()).error == "INVALID_KEY"
    assert len(world.sink.records) == 1


async def test_inactive_and_expired_keys_are_401(world: World) -> None:
    """A key that was valid once is as good as none."""
    body = make_batch(1).SerializeToString()
    world.source.add(make_key(is_active=False))
    assert (await world.post(body)).status == 401
    other = "gs_live_" + "e" * 32
    world.source.add(make_key(other, expires_at_ms=now_ms() - 1))
    assert (await world.post(body, headers={"X-GoSight-Key": other})).status == 401


async def test_read_key_is_403(world: World) -> None:
    """A key without the permission to write is known, but may not."""
    body = make_batch(1).SerializeToString()
    response = await world.post(body, headers={"X-GoSight-Key": READ_KEY})
    assert response.status == 403
    assert IngestResponse.FromString(await response.read()).error == "FORBIDDEN"


async def test_key_store_away_is_503_and_never_401(world: World) -> None:
    """An outage of the key store is told as such."""
    world.source.is_away = True
    response = await world.post(make_batch(1).SerializeToString())
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1


async def test_over_the_rate_is_429(world: World) -> None:
    """The request beyond the burst is refused with the real wait."""
    world.source.add(make_key(rate_limit_per_s=1, burst=5))
    body = make_batch(1).SerializeToString()
    statuses = [(await world.post(body)).status for _ in range(5)]
    assert statuses == [202] * 5
    response = await world.post(body)
    assert (response.status, response.headers["Retry-After"]) == (429, "1")
    assert IngestResponse.FromString(await response.read()).error == "RATE_LIMITED"
    assert world.metrics.rate_limited == 1
    assert len(world.sink.records) == 5


@pytest.mark.parametrize("fault", ["is_full", "is_failing"])
async def test_kafka_away_is_503(world: World, fault: str) -> None:
    """What Kafka has not acknowledged is not accepted."""
    setattr(world.sink, fault, True)
    response = await world.post(make_batch(1).SerializeToString())
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert IngestResponse.FromString(await response.read()).error == "UNAVAILABLE"
    assert world.metrics.events["accepted", ""] == 0


async def test_answer_waits_for_the_acknowledgement(world: World) -> None:
    """There is no answer while the records are on their way."""
    world.sink.may_acknowledge.clear()
    request = asyncio.create_task(world.post(make_batch(1).SerializeToString()))
    done, _ = await asyncio.wait([request], timeout=0.2)
    assert not done
    world.sink.may_acknowledge.set()
    assert (await request).status == 202


async def test_large_event_is_refused_alone(world: World) -> None:
    """An event above 64 KiB is left out by its size on the wire; its neighbours get in."""
    batch = make_batch(3)
    for number in range(70):
        batch.events[1].custom[f"key{number}"] = "x" * 1000
    answer = await world.send(batch)
    assert (answer.events_accepted, answer.events_rejected) == (2, 1)
    assert [(one.index, one.reason) for one in answer.rejections] == [(1, "too_large")]
    kept = [event.event_id for event in world.sink.raw()[0].events]
    assert kept == [batch.events[0].event_id, batch.events[2].event_id]


async def test_opt_out_signal_refuses_all(world: World) -> None:
    """Sec-GPC is respected by default, DNT only if the project says so; nothing is kept."""
    assert (await world.send(make_batch(2), DNT="1")).events_accepted == 2
    answer = await world.send(make_batch(2), **{"Sec-GPC": "1"})
    assert (answer.events_accepted, answer.error) == (0, "opted_out")
    assert all(not letter.payload for letter in world.sink.rejected())
    assert len(world.sink.raw()) == 1


async def test_address_is_masked_before_it_is_written() -> None:
    """A project that anonymises addresses gets none in full, in no record."""
    async with gateway_world() as world:
        world.source.add(make_key(settings={"privacy": {"anonymizeIp": True}}))
        batch = make_batch(2)
        batch.events[1].session_id = ""
        await world.send(batch)
        assert world.sink.raw()[0].client_ip == "127.0.0.0"
        assert all(b"127.0.0.1" not in record.value for record in world.sink.records)
