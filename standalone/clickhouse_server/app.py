"""The HTTP side: routes, authentication, bodies, answers.

In: ClickHouse HTTP requests. Out: answers with ClickHouse's headers and error codes. Guarantees:
every statement runs on a thread of a bounded pool, so that the event loop answers `/ping` at any
time; a client that leaves during a SELECT ends the SELECT.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from standalone.clickhouse_server import errors
from standalone.clickhouse_server.compression import (
    Compressor,
    EncodingError,
    TooLargeError,
    choose_encoding,
    decompress,
)
from standalone.clickhouse_server.engine import Answer, Engine, Stream, can_stream
from standalone.clickhouse_server.errors import EngineError
from standalone.clickhouse_server.requests import Work, read_work
from standalone.clickhouse_server.settings import FrontSettings
from standalone.clickhouse_server.statements import InsertHead, Statement

_logger = logging.getLogger("clickhouse_server")
_T = TypeVar("_T")

_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
}
_DEFAULT_CONTENT_TYPE = "text/plain; charset=UTF-8"
_CONTROL_THREADS = 2
# As much as a ClickHouse server buffers before it sends the status (its `buffer_size`).
_HELD_BACK_BYTES = 1 << 20
_HEADER_EXCEPTION = "X-ClickHouse-Exception-Code"


class Front:
    """The request handlers of one engine, and the threads that statements run on."""

    def __init__(self, engine: Engine, settings: FrontSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="statement")
        # Ending a statement must not wait behind statements.
        self._control = ThreadPoolExecutor(_CONTROL_THREADS, thread_name_prefix="control")

    def close(self) -> None:
        """Wait for what runs; no request may come any more."""
        self._pool.shutdown()
        self._control.shutdown()

    def build_app(self) -> web.Application:
        """The aiohttp application; serve it with `auto_decompress=False`."""
        app = web.Application()
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/replicas_status", self._ping)
        app.router.add_get("/", self._query)
        app.router.add_post("/", self._query)
        return app

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n", content_type="text/html")

    async def _query(self, request: web.Request) -> web.StreamResponse:
        work: Work | None = None
        try:
            self._authenticate(request)
            options, body = await self._read(request)
            if request.method == "GET" and not options.get("query", "").strip():
                return await self._ping(request)
            work = read_work(options, request.headers, body, is_read_only=request.method == "GET")
            return await self._run(request, work)
        except EngineError as error:
            return self._error_response(error, work.scope.query_id if work else "")

    async def _run(self, request: web.Request, work: Work) -> web.StreamResponse:
        statement, scope = work.statement, work.scope
        if isinstance(statement, InsertHead):
            # An INSERT goes on to its end even when its client has left, as on a server.
            answer = await self._on_thread(lambda: self._engine.insert(statement, work.data, scope))
            return self._whole_response(request, work, answer)
        try:
            if can_stream(statement, work.format, scope):
                return await self._stream(request, work, statement)
            answer = await self._on_thread(
                lambda: self._engine.execute(statement, work.format, scope)
            )
        except asyncio.CancelledError:
            if statement.is_plain_select:
                self._control.submit(self._engine.cancel, scope.query_id)
            raise
        return self._whole_response(request, work, answer)

    async def _stream(
        self, request: web.Request, work: Work, statement: Statement
    ) -> web.StreamResponse:
        """Send a SELECT's result in pieces; a result that ends early on is sent whole.

        Holding the first bytes back lets most errors have a status of their own, as on a server.
        """
        begun = asyncio.get_running_loop().run_in_executor(self._pool, self._begin, work, statement)
        try:
            stream, head, is_whole = await asyncio.shield(begun)
        except asyncio.CancelledError:
            begun.add_done_callback(self._close_abandoned)
            raise
        if is_whole:
            answer = Answer(head, stream.rows, len(head), 0, 0, 0.0)
            return self._whole_response(request, work, answer)
        try:
            return await self._send_pieces(request, work, stream, head)
        finally:
            # Also when the client has left: closing ends the statement.
            self._control.submit(stream.close)

    def _close_abandoned(self, begun: asyncio.Future[tuple[Stream, bytes, bool]]) -> None:
        """Release a statement whose client left while it began."""
        if not begun.cancelled() and begun.exception() is None:
            self._control.submit(begun.result()[0].close)

    def _begin(self, work: Work, statement: Statement) -> tuple[Stream, bytes, bool]:
        """Start a SELECT and fetch its first bytes; closes it again if they are all. On a thread.

        Raises:
            EngineError: it failed before that.
        """
        stream = self._engine.stream(statement, work.format, work.scope)
        is_whole = True
        try:
            head, is_whole = stream.fill(_HELD_BACK_BYTES)
        finally:
            if is_whole:
                stream.close()
        return stream, head, is_whole

    async def _send_pieces(
        self, request: web.Request, work: Work, stream: Stream, head: bytes
    ) -> web.StreamResponse:
        encoding = self._encoding(request, work)
        tag = secrets.token_hex(8)
        response = web.StreamResponse(headers=self._headers(work, encoding))
        response.headers["X-ClickHouse-Exception-Tag"] = tag
        response.enable_chunked_encoding()
        compressor = Compressor(encoding)
        await response.prepare(request)
        await response.write(compressor.feed(head))
        try:
            while piece := await self._on_thread(stream.fetch):
                await response.write(compressor.feed(piece))
        except EngineError as error:
            # The status has been sent; the client looks for this block at the end of the body.
            # Source: ClickHouse, src/Server/HTTP/WriteBufferFromHTTPServerResponse.cpp.
            text = f"{error.text}\n"
            block = f"\r\n__exception__\r\n{tag}\r\n{text}{len(text)} {tag}\r\n__exception__\r\n"
            await response.write(compressor.feed(block.encode()))
        await response.write(compressor.end())
        await response.write_eof()
        return response

    async def _on_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _authenticate(self, request: web.Request) -> None:
        """One user; with no password set, anyone on this machine is that user."""
        if not self._settings.password:
            return
        user, password = _credentials(request)
        is_user = hmac.compare_digest(user.encode(), self._settings.user.encode())
        is_password = hmac.compare_digest(password.encode(), self._settings.password.encode())
        if not (is_user and is_password):
            raise EngineError.make(
                errors.AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, or there is no user with "
                "such name",
                "AUTHENTICATION_FAILED",
            )

    async def _read(self, request: web.Request) -> tuple[dict[str, str], bytes]:
        """URL parameters joined by form fields, and the unpacked body."""
        options = dict(request.query)
        # Only multipart is a form: `curl -d` calls a plain statement urlencoded.
        if request.content_type == "multipart/form-data":
            for name, value in (await request.post()).items():
                if not isinstance(value, str):
                    raise EngineError.make(
                        errors.NOT_IMPLEMENTED,
                        "External tables are not supported here",
                        "NOT_IMPLEMENTED",
                    )
                options[name] = value
            return options, b""
        bytes_max = self._settings.insert_bytes_max
        packed = bytearray()
        async for chunk in request.content.iter_any():
            packed += chunk
            if len(packed) > bytes_max:
                raise _too_large(bytes_max)
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if not encoding:
            return options, bytes(packed)
        try:
            body = await self._on_thread(lambda: decompress(bytes(packed), encoding, bytes_max))
        except TooLargeError:
            raise _too_large(bytes_max) from None
        except EncodingError as error:
            raise EngineError.make(errors.BAD_ARGUMENTS, str(error), "BAD_ARGUMENTS") from None
        return options, body

    def _encoding(self, request: web.Request, work: Work) -> str:
        if not work.is_compressed_allowed:
            return ""
        return choose_encoding(request.headers.get("Accept-Encoding", ""))

    def _headers(self, work: Work, encoding: str) -> dict[str, str]:
        headers = {
            "Content-Type": _CONTENT_TYPES.get(work.format, _DEFAULT_CONTENT_TYPE),
            "X-ClickHouse-Query-Id": work.scope.query_id,
            "X-ClickHouse-Format": work.format,
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": "gosight-standalone",
        }
        if encoding:
            headers["Content-Encoding"] = encoding
        return headers

    def _whole_response(self, request: web.Request, work: Work, answer: Answer) -> web.Response:
        encoding = self._encoding(request, work) if answer.body else ""
        body = answer.body
        if encoding:
            compressor = Compressor(encoding)
            body = compressor.feed(body) + compressor.end()
        response = web.Response(body=body, headers=self._headers(work, encoding))
        response.headers["X-ClickHouse-Summary"] = json.dumps(
            {
                "read_rows": str(answer.rows_read),
                "read_bytes": str(answer.bytes_read),
                "written_rows": str(answer.rows_written),
                "written_bytes": str(answer.bytes_written),
                "elapsed_ns": str(int(answer.elapsed_s * 1e9)),
            }
        )
        return response

    def _error_response(self, error: EngineError, query_id: str) -> web.Response:
        _logger.info("statement failed: code %d, query_id %s", error.code, query_id)
        headers = {_HEADER_EXCEPTION: str(error.code), "Content-Type": _DEFAULT_CONTENT_TYPE}
        if query_id:
            headers["X-ClickHouse-Query-Id"] = query_id
        version = f" (version {self._engine.version})"
        text = error.text if version in error.text else error.text + version
        return web.Response(status=error.status, body=f"{text}\n".encode(), headers=headers)


def _too_large(bytes_max: int) -> EngineError:
    return EngineError.make(
        errors.QUERY_IS_TOO_LARGE,
        f"The request's body is larger than {bytes_max} bytes",
        "QUERY_IS_TOO_LARGE",
    )


def _credentials(request: web.Request) -> tuple[str, str]:
    """User and password from ClickHouse's headers, Basic authentication or the URL."""
    headers, query = request.headers, request.query
    if "X-ClickHouse-User" in headers:
        return headers["X-ClickHouse-User"], headers.get("X-ClickHouse-Key", "")
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = b64decode(value, validate=True).decode().partition(":")
        except (Base64Error, UnicodeDecodeError):
            return "", ""
        return user, password
    return query.get("user", "default"), query.get("password", "")
