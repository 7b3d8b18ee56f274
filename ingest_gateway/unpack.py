"""Compressed bodies to plain bytes with a hard limit on the output while unpacking.

In: the body as it came and the encoding's name. Out: at most `limit` bytes, or a refusal. Memory
never exceeds the limit by more than one block, whatever the body claims about itself.
"""

from __future__ import annotations

import zlib

from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

from ingest_gateway.errors import ErrorKind, RefusedError

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
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
    if encoding == "identity":
        if body[:2] != GZIP_MAGIC:
            if len(body) > limit:
                raise RefusedError(ErrorKind.TOO_LARGE)
            return body
        encoding = "gzip"
    if encoding == "gzip":
        return _inflate(body, _GZIP, limit)
    if encoding == "deflate":
        return _unpack_deflate(body, limit)
    assert encoding == "zstd", f"not a result of encoding_name: {encoding}"
    return _unpack_zstd(body, limit)


def _inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    """Unpack one zlib or gzip stream, or several gzip members after one another."""
    parts: list[bytes] = []
    room = limit
    rest = body
    while rest:
        stream = zlib.decompressobj(window_bits)
        try:
            part = stream.decompress(rest, room + 1)
        except zlib.error:
            raise RefusedError(ErrorKind.INVALID_BODY) from None
        room -= len(part)
        if room < 0:
            raise RefusedError(ErrorKind.TOO_LARGE)
        if not stream.eof:
            raise RefusedError(ErrorKind.INVALID_BODY)
        parts.append(part)
        if len(parts) > _MEMBERS_MAX:
            raise RefusedError(ErrorKind.INVALID_BODY)
        rest = stream.unused_data
        if rest and window_bits != _GZIP:
            raise RefusedError(ErrorKind.INVALID_BODY)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unpack_deflate(body: bytes, limit: int) -> bytes:
    """`deflate` means zlib by RFC 9110, but raw streams are common; the first bytes tell."""
    is_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return _inflate(body, zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS, limit)


def _unpack_zstd(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    rest = body
    while rest:
        stream = ZstdDecompressor(options=_ZSTD_OPTIONS)
        try:
            part = stream.decompress(rest, max_length=room + 1)
            room -= len(part)
            while not stream.eof and not stream.needs_input and room >= 0:
                more = stream.decompress(b"", max_length=room + 1)
                if not more:
                    break
                room -= len(more)
                part += more
        except ZstdError:
            raise RefusedError(ErrorKind.INVALID_BODY) from None
        if room < 0:
            raise RefusedError(ErrorKind.TOO_LARGE)
        parts.append(part)
        if not stream.eof or len(parts) > _MEMBERS_MAX:
            raise RefusedError(ErrorKind.INVALID_BODY)
        rest = stream.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)
