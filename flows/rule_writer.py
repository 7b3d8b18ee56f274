"""Rules are a second stream into their signals partition, with the wall clock beside them.

In: the rules as PostgreSQL has them, the partitions that this process evaluates, and ticks.
Effects: a control record a second to each, with the rules that differ from those in force there.
Rules are in force from their record on, for whoever reads the partition again, too. Records may
come twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from connectors.alert_rules import AlertRules
from connectors.kafka_log import OutRecord, RecordProducer
from flows.core.alerts.metrics import kinds_of_rules
from flows.core.alerts.partition import AlertPartition
from flows.core.alerts.signals import Control, Wanted, encode_record, signals_partition
from flows.retries import RetryPolicy, try_effect
from schemas.alert_rules import COOLDOWN_MINS, AlertRule
from schemas.topics import ALERT_SIGNALS

WRITE_EVERY_S = 1.0
# What was written is read back within a second or two: it is not written again for so long.
AGAIN_AFTER_S = 5.0
CONTROL_KEY = b"control"
# Of rules in one record, which takes 4 MiB; the others follow when these are in force.
RULES_BYTES_MAX = 1024 * 1024


class RuleWriter:
    """For one thread."""

    def __init__(
        self,
        rules: AlertRules,
        partitions: Callable[[], Mapping[int, AlertPartition]],
        producer: RecordProducer,
        retry: RetryPolicy | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._partitions = partitions
        self._producer = producer
        self._retry = retry or RetryPolicy()
        self._is_stopping = is_stopping
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._write_at = monotonic()
        self._written: dict[int, tuple[Control, float]] = {}
        self._known: Mapping[str, AlertRule] = {}
        self._wanted: Wanted = {}

    def wanted(self) -> Wanted:
        """Signals that rules need, by project."""
        active = self._rules.active()
        if active is not self._known:
            self._known = active
            self._wanted = kinds_of_rules(active.values())
        return self._wanted

    def tick(self) -> None:
        """Write what is due.

        Raises:
            RetryableError: the world stayed away for too long, or the process is stopping.
        """
        now_s = self._monotonic()
        if now_s < self._write_at:
            return
        self._write_at = now_s + WRITE_EVERY_S
        records = [
            OutRecord(
                ALERT_SIGNALS.name,
                CONTROL_KEY,
                encode_record(self._control(number, live, now_s)),
                partition=number,
            )
            for number, live in self._partitions().items()
        ]
        if records:
            try_effect(
                "alerts",
                "rules",
                lambda: self._producer.produce_all(records),
                self._retry,
                self._is_stopping,
            )

    def _control(self, number: int, live: AlertPartition, now_s: float) -> Control:
        in_force = live.rules()
        due = {
            rule_id: _evaluated(rule)
            for rule_id, rule in self._rules.active().items()
            if signals_partition(rule.project_id, ALERT_SIGNALS.partitions) == number
        }
        control = Control(
            self._clock_ms(),
            _as_many_as_fit(rule for rule_id, rule in due.items() if in_force.get(rule_id) != rule),
            tuple(rule_id for rule_id in in_force if rule_id not in due),
        )
        written, at_s = self._written.get(number, (None, 0.0))
        if not control.rules and not control.removed:
            return control
        if written is not None and now_s - at_s < AGAIN_AFTER_S and _is_same(written, control):
            return Control(control.wall_ms)
        self._written[number] = control, now_s
        return control


def _as_many_as_fit(rules: Iterable[AlertRule]) -> tuple[AlertRule, ...]:
    found: list[AlertRule] = []
    size = 0
    for rule in rules:
        size += len(encode_record(Control(0, (rule,))))
        if found and size > RULES_BYTES_MAX:
            break
        found.append(rule)
    return tuple(found)


def _evaluated(rule: AlertRule) -> AlertRule:
    """The rule without what is only for delivery, secrets above all."""
    return msgspec.structs.replace(
        rule,
        channels=(),
        cooldown_mins=COOLDOWN_MINS,
        muted_until_ms=None,
        runbook_url=None,
    )


def _is_same(one: Control, other: Control) -> bool:
    return (one.rules, one.removed) == (other.rules, other.removed)
