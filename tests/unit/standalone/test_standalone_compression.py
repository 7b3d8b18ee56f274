"""Bodies of requests and answers in the encodings of ClickHouse's HTTP interface."""

from __future__ import annotations

import gzip
import zlib

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from standalone.clickhouse_server.compression import (
    Compressor,
    EncodingError,
    TooLargeError,
    choose_encoding,
    decompress,
)

ENCODINGS = ["gzip", "deflate", "zstd", "lz4"]


@pytest.mark.parametrize("encoding", [*ENCODINGS, ""])
@given(pieces=st.lists(st.binary(max_size=2_000), max_size=5))
def test_what_is_packed_in_pieces_unpacks_to_the_whole(encoding: str, pieces: list[bytes]) -> None:
    """Packing piece by piece and unpacking gives the same bytes."""
    compressor = Compressor(encoding)
    packed = b"".join(compressor.feed(piece) for piece in pieces) + compressor.end()
    assert decompress(packed, encoding, 100_000) == b"".join(pieces)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_stopped_at_the_bound(encoding: str) -> None:
    """A body that unpacks to more than the bound is refused."""
    compressor = Compressor(encoding)
    packed = compressor.feed(bytes(5_000_000)) + compressor.end()
    with pytest.raises(TooLargeError):
        decompress(packed, encoding, 1_000_000)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_cut_or_broken_body_is_refused(encoding: str) -> None:
    """Half a body is an error, not half the data; so is rubbish."""
    compressor = Compressor(encoding)
    packed = compressor.feed(bytes(range(256)) * 20) + compressor.end()
    for broken in (packed[: len(packed) // 2], b"rubbish that is not packed"):
        with pytest.raises(EncodingError):
            decompress(broken, encoding, 1_000_000)


def test_several_members_are_one_body() -> None:
    """gzip members and zstd frames that follow each other belong together."""
    assert decompress(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", 10) == b"ab"
    assert decompress(zstd.compress(b"a") + zstd.compress(b"b"), "zstd", 10) == b"ab"
    assert decompress(zlib.compress(b"a"), "deflate", 10) == b"a"


def test_unknown_encodings_and_large_plain_bodies_are_refused() -> None:
    """What cannot be unpacked is an error; the bound holds for plain bodies, too."""
    with pytest.raises(EncodingError, match="snappy"):
        decompress(b"x", "snappy", 10)
    with pytest.raises(TooLargeError):
        decompress(b"x" * 11, "", 10)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [("gzip, zstd", "zstd"), ("lz4,gzip", "lz4"), ("br", ""), ("", ""), ("gzip;q=0.5", "gzip")],
)
def test_the_cheapest_accepted_encoding_is_chosen(accepted: str, chosen: str) -> None:
    """zstd before lz4 before gzip before deflate."""
    assert choose_encoding(accepted) == chosen
