"""Figures of the live WebSocket. Source: api.md, section 8."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge("gosight_api_realtime_connections", "WebSockets that are open.")
SENT = Counter("gosight_api_realtime_messages_total", "Messages put out, by channel.", ["channel"])
DROPPED = Counter(
    "gosight_api_realtime_dropped_total",
    "Messages kept from clients that are too slow for them, by channel.",
    ["channel"],
)
CLOSED = Counter("gosight_api_realtime_closed_total", "WebSockets that we ended.", ["code"])
