"""The readers behind every door, without a socket: whatever comes in, it is read or refused.

The same makers of cases as the fuzzer's, driven by Hypothesis, which shrinks what it finds.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from contextlib import suppress
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_gateway.decode import DecodeLimits, Faulty, decode, open_body
from ingest_gateway.errors import RefusedError
from ingest_gateway.grpc_web import CONTENT_TYPES, read_call
from ingest_gateway.ingest import IngestOptions
from ingest_gateway.replay_chunk import ReplayLimits, decode_chunk
from ingest_gateway.request import BodyForm, IngestRequest, IngestResult, Sender
from ingest_gateway.unpack import encoding_name, unpack
from schemas.json_batch import JsonBatchError, batch_from_json
from schemas.v1.replay_pb2 import ReplayChunk
from tests.fuzz import corpus
from tests.fuzz.entries import ENTRIES, make_case
from tests.fuzz.mutate import mutate_bytes, mutate_message, mutate_value, write_json
from tests.fuzz.readers import READERS
from tests.gateway_world import WRITE_KEY, gateway_world, now_ms

ENCODINGS = ("identity", "gzip", "deflate", "zstd")
BODY_ENTRIES = ("protobuf", "json", "gzip", "zstd", "deflate", "replay", "grpc_web")
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
chances = st.integers(0, 2**32).map(Random)


@FEW
@given(chance=chances, encoding=st.sampled_from(ENCODINGS), form=st.sampled_from(list(BodyForm)))
def test_any_batch_is_read_or_refused(chance: Random, encoding: str, form: BodyForm) -> None:
    """A changed batch gives events and faults within the limits, or a refusal."""
    body = mutate_message(chance, chance.choice(corpus.batches()))
    if chance.random() < 0.3:
        body = mutate_bytes(chance, gzip.compress(body))
    limits = DecodeLimits(batch_events_max=50)
    try:
        decoded = decode(*open_body(body, encoding, form, limits), limits)
    except RefusedError:
        return
    assert 0 < len(decoded.items) <= 50
    assert len(decoded.event_bytes) >= len(decoded.items)
    for item in decoded.items:
        assert isinstance(item, Faulty) or item.ByteSize() >= 0


@FEW
@given(chance=chances)
def test_any_json_is_read_or_refused(chance: Random) -> None:
    """A changed JSON batch gives events and faults, or a refusal; nothing of it is lost."""
    value = chance.choice(corpus.json_batches())
    for _ in range(chance.randint(1, 4)):
        value = mutate_value(chance, value)
    try:
        batch = batch_from_json(write_json(chance, value), 500, 2 * 1024 * 1024)
    except JsonBatchError:
        return
    assert len(batch.events) <= 501


@FEW
@given(
    chance=chances, encoding=st.sampled_from(ENCODINGS), limit=st.sampled_from([0, 1, 100, 9000])
)
def test_unpacking_never_exceeds_its_limit(chance: Random, encoding: str, limit: int) -> None:
    """Whatever is packed how, the result is at most the limit, or a refusal."""
    plain = chance.choice((b"", bytes(limit), bytes(limit + 1), chance.choice(corpus.batches())))
    body = mutate_bytes(chance, gzip.compress(plain)) if chance.random() < 0.5 else plain
    try:
        assert len(unpack(body, encoding, limit)) <= limit
    except RefusedError:
        return


@FEW
@given(chance=chances)
def test_any_grpc_web_body_is_read_or_refused(chance: Random) -> None:
    """Frames, half frames and text give a part of themselves, or a refusal."""
    case = make_case("grpc_web", chance.randrange(2**31), 1, WRITE_KEY)
    body = case.wire().partition(b"\r\n\r\n")[2]
    encoding = chance.choice(("", "gzip", "identity", "br"))
    for is_text in CONTENT_TYPES.values():
        try:
            call = read_call(body, is_text=is_text, grpc_encoding="gzip", http_encoding=encoding)
        except RefusedError:
            continue
        assert len(call.message) <= len(body)
        assert call.encoding == encoding_name(call.encoding)


@FEW
@given(chance=chances, form=st.sampled_from(list(BodyForm)))
def test_any_chunk_is_read_or_refused(chance: Random, form: BodyForm) -> None:
    """A changed replay chunk is a message, or a refusal."""
    if chance.random() < 0.5:
        body = write_json(chance, mutate_value(chance, chance.choice(corpus.json_chunks())))
    else:
        body = mutate_message(chance, chance.choice(corpus.chunks()))
    try:
        chunk, _ = decode_chunk(body, "identity", form, ReplayLimits())
    except RefusedError:
        return
    assert isinstance(chunk, ReplayChunk)


@pytest.mark.parametrize("entry", BODY_ENTRIES)
async def test_every_case_is_answered_and_accounted_for(entry: str) -> None:
    """The whole handler on cases of an entry: an error, or counts that match what was written."""
    async with gateway_world(ingest=IngestOptions(ip_hash_secret=b"s")) as world:
        for number in range(60):
            case = make_case(entry, 11, number, WRITE_KEY)
            head, _, body = case.wire().partition(b"\r\n\r\n")
            ingest = world.ingestor.ingest_replay if entry == "replay" else world.ingestor.ingest
            form = BodyForm.JSON if b"application/json" in head else BodyForm.UNKNOWN
            encoding = entry if entry in ENCODINGS else "identity"
            sender = Sender(WRITE_KEY, address="192.0.2.1")
            world.sink.records.clear()
            result = await ingest(IngestRequest(body, form, encoding, sender, now_ms()))
            assert isinstance(result, IngestResult)
            written = sum(raw.event_count for raw in world.sink.raw())
            written += sum(chunk.event_count for chunk in world.sink.chunks())
            refused = sum(record.event_count for record in world.sink.rejected())
            if result.error is None:
                assert (result.accepted, result.refused_count) == (written, refused)
                assert result.accepted + result.refused_count > 0
            else:
                assert result.error.value != "INTERNAL"
                assert world.sink.records == []


@pytest.mark.parametrize("name", list(READERS))
def test_readers_of_the_guided_fuzzer(name: str) -> None:
    """What Atheris drives takes good inputs and damaged ones without any other exception."""
    chance = Random(name)
    for data in (*corpus.batches(), *corpus.chunks()):
        for body in (data, mutate_bytes(chance, data), mutate_message(chance, data)):
            with suppress(RefusedError):
                READERS[name](body)


def test_the_table_of_attacks_names_real_tests() -> None:
    """Every test named in docs/fuzzing.md is there."""
    text = (corpus.ROOT / "docs/fuzzing.md").read_text()
    named = set(re.findall(r"(?<=[:`])test_[a-z0-9_]+(?=`)", text))
    code = "".join(path.read_text() for path in (corpus.ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert {name for name in named if f"def {name}(" not in code} == set()


def test_every_entry_has_good_cases_too() -> None:
    """Cases are not all broken: each door's makers leave some as they should be."""
    for entry in ENTRIES:
        cases = [make_case(entry, 5, number, WRITE_KEY) for number in range(200)]
        assert any(case.answers is not None for case in cases)


async def test_handlers_do_not_share_what_they_count() -> None:
    """Two chunks that are read at the same time have 2,000 events each."""
    events = b"[" + b",".join([b'{"type":3}'] * 1500) + b"]"
    async with gateway_world() as world:
        body = ReplayChunk(session_id="s", data=events).SerializeToString()
        requests = [
            IngestRequest(body, BodyForm.PROTOBUF, "identity", Sender(WRITE_KEY), now_ms())
            for _ in range(5)
        ]
        results = await asyncio.gather(*map(world.ingestor.ingest_replay, requests))
    assert [result.accepted for result in results] == [1500] * 5
