"""Sends cases and says what came back: statuses, or that the connection was closed or left open.

HTTP is written and read byte by byte on a socket, because a client library would not send what a
fuzzer must send. gRPC goes through its own library with bytes for messages.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from tests.fuzz.entries import SERVICE, Case

ANSWER_TIMEOUT_S = 8.0
SEND_TIMEOUT_S = 1.0
SILENCE_S = 0.03  # How long answers are waited for that nobody owes.
BODY_BYTES_ALLOWED = 256 * 1024
# What the client's library says when the server ends a call that is still being sent.
ENDED_EARLY = "Internal error from Core"
STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case.

    `seconds` is the longest that one answer took: from the last byte sent, or from the answer
    before it, because requests that came together are answered in turn.
    """

    statuses: tuple[str, ...]
    seconds: float


class Client:
    """One connection at a time for HTTP, one channel for gRPC."""

    def __init__(self, host: str, http_port: int, grpc_port: int | None) -> None:
        self._host = host
        self._http_port = http_port
        self._grpc_port = grpc_port
        self._channel: Any = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, case: Case) -> Outcome:
        """Send a case and wait for what it is owed."""
        if case.transport == "grpc":
            return await self._send_grpc(case)
        if case.transport == "http2":
            return await self._send_raw(case, self._grpc_port or self._http_port)
        if case.answers is None:
            return await self._send_raw(case, self._http_port)
        is_reused = self._writer is not None
        outcome = await self._exchange(case)
        if is_reused and outcome.statuses == ("closed",):
            outcome = await self._exchange(case)  # The server may end an idle connection.
        return outcome

    async def close(self) -> None:
        """Leave."""
        await self._disconnect()
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _disconnect(self) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, case: Case) -> Outcome:
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(
                    self._host, self._http_port
                )
        except OSError:
            return Outcome(("no connection",), 0.0)
        assert self._reader is not None
        sending = asyncio.create_task(_write(self._writer, case))
        statuses: list[str] = []
        may_stay = False
        seconds = 0.0
        since_s = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                assert case.answers is not None
                is_head = case.wire()[:5] == b"HEAD "
                for number in range(case.answers):
                    if number == 0 and len(case.parts) > 1:
                        await asyncio.wait({sending}, timeout=ANSWER_TIMEOUT_S)
                        since_s = time.perf_counter()
                    status, may_stay = await read_answer(self._reader, is_head=is_head)
                    statuses.append(status)
                    now_s = time.perf_counter()
                    seconds, since_s = max(seconds, now_s - since_s), now_s
        except TimeoutError:
            statuses.append("no answer")
            may_stay = False
        except (OSError, asyncio.IncompleteReadError):
            statuses.append("closed")
            may_stay = False
        seconds = max(seconds, time.perf_counter() - since_s)  # For one that did not come.
        if not sending.done():
            sending.cancel()
            may_stay = False
        with suppress(OSError, asyncio.CancelledError):
            await sending
        if not may_stay:
            await self._disconnect()
        return Outcome(tuple(statuses), seconds)

    async def _send_raw(self, case: Case, port: int) -> Outcome:
        """A connection of its own; answers are taken as they come, none is owed."""
        try:
            reader, writer = await asyncio.open_connection(self._host, port)
        except OSError:
            return Outcome(("no connection",), 0.0)
        statuses: list[str] = []
        seconds = 0.0
        try:
            sending = asyncio.create_task(_write(writer, case))
            await asyncio.wait({sending}, timeout=SEND_TIMEOUT_S)  # It may not read any more.
            started_s = time.perf_counter()
            while len(statuses) < 5:
                async with asyncio.timeout(SILENCE_S):
                    if case.transport == "http2":
                        if not await reader.read(65536):
                            raise ConnectionResetError
                        continue
                    status, _ = await read_answer(reader, is_head=False)
                statuses.append(status)
                seconds = time.perf_counter() - started_s
        except TimeoutError:
            statuses.append("open")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            statuses.append("closed")
        finally:
            sending.cancel()
            with suppress(OSError, asyncio.CancelledError):
                await sending
            writer.transport.abort()
        return Outcome(tuple(dict.fromkeys(statuses)), seconds)

    async def _send_grpc(self, case: Case) -> Outcome:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(f"{self._host}:{self._grpc_port}")
        path = SERVICE + case.method
        started_s = time.perf_counter()
        try:
            if case.method == "SendBatch":
                call = self._channel.unary_unary(path)
                body = case.parts[0]
                await call(body, metadata=case.metadata, timeout=ANSWER_TIMEOUT_S)
            else:
                call = self._channel.stream_unary(path)
                bodies = _each(case.parts)
                await call(bodies, metadata=case.metadata, timeout=ANSWER_TIMEOUT_S)
            status = "OK"
        except grpc.aio.AioRpcError as error:
            status = error.code().name
            if error.details() == ENDED_EARLY:
                status = "ended early"
        return Outcome((status,), time.perf_counter() - started_s)


async def _each(parts: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _write(writer: asyncio.StreamWriter, case: Case) -> None:
    with suppress(OSError):
        for number, part in enumerate(case.parts):
            if number and case.pause_s:
                await asyncio.sleep(case.pause_s)
            writer.write(part)
            await writer.drain()


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool) -> tuple[str, bool]:
    """(status, whether the connection may be used again) of the next final answer.

    Raises:
        OSError, IncompleteReadError: the connection ended before the answer did.
    """
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        parts = lines[0].split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1."):
            raise ConnectionResetError("no answer of HTTP")
        status = parts[1]
        if not status.startswith("1") or status == "101":
            break
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:] if line)
    }
    if not is_head and status not in ("204", "304"):
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            content = await reader.readexactly(int(fields.get("content-length", "0")))
            if "grpc-web" in fields.get("content-type", ""):
                status = _trailer_status(content, fields["content-type"])
    return status, fields.get("connection", "keep-alive").lower() != "close"


def _trailer_status(content: bytes, content_type: str) -> str:
    """The name of gRPC's status in the trailer of a gRPC-Web answer; INTERNAL if there is none."""
    with suppress(ValueError):
        content = base64.b64decode(content) if "text" in content_type else content
    found = re.search(rb"grpc-status:(\d+)\r\n", content)
    return STATUS_NAMES[int(found[1])] if found else "INTERNAL"
