"""One process of ours, kept running as a supervisor would: started again with growing pauses.

In: a command, its environment and a log file. Out: a handle to kill, stop and freeze it, the codes
it ended with, the most memory it had, and the lines it wrote since a mark.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PAUSE_FIRST_S = 0.3
PAUSE_MAX_S = 5.0
CALM_S = 10.0  # A life this long forgives the deaths before it.
POLL_S = 0.05
MEMORY_EVERY_S = 0.5


class Kept:
    """A process and its watcher thread."""

    def __init__(
        self, name: str, argv: Sequence[str], environ: Mapping[str, str], log_path: Path
    ) -> None:
        self.name = name
        self.environ = dict(environ)
        self.codes: list[int] = []  # How it ended, each time; negative for a signal.
        self.starts = 0
        self._codes_marked = 0
        self.memory_bytes_max = 0
        self._argv = list(argv)
        self._log_path = log_path
        self._log_path.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_wanted = False
        self._is_closing = False
        self._start_at_s = 0.0
        self._started_at_s = 0.0
        self._pause_s = PAUSE_FIRST_S
        self._thread = threading.Thread(target=self._watch, name=f"keep {name}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Run it from now on."""
        with self._lock:
            self._is_wanted = True
            self._pause_s = PAUSE_FIRST_S
            if self._process is None:
                self._spawn()

    def kill(self, number: int = signal.SIGKILL, *, pid: int | None = None) -> None:
        """Send a signal to it, or to one of its children; it is started again when it ends."""
        target = pid if pid is not None else self.pid
        if target is not None:
            with suppress(ProcessLookupError):
                os.kill(target, number)

    def children(self) -> list[int]:
        """Process ids of its children."""
        pid = self.pid
        if pid is None:
            return []
        with suppress(psutil.Error):
            return sorted(child.pid for child in psutil.Process(pid).children())
        return []

    def ports_to(self, port: int) -> set[int]:
        """From which ports it is connected to this one."""
        pid = self.pid
        if pid is None:
            return set()
        with suppress(psutil.Error):
            found = psutil.Process(pid).net_connections("tcp")
            return {one.laddr.port for one in found if one.raddr and one.raddr.port == port}
        return set()

    def stop(self, timeout_s: float = 60.0) -> int | None:
        """SIGTERM, and not started again; the exit code, None if it had ended before."""
        with self._lock:
            self._is_wanted = False
            process = self._process
        if process is None:
            return None
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not end {timeout_s} s after SIGTERM") from None
        self._await_reaped(process)
        return code

    def close(self) -> None:
        """Kill it and end the watcher."""
        with self._lock:
            self._is_wanted = False
            self._is_closing = True
            process = self._process
        if process is not None:
            for pid in [*self.children(), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)
        self._thread.join(10)

    def mark(self) -> int:
        """The end of the log now; `codes_since_mark` begins anew."""
        self._codes_marked = len(self.codes)
        return self._log_path.stat().st_size

    @property
    def codes_since_mark(self) -> list[int]:
        """How it ended since the last mark."""
        return self.codes[self._codes_marked :]

    def text_since(self, mark: int) -> str:
        """What it wrote after a mark."""
        with self._log_path.open("rb") as log:
            log.seek(mark)
            return log.read().decode("utf-8", "replace")

    def events_since(self, mark: int) -> list[dict[str, Any]]:
        """Its JSON lines after a mark."""
        found = []
        for line in self.text_since(mark).splitlines():
            if line.startswith("{"):
                with suppress(json.JSONDecodeError):
                    found.append(json.loads(line))
        return found

    def has_logged(self, event: str, mark: int) -> bool:
        """Whether a JSON line with this event name came after a mark."""
        return any(line.get("event") == event for line in self.events_since(mark))

    def stacks(self) -> str:
        """End it, and tell where each of its threads was; with Python's fault handler on."""
        mark = self._log_path.stat().st_size
        self.kill(signal.SIGABRT)
        time.sleep(1.0)
        return self.text_since(mark)

    def wait_for(self, event: str, mark: int, timeout_s: float = 60.0) -> None:
        """Until it has logged an event after a mark."""
        deadline = time.monotonic() + timeout_s
        while not self.has_logged(event, mark):
            if time.monotonic() > deadline:
                tail = self.text_since(mark)[-2000:]
                raise AssertionError(f"{self.name} did not log {event} in {timeout_s} s:\n{tail}")
            time.sleep(POLL_S)

    def _spawn(self) -> None:
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )
        self.starts += 1
        self._started_at_s = time.monotonic()

    def _await_reaped(self, process: subprocess.Popen[bytes]) -> None:
        while self._process is process:
            time.sleep(POLL_S)

    def _watch(self) -> None:
        memory_at_s = 0.0
        while not self._is_closing:
            now_s = time.monotonic()
            if now_s - memory_at_s > MEMORY_EVERY_S:
                memory_at_s = now_s
                self._measure()
            with self._lock:
                self._look(now_s)
            time.sleep(POLL_S)

    def _look(self, now_s: float) -> None:
        process = self._process
        if process is None:
            if self._is_wanted and now_s >= self._start_at_s and self.starts:
                self._spawn()
            return
        code = process.poll()
        if code is None:
            return
        self.codes.append(code)
        self._process = None
        if now_s - self._started_at_s > CALM_S:
            self._pause_s = PAUSE_FIRST_S
        self._start_at_s = now_s + self._pause_s
        self._pause_s = min(PAUSE_MAX_S, self._pause_s * 2)

    def _measure(self) -> None:
        pid = self.pid
        if pid is None:
            return
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            for one in (process, *process.children()):
                self.memory_bytes_max = max(self.memory_bytes_max, one.memory_info().rss)
