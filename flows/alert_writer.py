"""Taking transitions into the outbox: one transaction a batch, then the position.

In: `AlertBatch`es. Effects, in this order, each repeatable:

1. dead letters of records that cannot be transitions, acknowledged by Kafka;
2. history, messages to send and what is known of each rule, in one transaction of PostgreSQL; if
   it cannot hold what one of them says, in one for each, and that one becomes a dead letter;
3. the position in Kafka.

A process that dies in between takes the batch again: what was taken before changes nothing, because
each rule and group remembers its last transition.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import Counter

from connectors.alert_outbox import AlertOutbox, OutboxStep, Scope
from connectors.claims import Claims
from connectors.errors import UnstorableError
from connectors.kafka_log import BlockName, Part, PositionStore, RecordProducer, Span
from connectors.telemetry import get_logger
from flows.core.alert_decisions import NOTHING_KNOWN, scope_of
from flows.core.alert_outgoing import LATE_AFTER_MS, change_of, end_of_gone
from flows.core.alert_records import AlertBatch
from flows.core.poisons import Poison, poison_of
from flows.dead_letters import dead_letter
from flows.held_positions import finish_held
from flows.retries import RetryPolicy, try_effect
from flows.streams import count_outcome
from flows.write_figures import DEAD_LETTERS, LAST_COMMIT, WRITING_SINCE
from schemas.alert_delivery import Change, KnownAlert
from schemas.reasons import RejectReason, Stage
from schemas.v1.alerts_pb2 import AlertTransition

FLOW = "alert_delivery"
PURGE_EVERY_MS = 3_600_000

DECIDED = Counter(
    "gosight_alerts_transitions_total", "Transitions taken by delivery, by kind.", ["kind"]
)
KEPT_BACK = Counter(
    "gosight_alerts_suppressed_total", "Messages kept back by a cooldown or a mute.", ["reason"]
)


class AlertWriter:
    """Writes batches one after the other."""

    def __init__(
        self,
        outbox: AlertOutbox,
        positions: PositionStore,
        dead_letters: RecordProducer,
        claims: Claims,
        dashboard_url: str,
        *,
        on_written: Callable[[], None] = lambda: None,
        late_after_ms: int = LATE_AFTER_MS,
        retry: RetryPolicy | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`on_written` is called when there may be something new to send.

        What is decided more than `late_after_ms` after it happened is told as late.
        """
        self._outbox = outbox
        self._positions = positions
        self._dead_letters = dead_letters
        self._claims = claims
        self._dashboard_url = dashboard_url
        self._on_written = on_written
        self._late_after_ms = late_after_ms
        self._retry = retry or RetryPolicy()
        self._is_stopping = is_stopping
        self._clock_ms = clock_ms
        self._purged_at_ms = 0

    def write(self, batch: AlertBatch) -> None:
        """Make all effects of a batch, in order; nothing if its partition has left this process.

        Raises:
            RetryableError: the world stayed away for too long, or the flow is stopping.
            FatalError: trying again cannot help.
        """
        part, polled = batch.part, batch.polled
        if self._claims.held().get(part) != polled.epoch:
            return
        WRITING_SINCE.labels(FLOW).set_to_current_time()
        self._set_aside(part, batch.poisons)
        changes, unstorable = self._taken(batch)
        self._set_aside(part, unstorable)
        block = BlockName((Span(*part, polled.offsets[0], polled.offsets[-1]),))
        epochs = {part: polled.epoch}
        self._try("position", lambda: finish_held(self._positions, self._claims, block, epochs))
        _count(batch, changes, unstorable)
        LAST_COMMIT.labels(FLOW).set_to_current_time()
        WRITING_SINCE.labels(FLOW).set(0)
        self._purge_now_and_then()

    def _set_aside(self, part: Part, poisons: Sequence[Poison]) -> None:
        now_ms = self._clock_ms()
        letters = [dead_letter(part, poison, Stage.ALERTS, now_ms) for poison in poisons]
        if letters:
            self._try("dead_letters", lambda: self._dead_letters.produce_all(letters))
            DEAD_LETTERS.labels(FLOW).inc(len(letters))

    def _taken(self, batch: AlertBatch) -> tuple[list[Change], list[Poison]]:
        """What the transitions change, and those that cannot be stored."""
        if not batch.transitions:
            return [], []
        changes: list[Change] = []
        unstorable: list[Poison] = []
        try:
            changes = self._take(batch.transitions)
        except UnstorableError:
            # One of them stops all the others, and would for ever.
            for place, transition in zip(batch.places, batch.transitions, strict=True):
                try:
                    changes += self._take([transition])
                except UnstorableError as error:
                    get_logger().error("transition_unstorable", detail=str(error))
                    poison = poison_of(batch.polled, place, RejectReason.POISON, str(error))
                    unstorable.append(poison)
        self._on_written()
        return changes, unstorable

    def _take(self, transitions: Sequence[AlertTransition]) -> list[Change]:
        """Write what these change, all of it or nothing.

        Raises:
            UnstorableError: PostgreSQL cannot hold what one of them says.
        """

        def take() -> list[Change] | UnstorableError:
            now_ms = self._clock_ms()
            try:
                with self._outbox.step() as step:
                    changes = changes_of(
                        step, transitions, self._dashboard_url, now_ms, self._late_after_ms
                    )
                    step.write(changes)
            except UnstorableError as error:
                return error  # Trying again cannot help.
            return changes

        found = try_effect(FLOW, "outbox", take, self._retry, self._is_stopping)
        if isinstance(found, UnstorableError):
            raise found
        return found

    def _purge_now_and_then(self) -> None:
        now_ms = self._clock_ms()
        if now_ms - self._purged_at_ms >= PURGE_EVERY_MS:
            self._purged_at_ms = now_ms
            self._try("purge", lambda: self._outbox.purge(now_ms))

    def _try(self, effect: str, call: Callable[[], None]) -> None:
        try_effect(FLOW, effect, call, self._retry, self._is_stopping)


def changes_of(
    step: OutboxStep,
    transitions: Sequence[AlertTransition],
    dashboard_url: str,
    now_ms: int,
    late_after_ms: int = LATE_AFTER_MS,
) -> list[Change]:
    """What the transitions change, each seeing those before it.

    Rules that are gone say nothing, but what they had open is over.
    """
    rules = step.rules({transition.rule_id for transition in transitions})
    of_rules = [transition for transition in transitions if transition.rule_id in rules]
    known: dict[Scope, KnownAlert] = dict(
        step.known({(transition.rule_id, scope_of(transition)) for transition in of_rules})
    )
    changes: list[Change] = []
    for transition in transitions:
        if transition.rule_id not in rules:
            over = end_of_gone(transition)
            changes += () if over is None else (over,)
            continue
        scope = (transition.rule_id, scope_of(transition))
        change = change_of(
            transition,
            rules[transition.rule_id],
            known.get(scope, NOTHING_KNOWN),
            dashboard_url,
            now_ms,
            late_after_ms,
        )
        if change is not None and change.after is not None:
            known[scope] = change.after
            changes.append(change)
    return changes


def _count(batch: AlertBatch, changes: Sequence[Change], unstorable: Sequence[Poison]) -> None:
    for change in changes:
        DECIDED.labels(change.kind).inc()
        if change.row is not None and change.row.suppressed_by:
            KEPT_BACK.labels(change.row.suppressed_by).inc()
    for poison in (*batch.poisons, *unstorable):
        count_outcome(FLOW, "rejected", poison.reason.value, 1)
    count_outcome(FLOW, "stored", "", len(changes))
    count_outcome(FLOW, "duplicate", "", len(batch.transitions) - len(changes) - len(unstorable))
