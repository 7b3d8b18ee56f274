"""One child process that cannot outlive this one, with its output in a log file.

In: a command, a log file, how to stop it. Out: a handle with the process id, the end of the log for
error texts, and a bounded stop. Guarantees: the child ends when this process ends, even by SIGKILL
(`guard.py`); `stop` returns with the child gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_GUARD = Path(__file__).with_name("guard.py")
_LOG_BYTES_MAX = 10_000_000
_LOG_TAIL_BYTES = 4_000
# The guard itself waits the grace and then kills; this is its own time to notice and to leave.
_GUARD_MARGIN_S = 3.0
_POLL_S = 0.02


class StartError(Exception):
    """A server did not start; the text says which one, why, and shows the end of its log."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The operating-system account that a child runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """What to run and how to end it.

    `log_path` takes the output; without one it is read from `GuardedProcess.output`.
    `environ` replaces the environment; None inherits it. `stop_signal` asks the command to finish,
    SIGKILL follows after `grace_s`. `keep_open` are file descriptors that the guard, not the
    command, holds as long as the command runs: a lock on the data directory, say.
    """

    name: str
    argv: Sequence[str]
    log_path: Path | None
    environ: Mapping[str, str] | None = None
    identity: Identity | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    keep_open: tuple[int, ...] = ()


_current = threading.local()


class SpawnGate:
    """What one thread starts while it is inside; once closed from outside, nothing any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._spawned: list[GuardedProcess] = []

    def __enter__(self) -> SpawnGate:
        _current.gate = self
        return self

    def __exit__(self, *_: object) -> None:
        _current.gate = None

    def spawn(self, process: GuardedProcess) -> None:
        """Start a process of this thread.

        Raises:
            StartError: the gate is closed.
        """
        with self._lock:
            if self._is_closed:
                raise StartError(f"{process.command.name} was not started: stopping")
            process._spawn()
            self._spawned.append(process)

    def close(self) -> None:
        """What would be started from now on fails; what was started runs on."""
        with self._lock:
            self._is_closed = True

    @property
    def spawned(self) -> list[GuardedProcess]:
        """What was started inside, in this order."""
        with self._lock:
            return list(self._spawned)


class GuardedProcess:
    """A running command under its guard."""

    def __init__(self, command: Command) -> None:
        self.command = command
        gate = getattr(_current, "gate", None)
        if gate is not None:
            gate.spawn(self)
        else:
            self._spawn()

    def _spawn(self) -> None:
        command = self.command
        if command.log_path is not None:
            _rotate(command.log_path)
        self._guard, self.pid = _spawn(command)

    @property
    def output(self) -> IO[bytes] | None:
        """What the command writes, if it has no log file; someone must read it."""
        return self._guard.stdout

    @property
    def returncode(self) -> int | None:
        """Exit code once the command has ended, 128 + number for a signal; else None."""
        code = self._guard.poll()
        if code is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
        return code

    def request_stop(self) -> None:
        """Send the command its stop signal, and SIGKILL after the grace, without waiting."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def stop(self) -> int:
        """End the command: its stop signal, SIGKILL after the grace. Returns its exit code."""
        self.request_stop()
        try:
            return self._guard.wait(self.command.grace_s + _GUARD_MARGIN_S)
        except subprocess.TimeoutExpired:
            # Killing the guard makes Linux kill the command.
            self._guard.kill()
            return self._guard.wait()

    def wait(self, timeout_s: float) -> int | None:
        """Wait up to `timeout_s` for the command's end; None if it still runs."""
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return self.returncode

    def log_tail(self) -> str:
        """The last lines of the log, for an error text."""
        path = self.command.log_path
        return "" if path is None else f"the end of {path}:\n{log_tail(path)}"

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll `is_ready` until it holds.

        Raises:
            StartError: the command ended before, or `timeout_s` passed; the command is stopped.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            code = self.returncode
            if code is not None:
                raise StartError(
                    f"{self.command.name} ended with code {code} while starting; {self.log_tail()}"
                )
            if time.monotonic() > deadline:
                self.stop()
                raise StartError(
                    f"{self.command.name} was not ready after {timeout_s:.0f} s; {self.log_tail()}"
                )
            time.sleep(_POLL_S)


def log_tail(log_path: Path) -> str:
    """The last few kilobytes of a log file as text; empty if there is none."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""


def _rotate(log_path: Path) -> None:
    """Keep one earlier log file once the current one has grown large."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    if log_path.exists() and log_path.stat().st_size > _LOG_BYTES_MAX:
        log_path.replace(log_path.with_name(log_path.name + ".1"))


def _spawn(command: Command) -> tuple[subprocess.Popen[bytes], int]:
    log_path = command.log_path
    report, report_write = os.pipe()
    identity: list[str] = []
    if command.identity is not None:
        identity = ["--uid", str(command.identity.uid), "--gid", str(command.identity.gid)]
    argv = [
        *(sys.executable, "-I", "-S", str(_GUARD), *identity),
        *("--signal", command.stop_signal.name, "--grace", str(command.grace_s)),
        *("--report", str(report_write), "--", *command.argv),
    ]
    with os.fdopen(report, "rb") as reports:
        try:
            log = nullcontext(subprocess.PIPE) if log_path is None else log_path.open("ab")
            with log as output:
                guard = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if command.environ is None else dict(command.environ),
                    pass_fds=(report_write, *command.keep_open),
                    # A Ctrl-C in the terminal reaches us alone: we stop the servers in order.
                    start_new_session=True,
                )
        finally:
            os.close(report_write)
        kind, _, text = reports.readline().decode().strip().partition(" ")
    if kind != "pid":
        guard.communicate()
        reason = text or (log_tail(log_path) if log_path is not None else "no report")
        raise StartError(f"{command.name} could not be started: {reason}")
    return guard, int(text)
