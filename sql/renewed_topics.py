"""Going on with topics that were deleted and made anew: their offsets begin at 0 again.

In: the ids that the topics have now. Out: a store that takes the new records for new ones: the old
rows name a lost topic, positions of the old one are gone, and tokens are of the new one. To be run
with storage stopped. Repeating it is safe; the ids are noted last.
"""

from __future__ import annotations

from collections.abc import Mapping

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.clickhouse import sorted_error
from connectors.event_store import LOST, ClickHouseEventStore


def adopt_topics(client: Client, ids: Mapping[str, str]) -> list[str]:
    """Give up what is stored under the old ids; return the names of the renewed topics.

    Raises:
        RetryableError: ClickHouse does not answer; run it again.
        FatalError: ClickHouse refuses.
    """
    store = ClickHouseEventStore(client)
    known = store.topic_ids(ids)
    renewed = sorted(name for name, found in ids.items() if known.get(name, found) != found)
    if not renewed:
        return []
    where = {"topics": renewed}
    try:
        client.command(
            f"ALTER TABLE events UPDATE source_topic = concat('{LOST}', source_topic) "
            "WHERE source_topic IN {topics:Array(String)} SETTINGS mutations_sync = 1",
            parameters=where,
        )
        client.command(
            "ALTER TABLE flow_positions DELETE WHERE source_topic IN {topics:Array(String)} "
            "SETTINGS mutations_sync = 1",
            parameters=where,
        )
    except ClickHouseError as error:
        raise sorted_error(error) from error
    # Under these, blocks get tokens that none of the lost topics had.
    store.note_topic_ids({f"{LOST}{name}": ids[name] for name in renewed})
    store.note_topic_ids({name: ids[name] for name in renewed})
    return renewed
