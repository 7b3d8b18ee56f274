"""What a process depends on: each server up or down, since when, and why.

In: one probe a dependency, which gives None or one sentence. Out: a document for /ready, two gauges
and a log line at each change. Guarantees: a server that hangs counts as down `ANSWER_S` after it
was asked, whatever its client library does; asking for the document never takes longer than that.
`AsyncProbes` are for processes with an event loop, `ThreadProbes` for the others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Gauge

from connectors.errors import ConnectorError
from connectors.log_text import clean_text
from connectors.telemetry import get_logger

ANSWER_S = 1.2
PAUSE_S = 0.8  # Between two probes: a server that hangs is known to within two seconds.

UP = Gauge("gosight_dependency_up", "1 while the server answers.", ["dependency"])
SINCE = Gauge(
    "gosight_dependency_since_timestamp_seconds", "When that last changed.", ["dependency"]
)
_HANGS = f"no answer within {ANSWER_S:g} s"

AsyncProbe = Callable[[], Awaitable[str | None]]
Probe = Callable[[], str | None]


class Dependency:
    """What is known of one server; may be read from any thread."""

    def __init__(self, name: str, *, is_needed: bool) -> None:
        self.name = name
        self.is_needed = is_needed
        # None: never asked. Replaced as a whole, so that a reader sees one state.
        self._known: tuple[str | None, float] | None = None
        self._asked_at_s: float | None = None
        UP.labels(name).set_function(lambda: float(self.is_up))
        SINCE.labels(name).set_function(lambda: self._known[1] if self._known else 0.0)

    @property
    def is_up(self) -> bool:
        """Whether it answered when last asked, and is not overdue now."""
        self._note_overdue()
        return self._known is not None and self._known[0] is None

    def asking(self) -> None:
        """A probe begins."""
        self._asked_at_s = time.monotonic()

    def answered(self, fault: str | None) -> None:
        """A probe ended: None, or one sentence why the server cannot be used."""
        self._asked_at_s = None
        self._set(None if fault is None else clean_text(fault))

    def document(self) -> dict[str, Any]:
        """As /ready shows it."""
        is_up = self.is_up
        if self._known is None:
            return {"state": "unknown", "since": None, "needed": self.is_needed, "detail": ""}
        fault, since_s = self._known
        since = datetime.fromtimestamp(since_s, UTC).isoformat(timespec="milliseconds")
        return {
            "state": "up" if is_up else "down",
            "since": since.replace("+00:00", "Z"),
            "needed": self.is_needed,
            "detail": fault or "",
        }

    def _note_overdue(self) -> None:
        asked_at_s = self._asked_at_s
        if asked_at_s is not None and time.monotonic() - asked_at_s >= ANSWER_S:
            self._set(_HANGS)

    def _set(self, fault: str | None) -> None:
        known = self._known
        if known is None or (known[0] is None) != (fault is None):
            self._known = (fault, time.time())
            if fault is not None:
                get_logger().warning("dependency_down", dependency=self.name, reason=fault)
            elif known is not None:
                get_logger().info("dependency_up", dependency=self.name)
        elif known[0] != fault:
            self._known = (fault, known[1])  # Still down, for another reason.


def documents(dependencies: Iterable[Dependency]) -> dict[str, dict[str, Any]]:
    """All of them by name."""
    return {dependency.name: dependency.document() for dependency in dependencies}


def all_needed_up(found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the documents say that everything that is needed answers."""
    return all(entry["state"] == "up" for entry in found.values() if entry["needed"])


class AsyncProbes:
    """Dependencies of a process with an event loop.

    `start` keeps asking in the background, for the gauges and the log; `ask` works without it.
    """

    def __init__(self, probes: Mapping[str, AsyncProbe], needed: frozenset[str]) -> None:
        self._probes = dict(probes)
        self._dependencies = {
            name: Dependency(name, is_needed=name in needed) for name in self._probes
        }
        self._running: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Ask each again and again until `stop`."""
        self._loops = [asyncio.create_task(self._repeat(name)) for name in self._probes]

    def stop(self) -> None:
        """Ask no more."""
        for task in (*self._loops, *self._running.values()):
            task.cancel()
        self._loops.clear()

    async def ask(self) -> dict[str, dict[str, Any]]:
        """Ask all now; their documents by name, within `ANSWER_S`."""
        await asyncio.gather(*(self._ask(name) for name in self._probes))
        return documents(self._dependencies.values())

    async def _repeat(self, name: str) -> None:
        while True:
            await self._ask(name)
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, name: str) -> None:
        """One probe at a time: who comes later waits for the one that runs."""
        task = self._running.get(name)
        if task is None or task.done():
            self._dependencies[name].asking()
            task = self._running[name] = asyncio.create_task(self._probe(name))
        elif not self._dependencies[name].is_up:
            return  # It hangs, and has done so for long enough.
        await asyncio.wait({task}, timeout=ANSWER_S)

    async def _probe(self, name: str) -> None:
        try:
            fault = await self._probes[name]()
        except ConnectorError as error:
            fault = str(error) or type(error).__name__
        self._dependencies[name].answered(fault)


class ThreadProbes:
    """Dependencies of a process without an event loop, each asked by a thread of its own."""

    def __init__(self, probes: Mapping[str, Probe], needed: frozenset[str]) -> None:
        self._dependencies: list[Dependency] = []
        for name, probe in probes.items():
            dependency = Dependency(name, is_needed=name in needed)
            self._dependencies.append(dependency)
            threading.Thread(
                target=_repeat, args=(dependency, probe), name=f"probe-{name}", daemon=True
            ).start()

    def documents(self) -> dict[str, dict[str, Any]]:
        """What is known now, by name; at once."""
        return documents(self._dependencies)


def _repeat(dependency: Dependency, probe: Probe) -> None:
    while True:
        dependency.asking()
        try:
            fault = probe()
        except ConnectorError as error:
            fault = str(error) or type(error).__name__
        dependency.answered(fault)
        time.sleep(PAUSE_S)
