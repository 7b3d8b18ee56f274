"""Which events count as new, with memory for few of them."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.duplicates import SeenEvents, SessionKey
from flows.core.event_rows import EnrichedChunk, RowBuilder
from schemas.log import Fetched, PolledBatch
from schemas.lookups import ParsedAgent, Place
from schemas.topics import EVENTS_RAW
from tests.factories import NOW_MS, PROJECT, make_event, make_raw, make_uuid

BUILDER = RowBuilder(lambda text: ParsedAgent(text=text), lambda _address: Place())
CHANCE = random.Random(3)
SESSIONS = [make_uuid(CHANCE) for _ in range(4)]
IDS = [make_uuid(CHANCE) for _ in range(12)]


def chunk(*events: tuple[str, str]) -> EnrichedChunk:
    """A record per (event id, session id)."""
    records = [
        Fetched(
            place,
            make_raw([make_event(event_id, session)], session).SerializeToString(),
            b"",
            NOW_MS,
            1,
        )
        for place, (event_id, session) in enumerate(events)
    ]
    return BUILDER.build(PolledBatch.of(EVENTS_RAW.name, 0, records))


class Store:
    """What is stored, and how often each kind of question was asked."""

    def __init__(self, seen: SeenEvents) -> None:
        self.seen = seen
        self.ids: dict[SessionKey, set[str]] = {}
        self.sessions_asked: list[SessionKey] = []
        self.ids_asked = 0

    def write(self, block: EnrichedChunk) -> list[bool]:
        """One block as the writer does it."""
        unknown = self.seen.unknown_sessions([block])
        self.sessions_asked += sorted(unknown)
        bound = self.seen.session_ids_max + 1
        self.seen.load({key: sorted(self.ids.get(key, ()))[:bound] for key in unknown}, unknown)
        large = self.seen.large_session_ids([block])
        self.ids_asked += sum(map(len, large.values()))
        stored: Mapping[SessionKey, Collection[str]] = {
            key: ids & self.ids.get(key, set())
            for key, ids in ((key, set(ids)) for key, ids in large.items())
        }
        (flags,) = self.seen.mark_new([block], stored)
        for record in block.records:
            for row in range(record.row_first, record.row_end):
                if flags[row]:
                    key = (record.project_id, record.session_id)
                    self.ids.setdefault(key, set()).add(block.event_ids[row])
        self.seen.forget_oldest()
        return flags


def test_one_huge_session_does_not_push_out_the_others() -> None:
    """Its own ids are asked for block by block; the small sessions stay in memory."""
    store = Store(SeenEvents(ids_max=8, session_ids_max=4))
    small, huge = SESSIONS[:2]
    store.write(chunk((IDS[0], small)))
    for start in range(1, 10, 3):
        store.write(chunk(*((event_id, huge) for event_id in IDS[start : start + 3])))
    assert store.write(chunk((IDS[0], small), (IDS[1], huge), (IDS[11], huge))) == [
        False,
        False,
        True,
    ]
    assert store.sessions_asked == [(PROJECT, small), (PROJECT, huge)]
    assert store.ids_asked == 3 + 2


def test_a_session_that_is_huge_in_the_store_is_not_loaded() -> None:
    """A new process learns that it is too large from one id too many."""
    first = Store(SeenEvents(session_ids_max=100))
    first.write(chunk(*((event_id, SESSIONS[0]) for event_id in IDS)))
    second = Store(SeenEvents(session_ids_max=5))
    second.ids = first.ids
    assert second.write(chunk((IDS[3], SESSIONS[0]))) == [False]
    assert second.ids_asked == 1


@given(seed=st.integers(0, 2**32), ids_max=st.integers(1, 20), session_ids_max=st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_any_bound_keeps_each_event_once(seed: int, ids_max: int, session_ids_max: int) -> None:
    """Whatever is forgotten, the first occurrence is kept and no other."""
    chance = random.Random(seed)
    store = Store(SeenEvents(ids_max, session_ids_max))
    kept: list[str] = []
    sent: set[str] = set()
    for _ in range(12):
        events = [
            (IDS[place], SESSIONS[place % 4]) for place in (chance.randrange(12) for _ in range(5))
        ]
        sent.update(event_id for event_id, _ in events)
        block = chunk(*events)
        kept += [block.event_ids[row] for row, keep in enumerate(store.write(block)) if keep]
    assert sorted(kept) == sorted(sent)
