"""One fault from its seed to its verdict.

In: a site, a kind, a seed, a size. Out: an `Outcome`. A scenario makes its load and its fault; what
is common is here: projects, clients, recovery, the audit, memory, logs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tests.faults.auditor import Auditor, Expected, Verdict
from tests.faults.events import EventMaker, MadeEvent
from tests.faults.kept import Kept
from tests.faults.session_auditor import SessionAuditor, SessionCounts
from tests.faults.site import GROUP, Site
from tests.faults.stores import ClickHouse, Kafka
from tests.faults.traffic import Load, Plan, ProjectDoor, Told
from tests.faults.visits import VisitMaker

CLIENTS = 6
GIVE_UP_S = 100.0
TAIL_CHARS = 4_000  # Of each log, where a fault failed without a verdict.
# Bounds of resident memory: four times what a process has at rest, whatever is away.
MEMORY_BYTES_MAX = {
    "gateway": 250 << 20,
    "storage": 700 << 20,
    "behaviour": 400 << 20,
    "results": 500 << 20,
}
# Of the events, those that belong to visits that mean something.
VISITS_SHARE = 0.4
VISITS_S_MAX = 20.0
LOG_INTERVAL_S = 60.0
LOG_LINES_MAX = 3_000
PLAIN_LINES_MAX = 40  # Lines that are no JSON.
TRACES_MAX = 3


@dataclass
class Fault:
    """What a scenario works with."""

    site: Site
    auditor: Auditor
    sessions: SessionAuditor
    kind: str
    seed: int
    size: int
    chance: random.Random
    is_short: bool
    began_at_s: float = field(default_factory=time.time)
    doors: list[ProjectDoor] = field(default_factory=list)
    marks: dict[Kept, int] = field(default_factory=dict)
    expected: Expected = field(default_factory=Expected)
    told: Told = field(default_factory=Told)
    # Each entry: one of these names must be in the logs of these processes.
    must_log: list[tuple[tuple[Kept, ...], tuple[str, ...]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # What the scenario itself found wrong.
    notes: list[str] = field(default_factory=list)  # Figures for the line.

    @property
    def project_ids(self) -> list[str]:
        """Those that are audited."""
        return [door.project_id for door in self.doors]

    def require(self, is_so: bool, text: str) -> None:
        """Note a fault unless something is so."""
        if not is_so:
            self.faults.append(text)

    def expect_log(self, processes: Kept | list[Kept], *names: str) -> None:
        """One of these processes must say one of these events."""
        group = (processes,) if isinstance(processes, Kept) else tuple(processes)
        self.must_log.append((group, names))

    def has_logged(self, processes: Sequence[Kept], name: str) -> bool:
        """Whether one of these processes has said this, now or just before the fault."""
        return any(line.get("event") == name for p in processes for line in _recent(self, p))

    def mark(self, process: Kept) -> int:
        """Where the process's log was when the fault began; 0 for one that came later."""
        return self.marks.get(process, 0)

    def kill_another(self) -> None:
        """In half of the cases also kill -9 of a process that makes sessions and insights."""
        if self.chance.random() < 0.5:
            process = self.chance.choice(self.site.others)
            process.kill()
            self.notes.append(f"and={process.name}")
            self.expect_log(process, "flow_started")

    def plans(
        self,
        *,
        load_s: float | None = None,
        maker: EventMaker | None = None,
        twice_share: float = 0.05,
        size: int | None = None,
        has_visits: bool = True,
    ) -> list[Plan]:
        """The usual clients: two projects, every sixth client by gRPC, some events sent twice."""
        chance = self.chance
        duration_s = load_s if load_s is not None else (3.0 if self.is_short else 5.0)
        makers = {door: maker or EventMaker(chance) for door in self.doors}
        plans = [
            Plan(self.doors[n % len(self.doors)], [], is_grpc=n == CLIENTS - 1)
            for n in range(CLIENTS)
        ]
        for plan in plans:
            plan.has_sent_at = chance.random() < 0.7
        now_ms = time.time_ns() // 1_000_000

        def add(number: int, due_s: float, event: MadeEvent) -> None:
            plans[number].events.append((due_s, event))
            if chance.random() < twice_share:
                other = plans[(number + len(self.doors)) % CLIENTS]
                other.events.append((chance.uniform(due_s, max(due_s, duration_s)), event))

        count = size if size is not None else self.size
        visits = VisitMaker(chance)
        told = 0
        while has_visits and told < count * VISITS_SHARE:
            number = chance.randrange(CLIENTS)
            visit = visits.make(now_ms, min(duration_s, VISITS_S_MAX))
            told += len(visit.events)
            plans[number].scripts[visit.session_id] = visit.script
            for due_s, event in visit.events:
                add(number, due_s, event)
        for _ in range(count - told):
            number = chance.randrange(CLIENTS)
            due_s = chance.uniform(0, duration_s)
            (event,) = makers[plans[number].door].make(1, now_ms + int(due_s * 1000))
            add(number, due_s, event)
        return plans

    def load(self, plans: list[Plan] | None = None, give_up_s: float = GIVE_UP_S) -> Load:
        """A load that has begun."""
        chosen = plans if plans is not None else self.plans()
        site = self.site
        return Load(site.http_url, site.grpc_address, chosen, self.chance, give_up_s).start()

    def finish(self, load: Load) -> None:
        """Wait for the clients and keep what they were told."""
        self.told = load.join()

    def between(self, low: float, high: float) -> float:
        """A number from the seed."""
        return self.chance.uniform(low, high)


Scenario = Callable[[Fault], None]
SessionAudit = Callable[[], SessionCounts]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the campaign."""

    kind: str
    seed: int
    size: int
    verdict: Verdict
    seconds: float
    notes: tuple[str, ...]
    is_short: bool = False

    @property
    def is_good(self) -> bool:
        """Whether every rule held."""
        return not self.verdict.faults

    @property
    def command(self) -> str:
        """What repeats it."""
        short = " SHORT=1" if self.is_short else ""
        return f"make faults SEED={self.seed} KIND={self.kind} SIZE={self.size}{short}"

    def line(self) -> str:
        """The result on one line."""
        v = self.verdict
        text = (
            f"{self.kind:<6} seed={self.seed:<10} accepted={v.accepted:<6} stored={v.stored:<6} "
            f"duplicates={v.duplicates:<5} rejected={v.rejected:<5} lost={v.lost:<3} "
            f"doubled={v.doubled:<3} seconds={self.seconds:<5.1f} "
            f"{'ok' if self.is_good else 'FAILED'}"
        )
        return " ".join([text, *self.notes])


def run_fault(
    site: Site,
    kind: str,
    scenario: Scenario,
    seed: int,
    size: int,
    *,
    is_short: bool,
    gateways: int = 1,
    flows: Mapping[str, int] | None = None,
    later: list[SessionAudit] | None = None,
) -> Outcome:
    """Arrange, break, mend, audit. What goes wrong is in the outcome, not raised.

    With `later`, the audit of sessions is added to it, to be made when their last rows are due.
    """
    began_s = time.monotonic()
    store = ClickHouse(site.urls["CLICKHOUSE_URL"])
    kafka = Kafka(site.urls["KAFKA_BROKERS"], GROUP)
    auditor, sessions = Auditor(store, kafka), SessionAuditor(store, kafka)
    chance = random.Random(f"{kind} {seed}")
    fault = Fault(site, auditor, sessions, kind, seed, size, chance, is_short)
    verdict = Verdict()
    try:
        site.arrange(gateways=gateways, **(flows or {}))
        site.keep_copies_apart = True
        fault.doors = [site.project() for _ in range(2)]
        fault.marks = {process: process.mark() for process in site.ours}
        for process in site.ours:
            process.memory_bytes_max = 0
        auditor.begin()
        sessions.begin()
        scenario(fault)
        site.mend()
        site.start_ours()
        # Results may have letters for storage to book.
        sessions.wait_read(fault.project_ids)
        sessions.wait_results()
        auditor.settle()
        verdict = auditor.audit(fault.told, fault.project_ids, fault.expected)
        session_audit = partial(
            sessions.audit,
            fault.told,
            fault.project_ids,
            is_dated_wrong=fault.expected.is_dated_wrong,
        )
        if later is None:
            counts = session_audit()
            verdict.add(counts)
            fault.notes.append(counts.line())
        else:
            later.append(session_audit)
        verdict.faults += _after_checks(fault)
    except Exception as error:
        verdict.faults.append(f"{type(error).__name__}: {error}")
        verdict.faults += _tails(fault)
    finally:
        site.keep_copies_apart = False
        _finish(site, auditor, verdict)
    verdict.faults += fault.faults
    seconds = time.monotonic() - began_s
    return Outcome(kind, seed, size, verdict, seconds, tuple(fault.notes), is_short)


def _finish(site: Site, auditor: Auditor, verdict: Verdict) -> None:
    try:
        site.mend()
        auditor.finish()
    except Exception as error:
        verdict.faults.append(f"the site cannot be mended: {type(error).__name__}: {error}")


def _after_checks(fault: Fault) -> list[str]:
    """Memory, and what the logs say and do not say."""
    found = []
    memory: Mapping[str, int] = {p.name: p.memory_bytes_max for p in fault.site.ours}
    for name, used in memory.items():
        bound = MEMORY_BYTES_MAX[name.partition("-")[0]]
        if used > bound:
            found.append(f"{name} had {used >> 20} MB of memory, the bound is {bound >> 20} MB")
    fault.notes.append(f"memory_mb={'/'.join(str(used >> 20) for used in memory.values())}")
    for processes, names in fault.must_log:
        said = {e.get("event") for p in processes for e in _recent(fault, p)}
        if said.isdisjoint(names):
            who = ", ".join(p.name for p in processes)
            found.append(f"{who} said none of {names}, but {sorted(map(str, said))}")
    for process in fault.site.ours:
        lines = process.text_since(fault.mark(process)).splitlines()
        plain = [line for line in lines if line and not line.startswith("{")]
        traces = sum(line.startswith("Traceback") for line in plain)
        if len(lines) > LOG_LINES_MAX or len(plain) > PLAIN_LINES_MAX or traces > TRACES_MAX:
            found.append(
                f"{process.name} wrote {len(lines)} lines, {len(plain)} of them no JSON, "
                f"{traces} traces: {plain[:2]} ... {plain[-2:]}"
            )
        if any('"event":"request_failed"' in line for line in lines):
            found.append(f"{process.name} logged request_failed")
    return found


def _recent(fault: Fault, process: Kept) -> list[dict[str, Any]]:
    """What a process said during the fault, and in the minute before.

    The same line is written once a minute, so the one before may stand for this fault, too.
    """
    lines = process.events_since(fault.mark(process))
    since = datetime.fromtimestamp(fault.began_at_s - LOG_INTERVAL_S, UTC).isoformat()
    before = process.events_since(0)
    return lines + [line for line in before if str(line.get("timestamp", "")) >= since]


def _tails(fault: Fault) -> list[str]:
    """The last lines of our processes, for an error text."""
    return [
        f"{process.name}: ... {process.text_since(fault.mark(process))[-TAIL_CHARS:]}"
        for process in fault.site.ours
    ]


def wait_until(is_so: Callable[[], bool], timeout_s: float) -> None:
    """Until something is so, or not so in time: then what comes is tried all the same."""
    deadline = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
