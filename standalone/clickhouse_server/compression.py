"""Request and response bodies in the encodings that ClickHouse's HTTP interface knows.

In: bytes and the name of an encoding (gzip, deflate, zstd, lz4, identity). Out: bytes. Guarantees:
`decompress` never makes more than the given number of bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import lz4.frame  # type: ignore[import-untyped]  # lz4 ships no types.
from backports import zstd

_LEVEL_GZIP = 1
_LEVEL_ZSTD = 1
# zlib's window bits: 31 reads and writes the gzip envelope, 15 zlib's own.
_WINDOW_GZIP = 31
_WINDOW_ZLIB = 15
_STEP_BYTES = 1 << 20


class EncodingError(Exception):
    """The body is not what its Content-Encoding says, or the encoding is not known."""


class TooLargeError(Exception):
    """The body unpacks to more than is allowed."""


def decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """Unpack a request body.

    Raises:
        EncodingError: unknown encoding or broken body.
        TooLargeError: more than `bytes_max` bytes come out.
    """
    if encoding in ("", "identity"):
        if len(body) > bytes_max:
            raise TooLargeError(str(bytes_max))
        return body
    try:
        if encoding in ("gzip", "x-gzip"):
            return _inflate(body, _WINDOW_GZIP, bytes_max)
        if encoding == "deflate":
            return _inflate(body, _WINDOW_ZLIB, bytes_max)
        if encoding == "zstd":
            return _unpack(body, zstd.ZstdDecompressor, bytes_max)
        if encoding == "lz4":
            return _unpack(body, lz4.frame.LZ4FrameDecompressor, bytes_max)
    except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
        raise EncodingError(f"the body is not valid {encoding}: {error}") from None
    raise EncodingError(f"unknown Content-Encoding {encoding!r}")


def _inflate(body: bytes, window: int, bytes_max: int) -> bytes:
    """Unpack gzip members or a zlib stream, one after the other."""
    parts: list[bytes] = []
    size = 0
    rest = body
    while rest:
        inflater = zlib.decompressobj(window)
        while not inflater.eof:
            part = inflater.decompress(rest, _STEP_BYTES)
            rest = inflater.unconsumed_tail
            size += len(part)
            if size > bytes_max:
                raise TooLargeError(str(bytes_max))
            if not part and not inflater.eof:
                raise EncodingError("the compressed body ends too early")
            parts.append(part)
        rest = inflater.unused_data
    return b"".join(parts)


def _unpack(
    body: bytes,
    make: Callable[[], zstd.ZstdDecompressor | lz4.frame.LZ4FrameDecompressor],
    bytes_max: int,
) -> bytes:
    """Unpack zstd or LZ4 frames, one after the other."""
    parts: list[bytes] = []
    size = 0
    rest = body
    while rest:
        unpacker = make()
        chunk = rest
        while not unpacker.eof:
            part = unpacker.decompress(chunk, max_length=_STEP_BYTES)
            chunk = b""
            size += len(part)
            if size > bytes_max:
                raise TooLargeError(str(bytes_max))
            if not part and not unpacker.eof and unpacker.needs_input:
                raise EncodingError("the compressed body ends too early")
            parts.append(part)
        rest = unpacker.unused_data or b""
    return b"".join(parts)


class Compressor:
    """Packs a response body piece by piece."""

    def __init__(self, encoding: str) -> None:
        self._feed: Callable[[bytes], bytes]
        self._end: Callable[[], bytes]
        self._start = b""
        if encoding == "zstd":
            packer = zstd.ZstdCompressor(_LEVEL_ZSTD)
            self._feed, self._end = packer.compress, packer.flush
        elif encoding == "lz4":
            framer = lz4.frame.LZ4FrameCompressor()
            self._start = framer.begin()
            self._feed, self._end = framer.compress, framer.flush
        elif encoding in ("gzip", "deflate"):
            window = _WINDOW_GZIP if encoding == "gzip" else _WINDOW_ZLIB
            deflater = zlib.compressobj(_LEVEL_GZIP, zlib.DEFLATED, window)
            self._feed, self._end = deflater.compress, deflater.flush
        else:
            self._feed, self._end = bytes, bytes

    def feed(self, data: bytes) -> bytes:
        """Packed bytes that are ready after taking in `data`; may be empty."""
        start, self._start = self._start, b""
        return start + self._feed(data)

    def end(self) -> bytes:
        """The last packed bytes."""
        start, self._start = self._start, b""
        return start + self._end()


def choose_encoding(accept_encoding: str) -> str:
    """The best known encoding that the client accepts; "" for none."""
    accepted = {part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")}
    for encoding in ("zstd", "lz4", "gzip", "deflate"):
        if encoding in accepted:
            return encoding
    return ""
