"""A server with a defect that the fuzzer must find: `python -m tests.fuzz.planted DEFECT`.

It answers 202 to everything, but one case in fifty meets the defect. Prints its port.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys

DEFECTS = ("none", "fault", "slow", "closed", "crash", "growth", "memory")
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
kept: list[bytes] = []


async def serve(defect: str) -> None:
    """Answer until killed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await read_body(reader, head.lower())
                if b"/good" not in head and hashlib.sha256(body).digest()[0] % 50 == 0:
                    await act(defect, writer)
                if writer.is_closing():
                    return
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ValueError, OSError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The body of a request with this head."""
    _, _, length = head.partition(b"content-length:")
    if length:
        return await reader.readexactly(int(length.split(b"\r\n")[0]))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def act(defect: str, writer: asyncio.StreamWriter) -> None:
    """Do what must not be done."""
    match defect:
        case "fault":
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
        case "slow":
            await asyncio.sleep(0.7)
        case "closed":
            writer.close()
        case "crash":
            os._exit(3)
        case "growth":
            kept.append(os.urandom(2 * 1024 * 1024))
        case "memory":
            bytearray(os.urandom(64 * 1024 * 1024))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
