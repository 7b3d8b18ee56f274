"""Keeps our own processes running: start, wait until ready, restart with back-off, stop in order.

In: a list of process specifications. Out: running processes; an exit code at the end. Guarantees:
the children end when this process ends, in whatever way; a process that dies again and again is
given up after a budget, and then all are stopped; `stop` has a bound for each process.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from standalone.http_probe import is_ok
from standalone.process import Command, GuardedProcess, StartError

_POLL_S = 0.1
_PROBE_TIMEOUT_S = 2.0

EXIT_STOPPED = 0
EXIT_GAVE_UP = 1


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep running.

    `environ` is its whole environment; None inherits ours. `ready_url` answers a GET with 200 once
    it is ready; "" means ready as soon as it runs. Its output goes to `log_path`; without one the
    supervisor's `on_line` gets each line. SIGTERM asks it to stop, SIGKILL follows `grace_s` later.
    """

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str] | None = None
    ready_url: str = ""
    log_path: Path | None = None
    ready_timeout_s: float = 60.0
    # Source: deployment.md, section 4: stop accepting, drain, flush, exit 0 within 30 s.
    grace_s: float = 30.0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often and how soon a dead process is started again.

    The pause doubles from `delay_first_s` to `delay_max_s` with each death within `window_s`; more
    than `restarts_max` of them in the window are too many.
    """

    restarts_max: int = 8
    window_s: float = 120.0
    delay_first_s: float = 0.5
    delay_max_s: float = 15.0

    def __post_init__(self) -> None:
        assert self.restarts_max >= 0
        assert 0 < self.delay_first_s <= self.delay_max_s
        assert self.window_s > 0


class RestartBudget:
    """The deaths of one process, and what follows from them. Pure: time is passed in."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._deaths: deque[float] = deque(maxlen=policy.restarts_max + 1)

    def pause_after_death(self, now_s: float) -> float | None:
        """Seconds to wait before the next start, or None when the budget is spent."""
        policy = self._policy
        while self._deaths and now_s - self._deaths[0] > policy.window_s:
            self._deaths.popleft()
        self._deaths.append(now_s)
        if len(self._deaths) > policy.restarts_max:
            return None
        doubled: float = policy.delay_first_s * 2 ** (len(self._deaths) - 1)
        return min(policy.delay_max_s, doubled)


# Called with a process's name and what happened to it, in words.
OnEvent = Callable[[str, str], None]
# Called with a process's name and one line of its output; from a thread of the supervisor.
OnLine = Callable[[str, str], None]


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    budget: RestartBudget
    process: GuardedProcess | None = None
    is_ready: bool = False
    # When a dead process is started again.
    start_at_s: float = 0.0
    readers: list[threading.Thread] = field(default_factory=list)


class Supervisor:
    """Runs processes until told to stop.

    They are started together and stopped one after the other in the order of the list: name first
    what takes in work, so that the rest can drain. With `stops_together` all are told at once.
    `request_stop` may be called from a signal handler or another thread.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        policy: RestartPolicy | None = None,
        on_event: OnEvent | None = None,
        on_line: OnLine | None = None,
        *,
        stops_together: bool = False,
    ) -> None:
        names = [spec.name for spec in specs]
        assert len(set(names)) == len(names), f"two processes have one name: {names}"
        restart = policy or RestartPolicy()
        self._children = [_Child(spec, RestartBudget(restart)) for spec in specs]
        self._on_event = on_event or _ignore
        self._on_line = on_line or _ignore
        self._stops_together = stops_together
        # A plain flag, not an Event: a signal handler must not wait for a lock.
        self._is_stop_requested = False

    @property
    def process_ids(self) -> dict[str, int]:
        """The process id of each running process by its name."""
        return {
            child.spec.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.returncode is None
        }

    def start(self) -> None:
        """Start all and wait until each is ready, or until a stop is requested.

        Raises:
            StartError: one did not get ready; all are stopped again.
        """
        try:
            for child in self._children:
                self._spawn(child)
            began_s = time.monotonic()
            while not self._is_stop_requested and not all(c.is_ready for c in self._children):
                for child in self._children:
                    self._wait_a_little(child, began_s)
                time.sleep(_POLL_S)
        except BaseException:
            self.stop()
            raise

    def run(self) -> int:
        """Watch until a stop is requested or a budget is spent; then stop all.

        Returns:
            EXIT_STOPPED, or EXIT_GAVE_UP when a process died too often.
        """
        try:
            while not self._is_stop_requested:
                for child in self._children:
                    if not self._watch(child):
                        return EXIT_GAVE_UP
                time.sleep(_POLL_S)
            return EXIT_STOPPED
        finally:
            self.stop()

    def request_stop(self) -> None:
        """Make `start` and `run` return soon."""
        self._is_stop_requested = True

    def stop(self) -> None:
        """Stop what runs, one after the other. Does nothing the second time."""
        running = self.process_ids
        if self._stops_together:
            for child in self._children:
                if child.process is not None:
                    child.process.request_stop()
        for child in self._children:
            process, child.process = child.process, None
            if process is None:
                continue
            code = process.stop()
            if child.spec.name in running:
                self._on_event(child.spec.name, f"stopped (exit code {code})")
            for reader in child.readers:
                reader.join()
            child.readers.clear()

    def _spawn(self, child: _Child) -> None:
        spec = child.spec
        child.is_ready = False
        child.process = GuardedProcess(
            Command(spec.name, spec.argv, spec.log_path, spec.environ, grace_s=spec.grace_s)
        )
        output = child.process.output
        if output is not None:
            reader = threading.Thread(target=self._read_lines, args=(spec.name, output))
            reader.start()
            child.readers = [reader]
        self._on_event(spec.name, f"started (process {child.process.pid})")

    def _read_lines(self, name: str, output: IO[bytes]) -> None:
        with output, contextlib.suppress(ValueError):
            for line in output:
                self._on_line(name, line.decode("utf-8", "replace").rstrip("\n"))

    def _probe(self, child: _Child) -> bool:
        """Note the moment in which the child becomes ready."""
        url = child.spec.ready_url
        if not child.is_ready and (not url or is_ok(url, _PROBE_TIMEOUT_S)):
            child.is_ready = True
            self._on_event(child.spec.name, "ready")
        return child.is_ready

    def _wait_a_little(self, child: _Child, began_s: float) -> None:
        assert child.process is not None
        spec = child.spec
        code = child.process.returncode
        if code is not None:
            raise StartError(
                f"{spec.name} ended with code {code} while starting; {child.process.log_tail()}"
            )
        if not self._probe(child) and time.monotonic() - began_s > spec.ready_timeout_s:
            raise StartError(
                f"{spec.name} was not ready after {spec.ready_timeout_s:.0f} s; "
                f"{child.process.log_tail()}"
            )

    def _watch(self, child: _Child) -> bool:
        """Restart the child if it is dead and its pause is over; False gives up."""
        now_s = time.monotonic()
        if child.process is None:
            if now_s >= child.start_at_s:
                self._spawn(child)
            return True
        code = child.process.returncode
        if code is None:
            self._probe(child)
            return True
        child.process = None
        pause_s = child.budget.pause_after_death(now_s)
        if pause_s is None:
            self._on_event(child.spec.name, f"died (exit code {code}) too often; giving up")
            return False
        child.start_at_s = now_s + pause_s
        self._on_event(child.spec.name, f"died (exit code {code}); next start in {pause_s:.1f} s")
        return True


def _ignore(_name: str, _text: str) -> None:
    return None
