"""Reading the dead-letter topic for the ledger: what the gateway refused was received, too.

In: `PolledBatch` of gosight.events.rejected. Out: a chunk without rows whose `refusals` count what
the gateway refused. Records of other stages are skipped: those stages book what they refuse
themselves, in the same write as the rest of the block.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from flows.core.event_columns import no_rows
from flows.core.event_rows import EnrichedChunk, Refusal, minute_of
from schemas.log import PolledBatch
from schemas.reasons import Stage
from schemas.v1.pipeline_pb2 import RejectedRecord


def refusal_chunk(polled: PolledBatch) -> EnrichedChunk:
    """Count one polled batch of dead letters; an unreadable one is counted as `undecodable`."""
    refusals = []
    for place, value in enumerate(polled.values):
        try:
            record = RejectedRecord.FromString(value)
        except DecodeError:
            project_id = polled.keys[place].decode("utf-8", "replace")
            minute_ms = minute_of(polled.created_ms[place])
            refusals.append(Refusal(project_id, minute_ms, "undecodable", 1))
            continue
        if record.stage == Stage.GATEWAY:
            refusals.append(
                Refusal(
                    record.project_id,
                    minute_of(record.received_at_ms),
                    record.reason,
                    max(1, record.event_count),
                )
            )
    return EnrichedChunk(
        topic=polled.topic,
        partition=polled.partition,
        first_offset=polled.offsets[0],
        last_offset=polled.offsets[-1],
        block=no_rows(),
        event_ids=(),
        records=(),
        page_views=(),
        poisons=(),
        refusals=refusals,
    )
