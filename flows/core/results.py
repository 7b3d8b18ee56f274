"""Records of gosight.sessions and gosight.insights as rows.

In: `PolledBatch`es of either topic. Out: `ResultChunk`s: rows, previews of insights, and records
that cannot be rows. What the store would refuse is found here, record by record: one bad row must
not keep its neighbours out. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from google.protobuf.message import DecodeError

from flows.core.insight import Insight
from flows.core.poisons import Poison, poison_of
from flows.core.session_row import SessionRow, insight_of_message, row_of_message
from schemas.identifiers import is_canonical_uuid
from schemas.log import PolledBatch
from schemas.reasons import RejectReason
from schemas.topics import SESSIONS
from schemas.v1 import pipeline_pb2

TIME_MAX_MS = 9_999_999_999_999  # The year 2286: before what ClickHouse can hold.
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


@dataclass(frozen=True, slots=True)
class ResultChunk:
    """Rows of consecutive records of one partition, read under the holding `epoch`.

    `previews` are insights of open episodes, to be shown and never stored.
    """

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    epoch: int
    byte_count: int
    record_count: int
    sessions: Sequence[SessionRow]
    insights: Sequence[Insight]
    previews: Sequence[Insight]
    poisons: Sequence[Poison]

    @property
    def row_count(self) -> int:
        """Rows it adds to the store."""
        return len(self.sessions) + len(self.insights)


def result_chunk(polled: PolledBatch) -> ResultChunk:
    """All rows of one polled batch; never raises for what a record holds."""
    sessions: list[SessionRow] = []
    insights: list[Insight] = []
    poisons: list[Poison] = []
    for place, value in enumerate(polled.values):
        try:
            if polled.topic == SESSIONS.name:
                sessions.append(_session(value))
            else:
                insights.append(_insight(value))
        except DecodeError:
            reason, detail = RejectReason.UNDECODABLE, "not the message of this topic"
            poisons.append(poison_of(polled, place, reason, detail))
        except ValueError as error:  # msgspec's errors are ValueErrors.
            poisons.append(poison_of(polled, place, RejectReason.POISON, str(error)))
    return ResultChunk(
        polled.topic,
        polled.partition,
        polled.offsets[0],
        polled.offsets[-1],
        polled.epoch,
        sum(map(len, polled.values)),
        len(polled.values),
        latest(sessions),
        [insight for insight in insights if not insight.is_provisional],
        [insight for insight in insights if insight.is_provisional],
        poisons,
    )


def latest(rows: Iterable[SessionRow]) -> list[SessionRow]:
    """Of each session the row of the highest revision; of equal ones the last."""
    found: dict[tuple[str, str], SessionRow] = {}
    for row in rows:
        known = found.get((row.project_id, row.session_id))
        if known is None or row.revision >= known.revision:
            found[row.project_id, row.session_id] = row
    return list(found.values())


def _session(value: bytes) -> SessionRow:
    row = row_of_message(pipeline_pb2.SessionRevision.FromString(value))
    _check(
        row.project_id,
        [row.session_id, *([row.emotion_event_id] if row.emotion_event_id else [])],
        (row.started_at_ms, row.ended_at_ms),
    )
    _LIST.decode(row.issues)
    return row


def _insight(value: bytes) -> Insight:
    insight = insight_of_message(pipeline_pb2.Insight.FromString(value))
    _check(
        insight.project_id,
        [insight.insight_id, insight.session_id, *insight.related_event_ids],
        (insight.timestamp_ms, insight.ended_at_ms),
    )
    _OBJECT.decode(insight.details)
    return insight


def _check(project_id: str, ids: Sequence[str], times_ms: Sequence[int]) -> None:
    if not project_id:
        raise ValueError("no project")
    if not all(map(is_canonical_uuid, ids)):
        raise ValueError("an id is not a UUID")
    if not all(0 < at_ms <= TIME_MAX_MS for at_ms in times_ms):
        raise ValueError("a time is out of range")
