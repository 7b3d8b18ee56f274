"""Runs the cases of one entry against a target and judges what the target did.

In: an entry, a seed, a time. Out: an `EntryReport`. A slow answer, or a jump of memory, is only a
suspicion, because the machine may be busy: it counts if the same case does it in each of three
repetitions alone. Every finding leaves a file with the case's bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.fuzz.client import BODY_BYTES_ALLOWED, Client, Outcome
from tests.fuzz.entries import Case, make_case

ANSWER_S = 0.5
GROWTH_BYTES_MAX = 20 * 1024 * 1024
JUMP_BYTES = 10 * 1024 * 1024  # From here on a case is looked at alone.
REPETITIONS = 3
BLOCK_CASES = 1_000
WORKERS = 4
SUSPECTS_MAX = 10  # A block.
FINDINGS_MAX = 20  # An entry; more say nothing new.
BAD_GRPC = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "DATA_LOSS"})
MIB = 1024 * 1024


class Target(Protocol):
    """A running server process."""

    host: str
    http_port: int
    grpc_port: int | None
    key: str

    def is_alive(self) -> bool:
        """Whether the process runs."""

    def memory_bytes(self) -> int:
        """Its resident memory now."""

    def peak_bytes(self) -> int:
        """The most it ever was, since `forget_peak`."""

    def forget_peak(self) -> None:
        """Begin to measure the peak anew."""

    async def check_good(self) -> str | None:
        """Send a good batch; None if it was taken and written, else what is wrong."""

    def log_failures(self) -> list[str]:
        """Failures that it logged since the last call."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be; `path` has the bytes."""

    kind: str
    entry: str
    seed: int
    number: int
    detail: str
    path: Path | None

    def __str__(self) -> str:
        where = f" bytes={self.path}" if self.path else ""
        return (
            f"{self.kind}: entry={self.entry} seed={self.seed} case={self.number}"
            f" {self.detail}{where}"
        )


@dataclass(slots=True)
class EntryReport:
    """What one entry came to."""

    entry: str
    cases: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    worst_s: float = 0.0
    growth_bytes: int = 0
    peak_bytes: int = 0
    good_batches: int = 0
    findings: list[Finding] = field(default_factory=list)

    def line(self) -> str:
        """One line of figures."""
        statuses = " ".join(f"{name}={count}" for name, count in self.statuses.most_common())
        return (
            f"{self.entry}: cases={self.cases} rate={self.cases / max(self.seconds, 0.001):.0f}/s"
            f" worst={self.worst_s * 1000:.0f}ms growth={self.growth_bytes / MIB:.1f}MiB"
            f" peak={self.peak_bytes / MIB:.1f}MiB good={self.good_batches}"
            f" findings={len(self.findings)} | {statuses}"
        )


def fault_of(case: Case, outcome: Outcome) -> str | None:
    """What is wrong with these statuses, whatever the machine does; None if nothing is."""
    statuses = outcome.statuses
    allowed = {"501", "505"}
    if b" /ready " in case.wire().partition(b"\r\n")[0]:
        allowed.add("503")  # That is what it is asked for: a server did not answer in time.
    for status in statuses:
        if status in BAD_GRPC:
            return f"status {status}"
        if status.isdigit() and int(status) >= 500 and status not in allowed:
            return f"status {status}"
        if status in ("no connection", "no answer"):
            return status
    if case.answers is not None and case.transport == "http":
        may_close = len(case.wire()) > BODY_BYTES_ALLOWED
        if "closed" in statuses and not may_close:
            return "a well-formed request was closed without an answer"
    return None


class EntryRun:
    """One entry against one target."""

    def __init__(
        self,
        entry: str,
        seed: int,
        target: Target,
        folder: Path,
        *,
        block_cases: int = BLOCK_CASES,
        findings_max: int = FINDINGS_MAX,
    ) -> None:
        self._block_cases = block_cases
        self._findings_max = findings_max
        self._entry = entry
        self._seed = seed
        self._target = target
        self._folder = folder
        self._next = 0
        self.report = EntryReport(entry)

    async def run(self, seconds: float, *, first_case: int = 0) -> EntryReport:
        """Blocks of cases until the time is over; the first block warms up."""
        started_s = time.perf_counter()
        self._next = first_case
        report, target = self.report, self._target
        baseline: int | None = None
        while True:
            left_s = seconds - (time.perf_counter() - started_s)
            suspects = await self._run_block(self._block_cases, left_s)
            for case, kind in suspects[:SUSPECTS_MAX]:
                await self._examine(case, kind)
            await self._check_target()
            if not target.is_alive():
                break
            memory = target.memory_bytes()
            if baseline is None:
                baseline = memory
                target.forget_peak()
            report.growth_bytes = memory - baseline
            report.seconds = time.perf_counter() - started_s
            if report.seconds >= seconds or len(report.findings) >= self._findings_max:
                break
        report.peak_bytes = _peak(target)
        if report.growth_bytes > GROWTH_BYTES_MAX:
            self._find("growth", None, f"{report.growth_bytes / MIB:.1f} MiB since the warm-up")
        return report

    async def _run_block(self, cases: int, seconds: float) -> list[tuple[Case, str]]:
        suspects: list[tuple[Case, str]] = []
        end = self._next + cases
        deadline_s = time.perf_counter() + max(seconds, 0.2)

        async def work() -> None:
            client = self._client()
            try:
                while self._next < end and time.perf_counter() < deadline_s:
                    number, self._next = self._next, self._next + 1
                    case = make_case(self._entry, self._seed, number, self._target.key)
                    kind = await self._send(client, case)
                    if kind is not None:
                        suspects.append((case, kind))
                        if kind in ("no connection", "no answer"):
                            return
            finally:
                await client.close()

        await asyncio.gather(*(work() for _ in range(WORKERS)))
        return suspects

    async def _send(self, client: Client, case: Case) -> str | None:
        """Send one case, count it; a suspicion or None."""
        report, target = self.report, self._target
        peak = _peak(target)
        outcome = await client.send(case)
        report.cases += 1
        for status in outcome.statuses:
            report.statuses[status] += 1
        report.worst_s = max(report.worst_s, outcome.seconds)
        fault = fault_of(case, outcome)
        if fault is not None:
            return fault
        if outcome.seconds > ANSWER_S:
            return "slow"
        if _peak(target) - peak > JUMP_BYTES:
            return "memory"
        return None

    async def _examine(self, case: Case, kind: str) -> None:
        """Repeat a suspicious case alone."""
        seconds: list[float] = []
        jumps: list[int] = []
        faults: list[str] = []
        for _ in range(REPETITIONS):
            client = self._client()
            if not self._target.is_alive():
                break
            self._target.forget_peak()
            before = self._target.memory_bytes()
            try:
                outcome = await client.send(case)
            finally:
                await client.close()
            seconds.append(outcome.seconds)
            jumps.append(_peak(self._target) - before)
            fault = fault_of(case, outcome)
            faults += [fault] if fault else []
        if not self._target.is_alive():
            self._find("crash", case, kind)
            return
        if len(faults) == REPETITIONS:
            self._find("fault", case, faults[0])
        elif faults or kind.startswith("status 500"):
            self._find("fault", case, f"{kind}, {len(faults)} of {REPETITIONS} repetitions")
        if min(seconds) > ANSWER_S:
            self._find("slow", case, f"{min(seconds):.2f} s in the best of {REPETITIONS}")
        if min(jumps) > GROWTH_BYTES_MAX:
            self._find("memory", case, f"{min(jumps) / MIB:.1f} MiB at once")

    async def _check_target(self) -> None:
        target = self._target
        if not target.is_alive():
            if not any(finding.kind == "crash" for finding in self.report.findings):
                self._find("crash", None, "the process ended")
            return
        fault = await target.check_good()
        if fault is None:
            self.report.good_batches += 1
        else:
            self._find("good batch", None, fault)
        for line in target.log_failures()[:3]:
            self._find("logged", None, line)

    def _client(self) -> Client:
        target = self._target
        return Client(target.host, target.http_port, target.grpc_port)

    def _find(self, kind: str, case: Case | None, detail: str) -> None:
        number = case.number if case else self._next
        path: Path | None = None
        if case is not None:
            path = self._folder / f"{self._entry}-{self._seed}-{number}-{kind}.bin"
            path.write_bytes(case.wire())
        self.report.findings.append(Finding(kind, self._entry, self._seed, number, detail, path))


def _peak(target: Target) -> int:
    """The peak of a process; 0 if it has ended, also just now."""
    try:
        return target.peak_bytes() if target.is_alive() else 0
    except OSError:
        return 0


async def run_one(
    entry: str, seed: int, number: int, target: Target, tell: Callable[[str], None]
) -> None:
    """Send one case again and tell what comes back."""
    case = make_case(entry, seed, number, target.key)
    client = Client(target.host, target.http_port, target.grpc_port)
    outcome = await client.send(case)
    await client.close()
    tell(f"{len(case.wire())} bytes: {' '.join(outcome.statuses)} in {outcome.seconds:.3f} s")
    tell(f"verdict: {fault_of(case, outcome) or 'nothing wrong'}")
