"""Which events of a session were counted already: 8 bytes an event, newest last. Pure.

An id is folded to the exclusive or of its halves. Two different events of one session are taken for
one with a chance of 1 in 10^11 for a session of 20,000 events. A session with more events forgets
its oldest ids: a repetition that comes so late counts again.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from sys import byteorder

from flows.core.session_event import SessionEvent

ID_BYTES = 8
IDS_MAX = 20_000
# Above so many known ids, searching for a few new ones is quicker than looking at all.
LOOKED_AT_MAX, SEARCHES_MAX = 200, 16


def folded_ids(event_ids: Sequence[str]) -> memoryview:
    """The 8 bytes of each id, as a number; all ids are UUIDs in their usual form."""
    data = bytes.fromhex("".join(event_ids).replace("-", ""))
    whole = int.from_bytes(data)
    # In each 16 bytes the last 8 are now the exclusive or of both halves.
    folded = (whole ^ whole >> 64).to_bytes(len(data))
    return memoryview(folded).cast("Q")[1::2]


def new_events(seen: bytes, events: Sequence[SessionEvent]) -> tuple[bytes, Sequence[SessionEvent]]:
    """`seen` with the ids of these events, and those of the events that were not in there.

    Of repetitions among the events the first counts.
    """
    ids = folded_ids([event.event_id for event in events])
    distinct = set(ids)
    if len(seen) <= LOOKED_AT_MAX * ID_BYTES or len(ids) > SEARCHES_MAX:
        repeated = distinct.intersection(memoryview(seen).cast("Q"))
    else:
        repeated = {one for one in distinct if _contains(seen, one.to_bytes(ID_BYTES, byteorder))}
    if not repeated and len(distinct) == len(ids):
        return (seen + ids.tobytes())[-IDS_MAX * ID_BYTES :], events
    added: list[int] = []
    fresh: list[SessionEvent] = []
    for one, event in zip(ids, events, strict=True):
        if one not in repeated:
            repeated.add(one)
            added.append(one)
            fresh.append(event)
    return (seen + array("Q", added).tobytes())[-IDS_MAX * ID_BYTES :], fresh


def _contains(seen: bytes, one: bytes) -> bool:
    at = seen.find(one)
    while at >= 0:
        if at % ID_BYTES == 0:
            return True
        at = seen.find(one, at + 1)  # The end of one id and the beginning of the next.
    return False
