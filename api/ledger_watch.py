"""Whether the ledger of all projects adds up, as a gauge for an alert.

In: the ledger in ClickHouse, read once a minute. Out: events of the last day that are not accounted
for, and when that was last known. While ClickHouse is away the figure stays and its age grows.
"""

from __future__ import annotations

import asyncio

from prometheus_client import Gauge

from api.services import Services
from connectors.errors import ConnectorError
from connectors.telemetry import get_logger

INTERVAL_S = 60.0
PERIOD_MS = 86_400_000

UNACCOUNTED = Gauge(
    "gosight_ledger_unaccounted_events",
    "Events received within a day of which nothing further is booked; 0 is sound.",
)
CHECKED_AT = Gauge("gosight_ledger_checked_timestamp_seconds", "When the ledger was last added up.")


async def watch_ledger(services: Services, interval_s: float = INTERVAL_S) -> None:
    """Add the ledger up again and again, until cancelled."""
    while True:
        try:
            await check_ledger(services)
        except ConnectorError as error:
            get_logger().warning("ledger_not_checked", reason=str(error))
        await asyncio.sleep(interval_s)


async def check_ledger(services: Services) -> int:
    """Add it up once; gives the events that are not accounted for.

    Raises:
        ConnectorError: ClickHouse cannot answer.
    """
    now_ms = services.now_ms()
    (row,) = await services.queries.rows("ledger_balance", {"since_ms": now_ms - PERIOD_MS})
    unaccounted = int(row["unaccounted"])
    UNACCOUNTED.set(unaccounted)
    CHECKED_AT.set(now_ms / 1000)
    return unaccounted
