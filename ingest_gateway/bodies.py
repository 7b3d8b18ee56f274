"""HTTP requests to `IngestRequest`s: headers and query read, the body read within its bounds.

aiohttp's own unpacking is switched off (see `app`), so that `unpack` alone decides how much memory
a compressed body may take.
"""

from __future__ import annotations

import asyncio

from aiohttp import ClientPayloadError, StreamReader, web

from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.request import BodyForm, Sender
from ingest_gateway.unpack import encoding_name
from schemas.client_address import client_address

FORM_BY_TYPE: dict[str, BodyForm] = {
    "application/x-protobuf": BodyForm.PROTOBUF,
    "application/protobuf": BodyForm.PROTOBUF,
    "application/vnd.google.protobuf": BodyForm.PROTOBUF,
    "application/json": BodyForm.JSON,
    # Types that a browser sends without asking first; the first byte tells what is inside.
    "text/plain": BodyForm.UNKNOWN,
    "application/octet-stream": BodyForm.UNKNOWN,
    "": BodyForm.UNKNOWN,
}
FORM_BY_QUERY: dict[str, BodyForm] = {
    "pb": BodyForm.PROTOBUF,
    "protobuf": BodyForm.PROTOBUF,
    "json": BodyForm.JSON,
}


def media_type(request: web.Request) -> str:
    """The content type in lower case, without parameters."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def body_form(request: web.Request) -> BodyForm:
    """The form that query or content type announce.

    Raises:
        RefusedError: UNSUPPORTED_MEDIA_TYPE for a type that is neither.
    """
    if request.query_string:
        named = request.query.get("f")
        if named is not None:
            form = FORM_BY_QUERY.get(named)
            if form is None:
                raise RefusedError(ErrorKind.UNSUPPORTED_MEDIA_TYPE)
            return form
    content_type = request.headers.get("Content-Type", "")
    form = FORM_BY_TYPE.get(content_type)
    if form is None:
        form = FORM_BY_TYPE.get(media_type(request))
    if form is None:
        raise RefusedError(ErrorKind.UNSUPPORTED_MEDIA_TYPE)
    return form


def body_encoding(request: web.Request) -> str:
    """The encoding that the header, else `?c=`, announces; see `unpack.encoding_name`."""
    text = request.headers.get("Content-Encoding")
    if text is None:
        text = request.query.get("c", "") if request.query_string else ""
    return encoding_name(text)


def is_beacon(request: web.Request) -> bool:
    """Whether nobody waits for the answer's body: `sendBeacon` sends text/plain."""
    if request.query_string and request.query.get("beacon") == "1":
        return True
    return request.headers.get("Content-Type", "").startswith("text/plain")


def presented_key(request: web.Request) -> str:
    """The key in a header or in the query; empty if it can only be in the body."""
    headers = request.headers
    key = headers.get("X-GoSight-Key") or headers.get("X-Project-Key")
    if key is None and request.query_string:
        key = request.query.get("key")
    return key or ""


def sender_of(request: web.Request, trusted_proxy_count: int) -> Sender:
    """What connection and headers tell about the sender."""
    headers = request.headers
    address = request.remote or ""
    if trusted_proxy_count:
        address = client_address(
            address,
            headers.getall("X-Forwarded-For", ()),
            headers.get("X-Real-IP"),
            trusted_proxy_count,
        )
    return Sender(
        presented_key(request),
        headers.get("Origin"),
        address,
        headers.get("User-Agent", ""),
        headers.get("DNT", ""),
        headers.get("Sec-GPC", ""),
    )


async def read_body(request: web.Request, limit: int, timeout_s: float) -> bytes:
    """The whole body as sent.

    Raises:
        RefusedError: TOO_LARGE as soon as it is clear, TIMEOUT if it does not come in time,
            INVALID_BODY if the connection ends first.
    """
    length = request.content_length
    if length is not None and length > limit:
        raise RefusedError(ErrorKind.TOO_LARGE)
    content = request.content
    try:
        if content.is_eof():  # Most bodies come with their headers: they need no timer.
            body = content.read_nowait()
            if len(body) > limit:
                raise RefusedError(ErrorKind.TOO_LARGE)
            return body
        async with asyncio.timeout(timeout_s):
            return await _read_parts(content, limit)
    except TimeoutError:
        raise RefusedError(ErrorKind.TIMEOUT) from None
    except (web.RequestPayloadError, ClientPayloadError, ConnectionError) as error:
        raise RefusedError(ErrorKind.INVALID_BODY) from error


async def _read_parts(content: StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await content.readany():
        size += len(part)
        if size > limit:
            raise RefusedError(ErrorKind.TOO_LARGE)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
