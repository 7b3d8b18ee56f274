"""The dead letter of a record that a flow cannot read.

In: a poison and the partition it was met in. Out: a record for gosight.events.rejected. The same
poison always gives the same rejection id, however often it is met.
"""

from __future__ import annotations

import uuid

from connectors.kafka_log import OutRecord, Part
from flows.core.poisons import Poison
from schemas.reasons import Stage
from schemas.topics import EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RejectedRecord

# A letter holds the record and what is said of it, and must fit into a record itself.
PAYLOAD_BYTES_MAX = EVENTS_REJECTED.max_message_bytes - 8 * 1024
REJECTION_NAMESPACE = uuid.UUID("8f3c2f0e-6d0b-5d4e-9a6f-0f4b7d1f6f53")


def dead_letter(part: Part, poison: Poison, stage: Stage, now_ms: int) -> OutRecord:
    """The record that tells of a poison, with its original bytes if they fit."""
    topic, partition = part
    name = f"{topic}:{partition}:{poison.offset}"
    is_too_large = len(poison.value) > PAYLOAD_BYTES_MAX
    record = RejectedRecord(
        rejection_id=str(uuid.uuid5(REJECTION_NAMESPACE, name)),
        project_id=poison.project_id,
        stage=stage,
        reason=poison.reason,
        detail=poison.detail[:500],
        received_at_ms=poison.created_ms,
        rejected_at_ms=now_ms,
        payload_kind="record",
        payload=b"" if is_too_large else poison.value,
        payload_withheld=is_too_large,
        payload_bytes=len(poison.value),
        event_count=poison.event_count,
        origin_topic=topic,
        origin_partition=partition,
        origin_offset=poison.offset,
    )
    return OutRecord(EVENTS_REJECTED.name, poison.project_id.encode(), record.SerializeToString())
