"""The gauge of the ledger on real stores: sound, then with events that nobody accounts for."""

from __future__ import annotations

import time

import pyarrow as pa
from prometheus_client import REGISTRY

from api.clickhouse_runner import ClickHouseRunner
from api.ledger_watch import check_ledger
from api.services import Services
from connectors.clickhouse import connect, insert_arrow
from connectors.keys import KeyStore
from connectors.memory import MemoryKeySource
from tests.integration.api.conftest import MINUTE_MS, Shop, moment


def book(shop: Shop, project_id: str, outcome: str, events: int, token: str) -> None:
    """One entry in the ledger, a minute ago."""
    minute_ms = shop.last_ms // MINUTE_MS * MINUTE_MS - MINUTE_MS
    entry = {
        "project_id": project_id,
        "minute": moment(minute_ms),
        "outcome": outcome,
        "reason": "",
        "events": events,
        "source_topic": token,
        "source_partition": 0,
        "block_first": 0,
        "block_last": 0,
    }
    client = connect(shop.databases.clickhouse_url)
    insert_arrow(client, "ledger_entries", pa.Table.from_pylist([entry]), token)
    client.close()


async def test_the_gauge_counts_what_is_not_accounted_for(shop: Shop) -> None:
    """0 while all adds up; a gap of one project and a surplus of another are both counted."""
    runner = ClickHouseRunner(shop.databases.clickhouse_url, threads=1, timeout_s=10)
    services = Services(
        queries=runner,
        keys=KeyStore(MemoryKeySource(), None),
        checks={},
        vital=frozenset(),
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    try:
        assert await check_ledger(services) == 0
        book(shop, "a", "received", 3, "watch-a")
        book(shop, "b", "stored", 2, "watch-b")
        assert await check_ledger(services) == 5
    finally:
        runner.close()
    assert REGISTRY.get_sample_value("gosight_ledger_unaccounted_events") == 5
    checked_at = REGISTRY.get_sample_value("gosight_ledger_checked_timestamp_seconds")
    assert checked_at is not None
    assert time.time() - checked_at < 30
