"""The auditor of sessions and insights: what visitors did, and what was made of it.

In: what clients were told, the raw topic, the two topics of results, and the tables `sessions` and
`insights` under FINAL. Out: sentences about what is wrong; none when every rule holds:

- every session of an acknowledged event has a row, and no other has one;
- what the row counts is what a recount of the events says (`session_truth`);
- insights are those that the reference finds (`session_replay`), once each, equal in all columns;
  in a visit that came in time they are those that its script put in;
- revisions of a session are committed once each, in order, without a gap;
- the tables hold the last committed row of each session, and each committed insight.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flows.core.insight import Insight
from flows.core.session_row import SessionRow
from tests.faults.session_judge import judge
from tests.faults.session_log import RAW_PARTS, RESULT_PARTS, Arrival, Results, SessionLog
from tests.faults.session_replay import Expectation, Outcome, Replayer
from tests.faults.stores import ClickHouse, Kafka, Offsets
from tests.faults.traffic import SessionKey, Told

# A project's own settings, so that a fault need not wait for long: what is due comes soon.
SETTINGS = {"insights": {"hold_ms": 1_500, "slow_page": {"collect_ms": 1_000}}}
SETTLE_TIMEOUT_S = 60.0
GROUPS = {"behaviour": "gosight-behaviour", "results": "gosight-results"}
# From a due timer of a quiet partition to its rows: the clock's distance, asking, a step, a block.
PASS_S = 2.5
SHOWN_MAX = 3
CLOCK_OFF_MS = 60_000


@dataclass
class SessionCounts:
    """What an audit looked at. `late` sessions had an event that came too late for its detectors;
    of `open` ones the log does not say all about the clock.
    """

    sessions: int = 0
    insights: int = 0
    scripted: int = 0
    late: int = 0
    open: int = 0
    lost: int = 0
    doubled: int = 0
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Figures for the line of a fault."""
        return (
            f"sessions={self.sessions} insights={self.insights} scripted={self.scripted} "
            f"late={self.late} open={self.open}"
        )


class SessionAuditor:
    """Reads what the behaviour and results flows were given and gave."""

    def __init__(self, store: ClickHouse, kafka: Kafka) -> None:
        self._store = store
        self._kafka = kafka
        self._log = SessionLog(kafka)
        self._begun: Offsets = {}
        self._replayer = Replayer(SETTINGS)

    def begin(self) -> None:
        """Remember where the topics end."""
        self._log.read(())
        self._begun = self._kafka.ends_of(RESULT_PARTS)

    def wait_read(self, project_ids: Collection[str]) -> None:
        """Read the raw topic on, and wait until the behaviour flow has done so.

        Raises:
            AssertionError: it has not recovered in time.
        """
        self._log.read(project_ids)
        self._wait("behaviour", self._kafka.ends_of(RAW_PARTS))

    def wait_results(self) -> None:
        """Wait until the results flow has written what there is.

        Raises:
            AssertionError: it has not recovered in time.
        """
        ends: Offsets = {}
        # Not where the partitions end: the marker of a transaction comes after its records.
        for record in self._kafka.records(
            self._begun, self._kafka.ends_of(RESULT_PARTS), is_committed=True
        ):
            ends[record.part] = record.offset + 1
        self._wait("results", ends)

    def _wait(self, flow: str, ends: Offsets) -> None:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            done = self._kafka.committed(ends, GROUPS[flow])
            told = {part: done.get(part, (0, ""))[0] for part in ends}
            behind = {
                part: f"{told[part]} of {end}" for part, end in ends.items() if told[part] < end
            }
            if not behind:
                return
            assert time.monotonic() < deadline, f"{flow} has not caught up: {behind}"
            time.sleep(0.3)

    def results(self, project_ids: Collection[str]) -> Results:
        """All that was committed since the beginning."""
        return self._log.results(self._begun, project_ids)

    def audit(
        self,
        told: Told,
        project_ids: Collection[str],
        *,
        is_dated_wrong: bool = False,
        settle_s: float = SETTLE_TIMEOUT_S,
    ) -> SessionCounts:
        """Wait until all that is due has been written, then check every rule.

        What is missing is given time; what is too much or wrong would stay.
        """
        self._log.read(project_ids)
        now_ms = time.time_ns() // 1_000_000
        expected = {
            key: self._replayer.expect(arrivals, max(now_ms, self._clock_of(arrivals)))
            for key, arrivals in self._log.arrivals.items()
            if not (is_dated_wrong and any(map(_is_off, arrivals)))
        }
        settled_s = max((one.settled_at_ms for one in expected.values()), default=0) / 1000
        wait_s = settled_s + PASS_S - time.time()
        if 0 < wait_s < settle_s:
            time.sleep(wait_s)
        deadline = time.monotonic() + settle_s
        while True:
            counts = self._check(told, project_ids, expected)
            if not counts.faults or time.monotonic() > deadline:
                return counts
            time.sleep(0.5)

    def _clock_of(self, arrivals: Sequence[Arrival]) -> int:
        return self._log.clocks[arrivals[0].partition]

    def _check(
        self,
        told: Told,
        project_ids: Collection[str],
        expected: Mapping[SessionKey, Expectation],
    ) -> SessionCounts:
        counts = SessionCounts(
            sessions=len(self._log.arrivals),
            late=sum(one.whole is None for one in expected.values()),
            open=sum(not one.is_exact for one in expected.values()),
        )
        results = self.results(project_ids)
        self._check_keys(counts, told, results)
        for key in self._log.arrivals:
            found = Outcome(tuple(results.rows[key]), tuple(results.insights[key]))
            counts.insights += len(found.final)
            made = judge(key, told, self._log.arrivals[key], expected.get(key), found)
            counts.lost += made.lost
            counts.doubled += made.doubled
            counts.scripted += made.is_scripted
            counts.faults += [f"session {key[1]}: {fault}" for fault in made.faults]
        self._check_tables(counts, project_ids, results)
        if len(counts.faults) > 2 * SHOWN_MAX:
            total = len(counts.faults)
            counts.faults[2 * SHOWN_MAX :] = [f"and {total - 2 * SHOWN_MAX} more of sessions"]
        return counts

    def _check_keys(self, counts: SessionCounts, told: Told, results: Results) -> None:
        arrived = self._log.arrivals.keys()
        for name, found in (("rows", results.rows), ("insights", results.insights)):
            strangers = found.keys() - arrived
            if strangers:
                counts.faults.append(f"{name} of sessions that nobody had: {sorted(strangers)[:3]}")
        acknowledged = {
            (project_id, told.sent[project_id, event_id].session_id)
            for project_id, event_id in told.acknowledged
        }
        if acknowledged - arrived:
            counts.faults.append(f"never reached Kafka: {sorted(acknowledged - arrived)[:3]}")

    def _check_tables(
        self, counts: SessionCounts, project_ids: Collection[str], results: Results
    ) -> None:
        """Both tables say what was committed, no more and no less."""
        names = ", ".join(f"'{project_id}'" for project_id in project_ids)
        rows = self._store.rows(f"SELECT * FROM sessions FINAL WHERE project_id IN ({names})")
        stored = {(row["project_id"], row["session_id"]): row for row in rows}
        wanted = {key: _session_columns(own[-1]) for key, own in results.rows.items() if own}
        self._compare(counts, "sessions", stored, wanted)
        rows = self._store.rows(f"SELECT * FROM insights FINAL WHERE project_id IN ({names})")
        found = Counter((row["project_id"], row["insight_id"]) for row in rows)
        counts.doubled += sum(found.values()) - len(found)
        if sum(found.values()) > len(found):
            counts.faults.append(f"insights stored twice: {[k for k in found if found[k] > 1][:3]}")
        stored = {(row["project_id"], row["insight_id"]): row for row in rows}
        wanted = {
            (one.project_id, one.insight_id): _insight_columns(one)
            for own in results.insights.values()
            for one in own
            if not one.is_provisional
        }
        self._compare(counts, "insights", stored, wanted)

    def _compare(
        self,
        counts: SessionCounts,
        table: str,
        stored: Mapping[SessionKey, Mapping[str, Any]],
        wanted: Mapping[SessionKey, Mapping[str, Any]],
    ) -> None:
        missing, surplus = wanted.keys() - stored.keys(), stored.keys() - wanted.keys()
        counts.lost += len(missing)
        if missing:
            counts.faults.append(f"{len(missing)} lost of {table}: {sorted(missing)[:SHOWN_MAX]}")
        if surplus:
            counts.faults.append(f"{len(surplus)} made up in {table}: {sorted(surplus)[:2]}")
        for key in sorted(wanted.keys() & stored.keys()):
            row = stored[key]
            differ = {
                name: (row[name], value)
                for name, value in wanted[key].items()
                if row[name] != value
            }
            if differ:
                counts.faults.append(f"{table} {key[1]} stored, and committed: {differ}")


def _is_off(arrival: Arrival) -> bool:
    """Whether the clock of the gateway that took the record was off."""
    return abs(arrival.appended_at_ms - arrival.received_at_ms) > CLOCK_OFF_MS


def _session_columns(row: SessionRow) -> dict[str, Any]:
    """As the table has them; how long a row is kept is the table's or the project's business."""
    columns = {}
    for name, value in msgspec.structs.asdict(row).items():
        if name.endswith("_at_ms"):
            columns[name.removesuffix("_ms")] = _text(value)
        elif name != "retain_days":
            columns[name] = value
    return columns


def _insight_columns(insight: Insight) -> dict[str, Any]:
    columns = msgspec.structs.asdict(insight)
    del columns["is_provisional"]
    columns["timestamp"] = _text(columns.pop("timestamp_ms"))
    columns["ended_at"] = _text(columns.pop("ended_at_ms"))
    columns["target_selector"] = insight.target_selector or ""
    columns["detector_version"] = str(columns.pop("rule_version"))
    columns["related_event_ids"] = list(insight.related_event_ids)
    return columns


def _text(at_ms: int) -> str:
    """A time as ClickHouse writes it."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{ms:03d}"
