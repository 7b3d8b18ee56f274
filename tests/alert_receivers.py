"""Receivers of alerts on real sockets: a Bot API and webhook targets that behave as told.

Each answers its requests from a script, one entry a request, the last one again and again, and
remembers what came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "12345:made-up-token"


@dataclass(frozen=True)
class Answer:
    """What to say; `hangs` says nothing at all, `drips` sends blanks for ever.

    `piece_bytes` cuts the body into pieces that are sent one by one; 0: it goes as a whole.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hangs: bool = False
    drips: bool = False
    closes: bool = False
    piece_bytes: int = 0
    after_s: float = 0.0


OK = Answer(200)
HANG = Answer(hangs=True)
BOT_OK = Answer(200, body=b'{"ok":true,"result":{"message_id":1}}')


def bot_error(status: int, description: str, **parameters: Any) -> Answer:
    """An error as the Bot API words it."""
    document = {"ok": False, "error_code": status, "description": description}
    if parameters:
        document["parameters"] = parameters
    return Answer(status, body=json.dumps(document).encode())


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Receiver:
    """A server on a free port of loopback; use `receiver()`."""

    def __init__(self, script: Sequence[Answer]) -> None:
        self.script = list(script)
        # Says the answer to each request instead of the script.
        self.choose: Callable[[Received], Answer] | None = None
        self.received: list[Received] = []
        self.url = ""
        self.in_flight = 0
        self.in_flight_max = 0
        self.is_closing = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Remember the request and answer as the script says."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            body = await request.read()
            got = Received(
                request.path,
                {name.lower(): value for name, value in request.headers.items()},
                body,
                asyncio.get_running_loop().time(),
            )
            self.received.append(got)
            return await self._answer(request, self._next(got))
        finally:
            self.in_flight -= 1

    def _next(self, got: Received) -> Answer:
        if self.choose is not None:
            return self.choose(got)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def _answer(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        await asyncio.sleep(answer.after_s)
        if answer.hangs:
            await self.is_closing.wait()
        if answer.closes:
            assert request.transport is not None
            request.transport.abort()
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if not answer.drips:
            response.content_length = len(answer.body)
        await response.prepare(request)
        if answer.drips:
            while not self.is_closing.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.01)
            return response
        size = answer.piece_bytes or max(1, len(answer.body))
        for start in range(0, len(answer.body), size):
            await response.write(answer.body[start : start + size])
            if answer.piece_bytes:
                await asyncio.sleep(0.01)
        await response.write_eof()
        return response


@asynccontextmanager
async def receiver(*script: Answer) -> AsyncIterator[Receiver]:
    """A running receiver; every path is answered."""
    made = Receiver(script or (OK,))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"http://127.0.0.1:{port}"
    try:
        yield made
    finally:
        made.is_closing.set()
        await runner.cleanup()
