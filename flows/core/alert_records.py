"""Records of gosight.alerts as transitions, and what cannot be one. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from flows.core.poisons import Poison, poison_of
from schemas.alert_delivery import Kind
from schemas.identifiers import is_canonical_uuid
from schemas.log import PolledBatch
from schemas.reasons import RejectReason
from schemas.v1.alerts_pb2 import AlertTransition

TIME_MAX_MS = 9_999_999_999_999  # The year 2286.
SPOKEN = frozenset({Kind.FIRED, Kind.STILL_FIRING, Kind.RESOLVED, Kind.HELD, Kind.RELEASED})


@dataclass(frozen=True, slots=True)
class AlertBatch:
    """Transitions of consecutive records of one partition, read under the holding `epoch`.

    `places` are those of the transitions' records among those of `polled`.
    """

    polled: PolledBatch
    places: Sequence[int]
    transitions: Sequence[AlertTransition]
    poisons: Sequence[Poison]

    @property
    def part(self) -> tuple[str, int]:
        """The topic and the partition."""
        return self.polled.topic, self.polled.partition


def alert_batch(polled: PolledBatch) -> AlertBatch:
    """All transitions of one polled batch, in order; never raises for what a record holds."""
    places: list[int] = []
    transitions: list[AlertTransition] = []
    poisons: list[Poison] = []
    for place, value in enumerate(polled.values):
        try:
            transition = AlertTransition.FromString(value)
            check(transition)
            places.append(place)
            transitions.append(transition)
        except DecodeError:
            reason, detail = RejectReason.UNDECODABLE, "not the message of this topic"
            poisons.append(poison_of(polled, place, reason, detail))
        except ValueError as error:
            poisons.append(poison_of(polled, place, RejectReason.POISON, str(error)))
    return AlertBatch(polled, places, transitions, poisons)


def check(transition: AlertTransition) -> None:
    """What the tables and messages take for granted.

    Raises:
        ValueError: something is not so.
    """
    if transition.kind not in SPOKEN:
        raise ValueError("an unknown kind of transition")
    ids = (transition.alert_id, transition.transition_id, transition.rule_id, transition.project_id)
    if not all(map(is_canonical_uuid, ids)):
        raise ValueError("an id is not a UUID")
    if not 0 < transition.at_ms <= TIME_MAX_MS:
        raise ValueError("a time is out of range")
    for at_ms in (transition.opened_at_ms, transition.window_start_ms, transition.window_end_ms):
        if not 0 <= at_ms <= TIME_MAX_MS:
            raise ValueError("a time is out of range")
    if not (math.isfinite(transition.value) and math.isfinite(transition.threshold)):
        raise ValueError("a value is not a number")
    texts = (
        transition.metric, transition.operator, transition.rule_name, transition.severity,
        transition.condition_type, *transition.group, *transition.group.values(),
        *transition.filters, *transition.filters.values(),
        *(path.path for path in transition.top_paths), *transition.sample_session_ids,
        *transition.insight_ids,
    )  # fmt: skip
    if any("\0" in text for text in texts):
        raise ValueError("a text has a null character")  # PostgreSQL cannot keep it.
