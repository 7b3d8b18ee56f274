"""What a flow process answers over HTTP: /health, /ready and /metrics.

A flow that has stopped making progress is alive but not ready: its last completed block is old
while records wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import REGISTRY, make_wsgi_app

STALLED_AFTER_S = 60.0  # deployment.md, section 9.
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class FlowHealth:
    """Whether the flow has started, and whether it keeps up with what waits for it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._is_started = False

    def started(self) -> None:
        """The dataflow is about to run."""
        self._is_started = True

    def state(self) -> dict[str, object]:
        """Readiness as one JSON object; `ready` is the verdict."""
        lags = _samples("gosight_kafka_consumer_lag_records")
        lag = sum(lags)
        committed_at = sum(_samples("gosight_flow_last_commit_timestamp_seconds"))
        age_s = self._clock() - committed_at if committed_at else None
        writing_since = sum(_samples("gosight_flow_writing_since_timestamp_seconds"))
        is_stuck = writing_since > 0 and self._clock() - writing_since > STALLED_AFTER_S
        is_behind = lag > 0 and age_s is not None and age_s > STALLED_AFTER_S
        is_stalled = is_stuck or is_behind
        return {
            # A partition that is read has a lag, be it 0.
            "ready": self._is_started and bool(lags) and not is_stalled,
            "started": self._is_started,
            "partitions": len(lags),
            "lag_records": int(lag),
            "last_commit_age_s": None if age_s is None else round(age_s, 1),
        }


def _samples(metric: str) -> list[float]:
    return [
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == metric
    ]


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Probes are not worth a log line."""


def serve_health(health: FlowHealth, host: str, port: int) -> int:
    """Serve in a daemon thread; return the port, which differs when `port` is 0."""
    metrics_app = make_wsgi_app()

    def app(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/").rstrip("/")
        if path == "/metrics":
            found: Iterable[bytes] = metrics_app(environ, start)
            return found
        if path in {"/health", "/livez"}:
            return _answer(start, "200 OK", {"alive": True})
        if path in {"/ready", "/readyz"}:
            state = health.state()
            return _answer(start, "200 OK" if state["ready"] else "503 Service Unavailable", state)
        return _answer(start, "404 Not Found", {"error": "NOT_FOUND"})

    server = make_server(host, port, app, WSGIServer, _QuietHandler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return int(server.server_port)


def _answer(start: StartResponse, status: str, body: dict[str, object]) -> list[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [msgspec.json.encode(body)]
