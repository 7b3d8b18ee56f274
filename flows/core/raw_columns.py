"""Many records of the raw topic as columns: decoded together, at a fraction of what each costs.

In: the values of records of gosight.events.raw. Out: `RawColumns`, or None where one of them is not
plain (`flows.core.plain_columns`), lacks what the gateway stamps, or has an event without an id.
Whatever is not read here is read record by record (`flows.core.event_rows`), which also finds out
what is wrong with it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from flows.core.event_facts import TIME_MS_END
from flows.core.plain_columns import Numbers, PlainReader, fields_of, numbers_of
from schemas.identifiers import (
    AHEAD_TOLERATED_MS,
    SKEW_TOLERATED_MS,
    are_canonical_uuids,
    event_uuid,
    is_canonical_uuid,
)
from schemas.records import RETENTION_DAYS_MAX
from schemas.v1.closed_pb2 import ClosedEvent, ClosedRawBatch

_BATCH = cast(Descriptor, ClosedRawBatch.DESCRIPTOR)
_EVENT = cast(Descriptor, ClosedEvent.DESCRIPTOR)
_MEMBERS = tuple(field.name for field in _EVENT.oneofs_by_name["payload"].fields)
_TEXTS = tuple(
    field.name
    for field in _EVENT.fields
    if field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}
    and field.name not in _MEMBERS
)
_STAMPS = tuple(field.name for field in _BATCH.fields if field.name != "events")
_TEXT_STAMPS = tuple(
    name for name in _STAMPS if _BATCH.fields_by_name[name].type == FieldDescriptor.TYPE_STRING
)
# Sums of larger times could leave 64 bits.
_TIME_MS_MAX = 2**61


@dataclass(frozen=True, slots=True)
class RawColumns:
    """What many records say. Events are those of all records, in order; so are payloads.

    Texts of events are Arrow columns by name of the field, without nulls. `payloads` are by member
    of the oneof, null where an event has another or none; members of no event are left out.
    """

    project_ids: Sequence[str]
    session_texts: Sequence[str]  # As sent.
    sdk_versions: Sequence[str]
    client_ips: Sequence[str]
    user_agents: Sequence[str]
    received_at_ms: Numbers
    event_counts: Sequence[int]  # As stamped by the gateway; 0 if it did not.
    retain_days: Sequence[int]
    first_rows: Numbers  # The first event of each record, and where the last one ends.
    event_ids: Sequence[str]  # To store, as are those of `texts`.
    event_types: Numbers
    at_ms: Numbers  # To store: by the server's clock.
    texts: Mapping[str, pa.Array]
    customs: pa.Array
    payloads: Mapping[str, pa.Array]


def read_columns(values: Sequence[bytes]) -> RawColumns | None:
    """All of the records; None if one of them is not plain."""
    found = _READER.read(values)
    if found is None:
        return None
    stamps = {name: found.column(name) for name in _STAMPS}
    lists = found.column("events")
    events = fields_of(lists.flatten())
    payloads = {
        name: column for name in _MEMBERS if (column := events[name]).null_count < len(column)
    }
    return _checked(stamps, events, payloads, np.asarray(lists.offsets.to_numpy(), np.int64))


def _checked(
    stamps: Mapping[str, pa.Array],
    events: Mapping[str, pa.Array],
    payloads: Mapping[str, pa.Array],
    first_rows: Numbers,
) -> RawColumns | None:
    """The columns of plain records, if they have what the gateway stamps, and ids."""
    received_at_ms = numbers_of(stamps["received_at_ms"])
    retain_days, event_counts = numbers_of(stamps["retain_days"]), numbers_of(stamps["event_count"])
    texts_of = {name: stamps[name].fill_null("").to_pylist() for name in _TEXT_STAMPS}
    if (
        not all(texts_of["project_id"])
        or not np.all((received_at_ms > 0) & (received_at_ms < TIME_MS_END))
        or not np.all((retain_days >= 0) & (retain_days <= RETENTION_DAYS_MAX))
        or not np.all(event_counts >= 0)
    ):
        return None
    sizes = np.diff(first_rows)
    at_ms = _times(stamps, events, received_at_ms, sizes)
    texts = {name: events[name] for name in _TEXTS}
    texts["user_id"] = texts["user_id"].fill_null("")
    event_ids: list[str] | None = texts["event_id"].to_pylist()
    assert event_ids is not None
    if not are_canonical_uuids(event_ids):
        projects, sessions = texts_of["project_id"], texts_of["session_id"]
        event_ids = _event_ids(event_ids, texts["session_id"], projects, sessions, sizes)
        texts["event_id"] = pa.array(event_ids or (), pa.string())
    if at_ms is None or event_ids is None:
        return None
    return RawColumns(
        project_ids=texts_of["project_id"],
        session_texts=texts_of["session_id"],
        sdk_versions=texts_of["sdk_version"],
        client_ips=texts_of["client_ip"],
        user_agents=texts_of["user_agent"],
        received_at_ms=received_at_ms,
        event_counts=event_counts.tolist(),
        retain_days=retain_days.tolist(),
        first_rows=first_rows,
        event_ids=event_ids,
        event_types=numbers_of(events["event_type"]),
        at_ms=at_ms,
        texts=texts,
        customs=events["custom"],
        payloads=payloads,
    )


def _event_ids(
    sent_ids: Sequence[str],
    own_sessions: pa.Array,
    project_ids: Sequence[str],
    session_texts: Sequence[str],
    sizes: Numbers,
) -> list[str] | None:
    """The id to store for each event; None if one has none, for which its payload is needed."""
    event_ids = list(sent_ids)
    record_of = np.repeat(np.arange(len(sizes)), sizes)
    for row, text in enumerate(sent_ids):
        if not is_canonical_uuid(text):
            if not text:
                return None
            record = record_of[row]
            session_text = own_sessions[row].as_py() or session_texts[record]
            event_ids[row] = event_uuid(project_ids[record], session_text, text)
    return event_ids


def _times(
    stamps: Mapping[str, pa.Array],
    events: Mapping[str, pa.Array],
    received_at_ms: Numbers,
    sizes: Numbers,
) -> Numbers | None:
    """`identifiers.corrected_time_ms` of all events; what is before 1970 was when it came.

    None if there are times so large that their sum may not be a number.
    """
    sent_at_ms = numbers_of(stamps["sent_at"])
    at_ms = numbers_of(events["timestamp"].field(0))
    if len(at_ms) and max(np.abs(at_ms).max(), np.abs(sent_at_ms).max()) > _TIME_MS_MAX:
        return None
    skew_ms = received_at_ms - sent_at_ms
    is_off = (sent_at_ms > 0) & (np.abs(skew_ms) > SKEW_TOLERATED_MS)
    at_ms = at_ms + np.repeat(np.where(is_off, skew_ms, 0), sizes)
    received_of = np.repeat(received_at_ms, sizes)
    latest_ms = np.minimum(received_of + AHEAD_TOLERATED_MS, TIME_MS_END - 1)
    return np.where((at_ms > latest_ms) | (at_ms < 0), received_of, at_ms)


_READER = PlainReader(_BATCH)
