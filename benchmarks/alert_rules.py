"""What a rule costs, without servers: CPU of one process's evaluation, by how many rules there are.

The same 100,000 page views of one project on 100 pages, given to no rule, to rules whose events
they are not, to a rule a page, and to rules that all count all of them. The claim is that a rule
costs its own events and a little each T, and nothing for the events of others.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from flows.core.alerts.metrics import Kind
from flows.core.alerts.partition import DELAY_MS, AlertPartition, SignalRecord
from flows.core.alerts.signals import SLICE_MS, Control, Report, SignalBatch, encode_record
from flows.core.alerts.source_clocks import RAW_SOURCES, RESULT_SOURCES
from schemas.alert_rules import AlertRule, read_rule
from schemas.kept_states import Kept

PROJECT = "1f0a7f6e-0000-4000-8000-000000000002"
START_MS = 1_767_225_600_000
EVENTS = 100_000
EVENTS_PER_S = 1_000
PAGES = 100
RULES = 100  # As many as a project may have.
BATCH = 10
ROUNDS = 3


def run() -> dict[str, object]:
    """Microseconds a signal in each case; of each rule's own signals, and of each T."""
    records = made_records()
    cases = {
        "no_rules": [],
        "one_rule_of_all": rules(1, None),
        "one_rule_of_a_page": rules(1, "/page/{}"),
        "hundred_rules_of_other_pages": [*rules(1, "/page/{}"), *rules(RULES - 1, "/else/{}", 1)],
        "hundred_rules_a_page_each": rules(RULES, "/page/{}"),
        "hundred_rules_of_all": rules(RULES, None),
    }
    us = {name: cpu_us(records, of_case) for name, of_case in cases.items()}
    own = (us["hundred_rules_of_all"] - us["one_rule_of_all"]) / (RULES - 1)
    others = us["hundred_rules_of_other_pages"] - us["one_rule_of_a_page"]
    ticks = EVENTS / EVENTS_PER_S * 1000 / SLICE_MS
    return {
        **{f"signal_us_{name}": round(value, 2) for name, value in us.items()},
        # Of which most is what each rule does at each T, whatever happened.
        "added_us_by_99_rules_of_other_pages": round(others, 3),
        "rule_us_each_t": round(others * EVENTS / (RULES - 1) / ticks, 1),
        "rule_us_of_its_own_signal": round(own, 3),
    }


def rules(count: int, path: str | None, first: int = 0) -> list[AlertRule]:
    """Rules over page views, each with a window, and so with sums, of its own."""
    return [
        read_rule(
            {
                "id": str(uuid.UUID(int=number + 1)),
                "project_id": PROJECT,
                "name": "A rule",
                "condition": {
                    "metric": "pageviews",
                    "operator": ">",
                    "threshold": 10**9,
                    "window": f"{number + 1}m",
                    "filters": {} if path is None else {"path": path.format(number)},
                },
            }
        )
        for number in range(first, first + count)
    ]


def made_records() -> list[SignalRecord]:
    """Reports of all sources, one second each: page views in the first, clocks in the others."""
    values: list[bytes] = []
    number = 0
    for second in range(EVENTS // EVENTS_PER_S + DELAY_MS // 1_000 + 11):
        now_ms = START_MS + 1_000 * (second + 1)
        before, batches = number, []
        if number < EVENTS:
            number += EVENTS_PER_S
            batches = [batch(first, now_ms - 500) for first in range(before, number, BATCH)]
        for place, source in enumerate((*RESULT_SOURCES, *RAW_SOURCES)):
            has_any = source == RAW_SOURCES[0]
            values.append(
                encode_record(
                    Report(
                        source,
                        before // BATCH if has_any else 0,
                        number // BATCH if has_any else 0,
                        now_ms,
                        now_ms if place >= len(RESULT_SOURCES) else 0,
                        now_ms,
                        second == 0,
                        tuple(batches) if has_any else (),
                        now_ms,
                    )
                )
            )
    assert number == EVENTS
    return [SignalRecord(offset + 1, value) for offset, value in enumerate(values)]


def batch(first: int, at_ms: int) -> SignalBatch:
    """Ten page views of a session."""
    return SignalBatch(
        first // BATCH,
        PROJECT,
        uuid.UUID(int=first % 5_000 + 1).bytes,
        at_ms,
        tuple((f"/page/{(first + n) % PAGES}", "Firefox", "Norway", "", "") for n in range(BATCH)),
        tuple(
            (Kind.PAGEVIEW.value, at_ms, n, 0, (first + n).to_bytes(8, "big")) for n in range(BATCH)
        ),
    )


def cpu_us(records: Sequence[SignalRecord], of_case: Sequence[AlertRule]) -> float:
    """Microseconds of CPU a signal, storing included; the best of some rounds."""
    best_s = float("inf")
    for _ in range(ROUNDS):
        partition = AlertPartition(Kept())
        control = SignalRecord(0, encode_record(Control(START_MS - 90_000_000, tuple(of_case))))
        partition.take([control], 1)
        began_s = time.process_time()
        for start in range(0, len(records), 100):
            taken = records[start : start + 100]
            partition.take(taken, taken[-1].offset + 1)
            if partition.is_changed:
                partition.step()
        best_s = min(best_s, time.process_time() - began_s)
        assert partition.behind_ms("events") == 0, "all of it was evaluated"
    return best_s / EVENTS * 1e6
