"""Refusing a topic that was deleted and made anew: its offsets mean other records now.

Rows, blocks and positions in the store are named by offsets. Under a new topic of the same name
they would hide new records that have the offsets of old ones. Kafka gives each topic an id for
ever; the store keeps the ids of the topics it was filled from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.errors import FatalError
from connectors.event_store import EventStore
from connectors.kafka_log import Part, PositionStore


def check_same_topics(
    store: EventStore, ids: Mapping[str, str], positions: PositionStore, parts: Sequence[Part]
) -> None:
    """Compare topics by their ids, and note those that are not noted yet.

    Raises:
        FatalError: a topic is not the one whose records are stored, or the store was emptied.
        RetryableError: a server does not answer.
    """
    known = store.topic_ids(ids)
    renewed = sorted(name for name, found in ids.items() if known.get(name, found) != found)
    if renewed:
        raise FatalError(
            f"{', '.join(renewed)} was deleted and made anew since its records were stored: the "
            "same offsets are other records now. Nothing was read. Run `gosight topics adopt`, "
            'then start storage again (docs/operations.md, "Kafka is lost").'
        )
    unknown = {name: found for name, found in ids.items() if name not in known}
    if not known:
        _check_not_emptied(store, positions, parts)
    if unknown:
        store.note_topic_ids(unknown)


def _check_not_emptied(store: EventStore, positions: PositionStore, parts: Sequence[Part]) -> None:
    """See that a store that knows nothing is a new one.

    Going on from the group's positions would skip all that was in it, and what is written then says
    that everything before is there, too: it could not be made good any more.
    """
    read = [part for part, found in positions.load(parts).items() if found.next_offset > 0]
    if read and not store.stored_ends(parts):
        raise FatalError(
            f"ClickHouse holds nothing, but {read[0][0]} was read: what was stored is lost. "
            "Restore a backup if there is one, delete the group's offsets, then start storage "
            'again (docs/operations.md, "ClickHouse is lost").'
        )
