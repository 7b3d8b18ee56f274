"""Work that only the `gosight` command can do, as a process of its own.

Detectors live in `flows`, which the API does not know, run for seconds of CPU, and may be a user's
own code. So the API starts the command, with an address of the stores and nothing else of its own
environment, reads the JSON that it prints, and ends it when it takes too long. At most
`COMMANDS_AT_ONCE_MAX` run in one API process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

COMMANDS_AT_ONCE_MAX = 2  # Each takes a core, and about as much memory as the API itself.
OUTPUT_BYTES_MAX = 64 * 1024 * 1024
LINE_BYTES_MAX = 64 * 1024
KILLED_WITHIN_S = 5.0


class CommandTooLongError(Exception):
    """It was ended because it took too long, or said too much."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed; `output` is JSON if `code` is 0, `complaint` is for a person."""

    code: int
    output: bytes
    complaint: str


class Commands(Protocol):
    """Runs the `gosight` command."""

    async def run(
        self,
        arguments: Sequence[str],
        timeout_s: float,
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> Said:
        """Run it to its end; `on_line` gets each line of standard error. Waits for a free place.

        Raises:
            CommandTooLongError: it was ended. Cancelling the call ends it, too.
        """


class GosightCommands:
    """`Commands` as child processes of this Python; `environ` is all they get."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._places = asyncio.Semaphore(COMMANDS_AT_ONCE_MAX)

    async def run(
        self,
        arguments: Sequence[str],
        timeout_s: float,
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> Said:
        """See `Commands.run`."""
        async with self._places:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "cli", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environ,
                limit=LINE_BYTES_MAX,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(timeout_s):
                    output, complaint, code = await asyncio.gather(
                        _all_of(process.stdout), _lines_of(process.stderr, on_line), process.wait()
                    )
            except TimeoutError:
                raise CommandTooLongError(f"it took more than {timeout_s:.0f} s") from None
            finally:
                await _end(process)
        return Said(code, output, complaint)


async def _all_of(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    found = bytearray()
    while piece := await stream.read(65_536):
        found += piece
        if len(found) > OUTPUT_BYTES_MAX:
            raise CommandTooLongError(f"it said more than {OUTPUT_BYTES_MAX} bytes")
    return bytes(found)


async def _lines_of(stream: asyncio.StreamReader | None, on_line: Callable[[str], None]) -> str:
    """The end of all lines, for whoever asks why it did not work."""
    assert stream is not None
    last = ""
    async for line in _whole_lines(stream):
        on_line(line)
        last = f"{last} {line}" if last else line
        last = last[-2_000:]
    return last


async def _whole_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # Longer than any line of ours: it was thrown away.
        if not line:
            return
        yield line.decode("utf-8", "replace").strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Whatever it still does, it stops; children of its own go with it."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), KILLED_WITHIN_S)
