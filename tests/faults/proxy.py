"""A relay in front of a server: transparent, slow, cut, or lying about what it did.

In: connections on a free port. Out: the same bytes to and from the server behind it. `HttpRelay`
knows requests: it can carry an insert out and lose the answer, answer an error of its own, or say
that the disk is full. Both run in a thread of their own and are set from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Collection, Coroutine, Iterable
from enum import Enum
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

LOOPBACK = "127.0.0.1"
ANSWER_TIMEOUT_S = 120.0
DISK_FULL = (
    "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)"
)


# The table that an insert is for, whether it is quoted or named with its database.
_INSERT = re.compile(r"INSERT INTO (?:`?\w+`?\.)?`?(\w+)", re.IGNORECASE)


class Relay:
    """Bytes to a TCP server. `delay_s` holds each piece back; `is_cut` refuses connections."""

    def __init__(self, target_port: int) -> None:
        self.delay_s = 0.0
        self.is_cut = False
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[asyncio.Task[None], int] = {}  # Each with its client's port.
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self.port: int = self._do(self._listen())

    def cut(self) -> None:
        """Break all connections and take no more until `mend`."""
        self.is_cut = True
        self._do(self._break(self._tasks))

    def drop(self, ports: Collection[int]) -> None:
        """Break the connections that come from these ports; others are taken as before."""
        self._do(self._drop(ports))

    def mend(self) -> None:
        """Be transparent again."""
        self.is_cut = False
        self.delay_s = 0.0

    def close(self) -> None:
        """End the thread."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _break(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        broken = list(tasks)
        for task in broken:
            task.cancel()
        await asyncio.gather(*broken, return_exceptions=True)

    async def _drop(self, ports: Collection[int]) -> None:
        await self._break([task for task, port in self._tasks.items() if port in ports])

    async def _end(self) -> None:
        self._server.close()
        await self._break(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer.get_extra_info("peername")[1]
        task.add_done_callback(self._tasks.pop)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if not self.is_cut:
                await self._join(reader, writer)
        writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
        pipes = [
            asyncio.create_task(self._pipe(reader, far_writer)),
            asyncio.create_task(self._pipe(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            far_writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()


class Lie(Enum):
    """What the relay does with an insert instead of carrying it out and answering."""

    DROP_ANSWER = "the insert is done, the connection breaks before the answer"
    LATE_ANSWER = "the insert is done, the connection breaks seconds later"
    ERROR_AFTER = "the insert is done, the answer is 500"
    REFUSE = "the insert is not done, the answer is 503"
    DISK_FULL = "the insert is not done, the answer is NOT_ENOUGH_SPACE"


# The client library sends a request once more, and says nothing, if its connection breaks.
SILENTLY_REPEATED = frozenset({Lie.DROP_ANSWER, Lie.LATE_ANSWER})


class HttpRelay:
    """HTTP requests to ClickHouse. The next `lies` inserts meet a lie each, in order.

    With `tables`, inserts into others are left alone.
    """

    def __init__(self, target_port: int) -> None:
        self.lies: list[Lie] = []
        self.tables: tuple[str, ...] = ()
        self.standing_lie: Lie | None = None  # Told to every insert until it is taken away.
        self.told: list[Lie] = []
        self._target = f"http://{LOOPBACK}:{target_port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self.port: int = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)

    def mend(self) -> None:
        """Be transparent again."""
        self.lies.clear()
        self.tables = ()
        self.standing_lie = None

    def close(self) -> None:
        """End the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> int:
        self._session = ClientSession(
            auto_decompress=False,
            timeout=ClientTimeout(total=ANSWER_TIMEOUT_S, connect=5),
            connector=TCPConnector(limit=0),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
        )
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, access_log=None, auto_decompress=False, shutdown_timeout=1.0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _end(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def _lie_for(self, request: web.Request, body: bytes) -> Lie | None:
        query = request.query.get("query", "") + body[:64].decode("utf-8", "replace")
        found = _INSERT.search(query)
        if found is None or (self.tables and found[1] not in self.tables):
            return None
        lie = self.lies.pop(0) if self.lies else self.standing_lie
        if lie is not None:
            self.told.append(lie)
        return lie

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        lie = self._lie_for(request, body)
        if lie is Lie.REFUSE:
            return web.Response(status=503, text="the relay refuses")
        if lie is Lie.DISK_FULL:
            return web.Response(
                status=500, text=DISK_FULL, headers={"X-ClickHouse-Exception-Code": "243"}
            )
        left_out = ("host", "transfer-encoding", "content-length", "connection")
        headers = [(n, v) for n, v in request.headers.items() if n.lower() not in left_out]
        try:
            async with self._session.request(
                request.method, self._target + request.raw_path, data=body, headers=headers
            ) as answer:
                content = await answer.read()
                back = [(n, v) for n, v in answer.headers.items() if n.lower() not in left_out]
                response = web.Response(status=answer.status, body=content, headers=back)
        except (ClientError, TimeoutError, OSError):
            return self._break(request)
        if lie is Lie.ERROR_AFTER:
            return web.Response(status=500, text="the relay lost the answer")
        if lie is Lie.LATE_ANSWER:
            await asyncio.sleep(2.0)
        return response if lie is None else self._break(request)

    @staticmethod
    def _break(request: web.Request) -> web.Response:
        """End the connection without an answer."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)
