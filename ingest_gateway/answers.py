"""Results as bytes of an IngestResponse, in protobuf or JSON.

A batch of which some or all events were refused is still an answer of success for the transport
(202, OK): `success` is false, the counts and up to 20 rejections say the rest, and the client must
not send it again. Source: events.md, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from ingest_gateway.request import BodyForm, IngestResult
from schemas.v1.ingest_pb2 import IngestResponse, Rejection

REJECTIONS_MAX = 20
CONTENT_TYPE: dict[BodyForm, str] = {
    BodyForm.PROTOBUF: "application/x-protobuf",
    BodyForm.JSON: "application/json",
    BodyForm.UNKNOWN: "application/json",
}


def response_bytes(result: IngestResult) -> bytes:
    """The IngestResponse in the form of the request."""
    is_protobuf = result.form is BodyForm.PROTOBUF
    if result.error is None and not result.refused and not result.ignored:
        return _accepted_bytes(result.accepted, is_protobuf)
    response = response_message(result)
    return response.SerializeToString() if is_protobuf else _json(response, result.ignored)


def response_message(result: IngestResult) -> IngestResponse:
    """The IngestResponse as a message."""
    return IngestResponse(
        success=result.error is None and not result.refused,
        error=result.error_text,
        events_accepted=result.accepted,
        events_rejected=result.refused_count,
        rejections=[
            Rejection(index=index, event_id=event_id, reason=reason)
            for index, event_id, reason in result.refused[:REJECTIONS_MAX]
        ],
    )


def retry_after_text(result: IngestResult) -> str | None:
    """The Retry-After header in whole seconds, rounded up, at least 1; None if there is none."""
    if result.retry_after_s is None:
        return None
    return str(max(1, math.ceil(result.retry_after_s)))


@lru_cache(maxsize=1024)
def _accepted_bytes(accepted: int, is_protobuf: bool) -> bytes:
    response = IngestResponse(success=True, events_accepted=accepted)
    return response.SerializeToString() if is_protobuf else _json(response)


def _json(response: IngestResponse, ignored: Sequence[str] = ()) -> bytes:
    fields: dict[str, object] = {"success": response.success}
    if response.HasField("error"):
        fields["error"] = response.error
    fields["events_accepted"] = response.events_accepted
    fields["events_rejected"] = response.events_rejected
    if response.rejections:
        fields["rejections"] = [
            {"index": one.index, "event_id": one.event_id, "reason": one.reason}
            for one in response.rejections
        ]
    if ignored:
        fields["ignored_fields"] = list(ignored)
    return msgspec.json.encode(fields)
