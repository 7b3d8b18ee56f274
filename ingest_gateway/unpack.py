"""Compressed bodies to plain bytes with a hard limit on the output while unpacking.

In: the body as it came and the encoding's name. Out: at most `limit` bytes, or a refusal. What is
refused never took more memory than the limit and one block, whatever the body claims about itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

from ingest_gateway.errors import ErrorKind, RefusedError

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
BLOCK_BYTES = 256 * 1024  # Most bodies are one block.
_MEMBERS_MAX = 16  # Thousands of tiny members would cost far more time than other bodies.
# A frame may ask its reader for a window of gigabytes; 8 MiB is what RFC 8878 recommends to allow.
_ZSTD_OPTIONS = {int(DecompressionParameter.window_log_max): 23}

ENCODING_ALIASES: dict[str, str] = {
    "": "identity",
    "identity": "identity",
    "none": "identity",
    "gzip": "gzip",
    "x-gzip": "gzip",
    "gzip-js": "gzip",
    "deflate": "deflate",
    "zstd": "zstd",
}


def encoding_name(text: str) -> str:
    """The one encoding named by a Content-Encoding or `?c=` value.

    Raises:
        RefusedError: UNSUPPORTED_MEDIA_TYPE for unknown names and for lists of encodings.
    """
    name = ENCODING_ALIASES.get(text) or ENCODING_ALIASES.get(text.strip().lower())
    if name is None:
        raise RefusedError(ErrorKind.UNSUPPORTED_MEDIA_TYPE)
    return name


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The plain body; `encoding` is a result of `encoding_name`.

    A gzip body that nobody announced is recognised by its magic bytes: neither a protobuf batch nor
    JSON text can begin with them.

    Raises:
        RefusedError: TOO_LARGE beyond `limit` bytes, INVALID_BODY if the body is damaged.
    """
    if encoding == "identity" and body[:2] != GZIP_MAGIC:
        _check_plain(body, limit)
        return body
    if encoding == "gzip":
        # Nearly every body: one member that fits into one block.
        stream = zlib.decompressobj(_GZIP)
        try:
            plain = stream.decompress(body, min(limit, BLOCK_BYTES) or 1)
        except zlib.error:
            raise RefusedError(ErrorKind.INVALID_BODY) from None
        if stream.eof and not stream.unused_data and len(plain) <= limit:
            return plain
    blocks = list(_blocks(body, encoding, limit))
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def unpack_large(body: bytes, encoding: str, limit: int) -> bytes | bytearray:
    """As `unpack`, for results of many megabytes: they are never in memory twice.

    Unpacked once to learn the size and once to keep it: what is refused was never kept, and
    nothing grows. Growing by steps had cost up to the size again while the heap moved it.
    """
    if encoding == "identity" and body[:2] != GZIP_MAGIC:
        _check_plain(body, limit)
        return body
    plain = bytearray(sum(map(len, _blocks(body, encoding, limit))))
    start = 0
    for block in _blocks(body, encoding, limit):
        plain[start : start + len(block)] = block
        start += len(block)
    return plain


def first_byte(body: bytes, encoding: str) -> bytes:
    """The first byte of what is packed; empty if there is none or the body is damaged."""
    try:
        return next((block[:1] for block in _blocks(body, encoding, 2**62, 1) if block), b"")
    except RefusedError:
        return b""


def _check_plain(body: bytes, limit: int) -> None:
    if len(body) > limit:
        raise RefusedError(ErrorKind.TOO_LARGE)


def _blocks(body: bytes, encoding: str, limit: int, step: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The plain body in blocks of at most `step` bytes, until it is more than `limit`."""
    if encoding in ("identity", "gzip"):
        parts = _inflate(body, _GZIP, step)
    elif encoding == "deflate":
        parts = _inflate(body, _deflate_window(body), step)
    else:
        assert encoding == "zstd", f"not a result of encoding_name: {encoding}"
        parts = _unpack_zstd(body, step)
    room = limit
    for part in parts:
        room -= len(part)
        if room < 0:
            raise RefusedError(ErrorKind.TOO_LARGE)
        yield part


def _inflate(body: bytes, window_bits: int, step: int) -> Iterator[bytes]:
    """Blocks of one zlib or gzip stream, or of several gzip members after one another."""
    rest = body
    members = 0
    while rest:
        members += 1
        if members > _MEMBERS_MAX:
            raise RefusedError(ErrorKind.INVALID_BODY)
        stream = zlib.decompressobj(window_bits)
        while not stream.eof:
            try:
                part = stream.decompress(rest, step)
            except zlib.error:
                raise RefusedError(ErrorKind.INVALID_BODY) from None
            rest = stream.unconsumed_tail
            if not part and not stream.eof:
                raise RefusedError(ErrorKind.INVALID_BODY)  # It ends too early.
            yield part
        rest = stream.unused_data
        if rest and window_bits != _GZIP:
            raise RefusedError(ErrorKind.INVALID_BODY)


def _deflate_window(body: bytes) -> int:
    """`deflate` means zlib by RFC 9110, but raw streams are common; the first bytes tell."""
    is_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def _unpack_zstd(body: bytes, step: int) -> Iterator[bytes]:
    """Blocks of one zstd frame, or of several after one another."""
    rest = body
    frames = 0
    while rest:
        frames += 1
        if frames > _MEMBERS_MAX:
            raise RefusedError(ErrorKind.INVALID_BODY)
        stream = ZstdDecompressor(options=_ZSTD_OPTIONS)
        while not stream.eof:
            try:
                part = stream.decompress(rest, max_length=step)
            except ZstdError:
                raise RefusedError(ErrorKind.INVALID_BODY) from None
            rest = b""
            if not part and not stream.eof:
                raise RefusedError(ErrorKind.INVALID_BODY)  # It ends too early.
            yield part
        rest = stream.unused_data
