"""Refusing a topic that was deleted and made anew: its offsets mean other records now.

Rows, blocks and positions in the store are named by offsets. Under a new topic of the same name
they would hide new records that have the offsets of old ones. Kafka gives each topic an id for
ever; the store keeps the ids of the topics it was filled from.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.errors import FatalError
from connectors.event_store import EventStore


def check_same_topics(store: EventStore, ids: Mapping[str, str]) -> None:
    """Compare topics by their ids, and note those that are not noted yet.

    Raises:
        FatalError: a topic is not the one whose records are stored.
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
    if unknown:
        store.note_topic_ids(unknown)
