"""gRPC-Web frames: a unary call inside one HTTP request and answer.

In: the body of a grpc-web request, binary or base64. Out: the one message in it, and back: the
answer's message frame and its trailer frame. Pure.
Source: events.md, section 1 (gRPC-Web rules); the PROTOCOL-WEB document of gRPC.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.unpack import encoding_name, first_byte

FRAME_HEAD_BYTES = 5
COMPRESSED_FLAG = 0x01
FRAME_FLAGS = (b"\x00", b"\x01")
TRAILER_FLAG = 0x80
CONTENT_TYPES: dict[str, bool] = {  # Type: whether the body is base64.
    "application/grpc-web": False,
    "application/grpc-web+proto": False,
    "application/grpc-web-text": True,
    "application/grpc-web-text+proto": True,
}


@dataclass(frozen=True, slots=True)
class Call:
    """The message of a call; `encoding` is what packs it inside its frame."""

    message: bytes
    encoding: str


def read_call(body: bytes, *, is_text: bool, grpc_encoding: str, http_encoding: str) -> Call:
    """The message of a unary request.

    A body that is no frame is taken as the bare message: a widespread SDK sends it so, and may
    pack it as HTTP does. `grpc_encoding` counts for frames with the flag of compression only.

    Raises:
        RefusedError: INVALID_BODY, or UNSUPPORTED_MEDIA_TYPE for an unknown packing and for frames
            that HTTP packs once more.
    """
    if is_text:
        body = _from_base64(body)
    encoding = encoding_name(http_encoding)
    if encoding != "identity":
        # A message cannot begin with the flag of a frame. Frames are packed one by one, by their
        # own flag; what is packed around them would have to be unpacked for anybody who asks.
        if _is_framed(body) or first_byte(body, encoding) in FRAME_FLAGS:
            raise RefusedError(ErrorKind.UNSUPPORTED_MEDIA_TYPE)
        return Call(body, encoding)
    if not _is_framed(body):
        return Call(body, encoding)
    length = int.from_bytes(body[1:FRAME_HEAD_BYTES])
    message = body[FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + length]
    if body[0] & COMPRESSED_FLAG:
        return Call(message, encoding_name(grpc_encoding or "gzip"))
    return Call(message, "identity")


def _is_framed(body: bytes) -> bool:
    """Whether the body is one message frame, alone or with a trailer frame behind it."""
    if len(body) < FRAME_HEAD_BYTES or body[0] not in (0, COMPRESSED_FLAG):
        return False
    end = FRAME_HEAD_BYTES + int.from_bytes(body[1:FRAME_HEAD_BYTES])
    if end == len(body):
        return True
    rest = body[end:]
    return (
        len(rest) >= FRAME_HEAD_BYTES
        and bool(rest[0] & TRAILER_FLAG)
        and FRAME_HEAD_BYTES + int.from_bytes(rest[1:FRAME_HEAD_BYTES]) == len(rest)
    )


def write_answer(message: bytes | None, status: int, text: str, *, is_text: bool) -> bytes:
    """The answer's body: the message's frame, if there is one, and the trailers' frame."""
    trailers = f"grpc-status:{status}\r\n"
    if text:
        trailers += f"grpc-message:{text}\r\n"
    body = _frame(TRAILER_FLAG, trailers.encode("ascii"))
    if message is not None:
        body = _frame(0, message) + body
    return base64.b64encode(body) if is_text else body


def _frame(flag: int, payload: bytes) -> bytes:
    return bytes((flag,)) + len(payload).to_bytes(4) + payload


def _from_base64(body: bytes) -> bytes:
    """Base64 of the whole, or of each frame by itself, each padded."""
    parts: list[bytes] = []
    for chunk in body.replace(b"\r", b"").replace(b"\n", b"").split(b"="):
        if chunk:
            try:
                parts.append(base64.b64decode(chunk + b"=" * (-len(chunk) % 4), validate=True))
            except binascii.Error:
                raise RefusedError(ErrorKind.INVALID_BODY) from None
    return b"".join(parts)
