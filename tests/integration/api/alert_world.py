"""The stores of alerts on real servers, as `python -m api` builds them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from api.alerts.services import AlertServices
from api.reads.commands import GosightCommands
from connectors.alert_book import AlertBook
from connectors.database import Database
from connectors.outbound_guard import OutboundGuard
from connectors.postgres import Pool
from connectors.settings import read_networks
from tests.stack import RunningStack

# Receivers of tests are there; every other address that is not public is refused.
ALLOWED = "127.0.0.0/8"


def alert_services(
    databases: RunningStack,
    pool: Pool,
    *,
    senders: Mapping[str, str] | None = None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> AlertServices:
    """`senders` are the variables by which messages reach somebody."""
    environ = {
        "CLICKHOUSE_URL": databases.clickhouse_url,
        "DATABASE_URL": databases.database_url,
        "WEBHOOK_ALLOWED_NETWORKS": ALLOWED,
        **(senders or {}),
    }
    return AlertServices(
        book=AlertBook(Database(pool), OutboundGuard(read_networks(ALLOWED)), now_ms),
        senders=GosightCommands(environ),
    )
