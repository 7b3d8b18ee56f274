"""The readers behind the gateway's doors, as functions of bytes: what `guided` drives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ingest_gateway.decode import DecodeLimits, decode, open_body
from ingest_gateway.grpc_web import read_call
from ingest_gateway.judge import Project, judge
from ingest_gateway.replay_chunk import ReplayLimits, check_chunk, decode_chunk
from ingest_gateway.request import BodyForm
from ingest_gateway.unpack import unpack
from tests.fuzz import corpus
from tests.gateway_world import make_key

LIMITS = DecodeLimits()
PROJECT = Project.of(make_key())
ENCODINGS = ("identity", "gzip", "deflate", "zstd")


def read_batch(data: bytes) -> None:
    """Protobuf batches."""
    decode(*open_body(data, "identity", BodyForm.PROTOBUF, LIMITS), LIMITS)


def read_json(data: bytes) -> None:
    """JSON batches."""
    decode(*open_body(data, "identity", BodyForm.JSON, LIMITS), LIMITS)


def read_packed(data: bytes) -> None:
    """Packed bodies; the first byte chooses how."""
    assert len(unpack(data[1:], ENCODINGS[data[0] % 4] if data else "gzip", 65536)) <= 65536


def read_frames(data: bytes) -> None:
    """gRPC-Web; the first byte chooses its kind."""
    kind = data[0] if data else 0
    encoding = ("", "gzip", "zstd", "deflate")[kind >> 1 & 3]
    read_call(data[1:], is_text=bool(kind & 1), grpc_encoding="gzip", http_encoding=encoding)


def read_chunk(data: bytes) -> None:
    """Replay chunks and what is inside."""
    chunk, _ = decode_chunk(data, "identity", BodyForm.UNKNOWN, ReplayLimits())
    check_chunk(chunk, PROJECT, ReplayLimits(), opted_out=False)


def judge_batch(data: bytes) -> None:
    """Batches of both forms, judged and scrubbed."""
    decoded = decode(*open_body(data, "identity", BodyForm.UNKNOWN, LIMITS), LIMITS)
    judged = judge(decoded, PROJECT, 1_795_255_200_000, opted_out=False)
    total = len(judged.accepted) + len(judged.replay) + len(judged.refusals)
    assert total == len(decoded.items)


READERS: dict[str, Callable[[bytes], None]] = {
    "batch": read_batch,
    "json": read_json,
    "unpack": read_packed,
    "grpc_web": read_frames,
    "chunk": read_chunk,
    "judge": judge_batch,
}


def write_corpus(folder: Path) -> None:
    """The good inputs as files, as libFuzzer wants them."""
    inputs = [*corpus.batches(), *corpus.chunks()]
    inputs += [json.dumps(one).encode() for one in (*corpus.json_batches(), *corpus.json_chunks())]
    for number, data in enumerate(inputs):
        (folder / str(number)).write_bytes(data)
