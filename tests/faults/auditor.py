"""The auditor: compares what clients were told with what is stored, booked and refused.

In: a `Told`, and the stores as they are once everything is read. Out: a `Verdict`. The rules:

- every acknowledged event is stored, and as it was sent;
- nothing is stored twice, counted physically (merges are stopped meanwhile), acknowledged or not;
- nothing is stored that was never sent, or that was refused;
- every view equals its recount, and so do the ledger's minutes and the positions;
- received = stored + duplicate + rejected + dropped in every project and minute, stored = rows, and
  received lies between what was answered and what was attempted;
- every refusal is in the dead-letter topic, and the ledger counts exactly what is there.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.recounts import differences
from tests.faults.session_auditor import SessionCounts
from tests.faults.stores import ClickHouse, Kafka, Letter, Offsets
from tests.faults.traffic import EventKey, Told

SETTLE_TIMEOUT_S = 90.0
# How far a stored time may be from the true one: the time that a request may be on its way.
TIME_TOLERANCE_MS = 60_000
FLOW_STAGES = {"storage", "sessions", "insights"}


@dataclass
class Verdict:
    """What an audit found. `faults` is empty when every rule holds."""

    accepted: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    lost: int = 0
    doubled: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, counts: SessionCounts) -> None:
        """What an audit of the sessions found as well."""
        self.lost += counts.lost
        self.doubled += counts.doubled
        self.faults += counts.faults


@dataclass(frozen=True, slots=True)
class Expected:
    """What a scenario allows beside the usual.

    `gone`: acknowledged events that the fault itself destroyed, said so beforehand.
    `foreign`: projects into which records were put past the gateway, with the number of events.
    `offset_ms`: how far the gateway's own clock was off.
    `result_letters`: records of sessions and insights that nobody could read.
    `is_dated_wrong`: the gateway's clock was off, so times of receipt say nothing of lateness.
    """

    gone: frozenset[EventKey] = frozenset()
    foreign: Mapping[str, int] = field(default_factory=dict)
    offset_ms: int = 0
    is_dated_wrong: bool = False
    result_letters: int = 0


class Auditor:
    """Reads the stores of one site."""

    def __init__(self, store: ClickHouse, kafka: Kafka) -> None:
        self._store = store
        self._kafka = kafka
        self.begun: Offsets = {}

    def begin(self) -> None:
        """Remember where the topics end, and keep copies apart until `finish`."""
        self.begun = self._kafka.ends()
        self._store.run("SYSTEM STOP MERGES")

    def ends(self) -> Offsets:
        """Where the topics end now."""
        return self._kafka.ends()

    def parts(self) -> list[tuple[str, int]]:
        """All partitions that storage reads."""
        return sorted(self.begun)

    def finish(self) -> None:
        """Let copies be merged again."""
        self._store.run("SYSTEM START MERGES")

    def settle(self, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Wait until storage has written everything there is.

        Raises:
            AssertionError: it has not recovered in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            behind = self._behind()
            if not behind:
                return
            assert time.monotonic() < deadline, f"storage has not caught up: {behind}"
            time.sleep(0.2)

    def audit(
        self, told: Told, project_ids: Sequence[str], expected: Expected | None = None
    ) -> Verdict:
        """Check every rule for these projects; call it when all is settled."""
        allowed = expected or Expected()
        verdict = Verdict(accepted=len(told.acknowledged))
        verdict.faults += sorted(set(told.troubles))[:5]
        if told.unanswered:
            verdict.faults.append(f"{told.unanswered} events were never answered")
        self._audit_rows(verdict, told, project_ids, allowed)
        verdict.faults += differences(self._store, [*project_ids, *allowed.foreign])
        letters = self._audit_letters(verdict, told, project_ids)
        self._audit_ledger(verdict, told, [*project_ids, *allowed.foreign], letters, allowed)
        return verdict

    def _behind(self) -> dict[str, tuple[int, int]]:
        """Partitions that are not written to their end: name -> (written to, end)."""
        ends = self._kafka.ends()
        committed = self._kafka.committed()
        stored = {
            (row["t"], row["p"]): row["n"]
            for row in self._store.rows(
                "SELECT source_topic AS t, source_partition AS p, max(next_offset) AS n "
                "FROM flow_positions GROUP BY t, p"
            )
        }
        behind = {}
        for part, end in ends.items():
            begun = self.begun.get(part, 0)
            written = max(committed.get(part, (0, ""))[0], stored.get(part, 0))
            if written < end and end > begun:
                behind[f"{part[0]}:{part[1]}"] = (written, end)
        return behind

    def _audit_rows(
        self, verdict: Verdict, told: Told, project_ids: Sequence[str], allowed: Expected
    ) -> None:
        rows = self._store.rows(
            "SELECT project_id AS project, toString(event_id) AS id, count() AS copies, "
            "any(toString(session_id)) AS session, any(event_type) AS kind, any(path) AS path, "
            "any(title) AS title, any(anonymous_id) AS visitor, any(device_type) AS device, "
            "any(toUnixTimestamp64Milli(timestamp)) AS at_ms "
            f"FROM events WHERE project_id IN ({_quoted(project_ids)}) GROUP BY project, id"
        )
        stored = {(row["project"], row["id"]): row for row in rows}
        verdict.stored = sum(row["copies"] for row in rows)
        verdict.doubled = sum(row["copies"] - 1 for row in rows)
        missing = told.acknowledged.keys() - stored.keys() - allowed.gone
        verdict.lost = len(missing)
        if missing:
            verdict.faults.append(f"{len(missing)} acknowledged events lost: {sorted(missing)[:3]}")
        if verdict.doubled:
            twice = [key for key, row in stored.items() if row["copies"] > 1]
            verdict.faults.append(f"{verdict.doubled} rows too many: {sorted(twice)[:3]}")
        strangers = stored.keys() - told.sent.keys()
        if strangers:
            verdict.faults.append(f"{len(strangers)} rows nobody sent: {sorted(strangers)[:3]}")
        wrong = []
        for key in stored.keys() & told.sent.keys():
            row, event = stored[key], told.sent[key]
            is_right = (
                not event.bad_reason
                and row["session"] == event.session_id
                and row["kind"] == event.kind
                and row["path"] == event.path
                and row["title"] == f"Page {event.path}"
                and row["visitor"] == event.visitor
                and row["device"] == event.device
                and abs(row["at_ms"] - event.at_ms - allowed.offset_ms) <= TIME_TOLERANCE_MS
            )
            if not is_right:
                wrong.append((key, row, event))
        if wrong:
            verdict.faults.append(f"{len(wrong)} rows not as sent: {wrong[:2]}")

    def _audit_letters(
        self, verdict: Verdict, told: Told, project_ids: Sequence[str]
    ) -> list[Letter]:
        letters = self._kafka.letters(self.begun)
        known: dict[EventKey, set[str]] = defaultdict(set)
        for letter in letters:
            known[letter.project_id, letter.event_id].add(letter.reason)
            if letter.stage == "gateway" and letter.payload_bytes == 0:
                verdict.faults.append(f"a dead letter without its event: {letter}")
        for key, reasons in told.rejected.items():
            if not reasons <= known[key]:
                verdict.faults.append(f"refused for {reasons}, and no dead letter says so: {key}")
        return letters

    def _audit_ledger(
        self,
        verdict: Verdict,
        told: Told,
        project_ids: Sequence[str],
        letters: Sequence[Letter],
        allowed: Expected,
    ) -> None:
        entries = self._store.rows(
            "SELECT project_id AS project, toString(minute) AS minute, outcome, reason, "
            f"sum(events) AS events FROM ledger_minutes WHERE project_id IN "
            f"({_quoted(project_ids)}) GROUP BY project, minute, outcome, reason"
        )
        sums: Counter[tuple[str, str]] = Counter()
        minutes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        rejected: Counter[tuple[str, str]] = Counter()
        for row in entries:
            sums[row["project"], row["outcome"]] += row["events"]
            minutes[row["project"], row["minute"]][row["outcome"]] += row["events"]
            if row["outcome"] == "rejected":
                rejected[row["project"], row["reason"]] += row["events"]
        self._audit_minutes(verdict, project_ids, minutes)
        # A flow may write a letter again with the block it belongs to; it is the same letter.
        once = {one.rejection_id: one for one in letters if one.stage in FLOW_STAGES}
        of_results = [one for one in once.values() if one.stage != "storage"]
        if len(of_results) < allowed.result_letters:
            verdict.faults.append(f"{len(of_results)} dead letters of results: {of_results[:2]}")
        counted: Counter[tuple[str, str]] = Counter()
        # The ledger is of events, not of what was made of them.
        of_storage = [one for one in once.values() if one.stage == "storage"]
        for letter in [*(one for one in letters if one.stage not in FLOW_STAGES), *of_storage]:
            if letter.project_id in project_ids:
                counted[letter.project_id, letter.reason] += letter.event_count
        if counted != rejected:
            verdict.faults.append(f"the ledger refused {rejected}, dead letters say {counted}")
        for project_id in project_ids:
            received = sums[project_id, "received"]
            low = told.answered[project_id] + allowed.foreign.get(project_id, 0)
            high = told.attempted[project_id] + allowed.foreign.get(project_id, 0)
            gone = sum(told.acknowledged[key] for key in allowed.gone if key[0] == project_id)
            if not low - gone <= received <= high:
                verdict.faults.append(
                    f"{project_id}: {received} received, {low} answered, {high} attempted"
                )
        verdict.duplicates = sum(n for (_, outcome), n in sums.items() if outcome == "duplicate")
        verdict.rejected = sum(rejected.values())

    def _audit_minutes(
        self,
        verdict: Verdict,
        project_ids: Sequence[str],
        minutes: Mapping[tuple[str, str], Counter[str]],
    ) -> None:
        counted = {
            (row["project"], row["minute"]): row["events"]
            for row in self._store.rows(
                "SELECT project_id AS project, toString(toStartOfMinute(received_at)) AS minute, "
                f"count() AS events FROM events WHERE project_id IN ({_quoted(project_ids)}) "
                "GROUP BY project, minute"
            )
        }
        for place in sorted(minutes.keys() | counted.keys()):
            booked = minutes.get(place, Counter())
            outcomes = sum(n for outcome, n in booked.items() if outcome != "received")
            if booked["received"] != outcomes:
                verdict.faults.append(f"the ledger does not add up: {place} {dict(booked)}")
            if booked["stored"] != counted.get(place, 0):
                verdict.faults.append(
                    f"{place}: {booked['stored']} booked as stored, {counted.get(place, 0)} rows"
                )


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)
