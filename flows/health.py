"""What a flow process answers over HTTP: /health, /ready and /metrics.

A flow that has stopped making progress is alive but not ready: its last completed block is old
while records wait, or a detector of a user's own does not return, which is named. Kafka is needed,
and ClickHouse by flows that write to it; without PostgreSQL a flow goes on if it is alone, without
Redis it writes no live figures.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
import psycopg
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from prometheus_client import Gauge, make_wsgi_app

from connectors.claims import SHARE
from connectors.dependencies import ANSWER_S, Probe, ThreadProbes, all_needed_up
from connectors.errors import FatalError
from connectors.kafka_lag import LagMonitor
from flows.settings import FlowSettings
from flows.write_figures import LAST_COMMIT, WRITING_SINCE

STALLED_AFTER_S = 60.0  # deployment.md, section 9.
NEEDED = frozenset({"kafka", "clickhouse"})
# The delivery of alerts keeps all it does in PostgreSQL.
NEEDED_BY = {"alert_delivery": frozenset({"kafka", "postgres"})}
# Flows that use fewer servers than the others.
USED = {
    "alerts": frozenset({"kafka", "postgres"}),
    "behaviour": frozenset({"kafka", "postgres"}),
    "alert_delivery": frozenset({"kafka", "postgres"}),
}
CLIENT_FAILURES_MAX = 3
PORT_MAX = 65_535
FLOW_READY = Gauge("gosight_flow_ready", "1 while /ready says yes.")
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class FlowHealth:
    """Whether the flow has started, its servers answer, and it keeps up with what waits for it."""

    def __init__(
        self, probes: ThreadProbes | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._probes = probes
        self._clock = clock
        self._started_at_s: float | None = None
        self._lag: LagMonitor | None = None
        self._hanging: Callable[[], str | None] = lambda: None
        FLOW_READY.set_function(lambda: float(self.state()["status"] == "ready"))

    def watch_lag(self, monitor: LagMonitor) -> None:
        """Ask this monitor from now on how far the flow is behind; the one before is closed."""
        if self._lag is not None:
            self._lag.close()
        self._lag = monitor

    def watch_calls(self, hanging: Callable[[], str | None]) -> None:
        """Ask this from now on what hangs, in words; None while nothing does."""
        self._hanging = hanging

    def started(self) -> None:
        """The dataflow is about to run."""
        self._started_at_s = self._clock()

    def state(self) -> dict[str, object]:
        """Readiness as one JSON object; `status` is the verdict."""
        now_s = self._clock()
        lag = self._lag.lag_records() if self._lag is not None else 0
        share = _values(SHARE)
        partitions = self._lag.known_parts() if self._lag is not None else 0
        committed_at = max(_values(LAST_COMMIT), default=0.0)
        writing_since = max(_values(WRITING_SINCE), default=0.0)
        is_stuck = writing_since > 0 and now_s - writing_since > STALLED_AFTER_S
        moved_at_s = max(committed_at, self._started_at_s or now_s)
        hanging = self._hanging()
        is_behind = lag > 0 and now_s - moved_at_s > STALLED_AFTER_S
        is_stalled = is_stuck or is_behind or hanging is not None
        servers = self._probes.documents() if self._probes is not None else {}
        is_ready = (
            self._started_at_s is not None
            and (partitions > 0 or share == [0.0])  # More processes than partitions.
            and not is_stalled
            and all_needed_up(servers)
        )
        return {
            "status": "ready" if is_ready else "not ready",
            "started": self._started_at_s is not None,
            "stalled": is_stalled,
            "hanging": hanging,
            "partitions": partitions,
            "lag_records": lag,
            "lag_seconds": round(self._lag.lag_seconds(), 1) if self._lag is not None else 0.0,
            "last_commit_age_s": round(now_s - committed_at, 1) if committed_at else None,
            "dependencies": servers,
        }


def _values(gauge: Gauge) -> list[float]:
    return [sample.value for family in gauge.collect() for sample in family.samples]


def watch_servers(settings: FlowSettings, flow: str = "storage") -> ThreadProbes:
    """Ask every server of a flow again and again, from now on."""
    probes: dict[str, Callable[[], Probe]] = {
        "kafka": lambda: kafka_probe(settings.kafka_brokers),
        "clickhouse": lambda: _clickhouse_probe(settings.clickhouse_url),
        "postgres": lambda: _postgres_probe(settings.database_url),
        "redis": lambda: _redis_probe(settings.redis_url),
    }
    used = USED.get(flow, frozenset(probes))
    return ThreadProbes(
        {name: make() for name, make in probes.items() if name in used}, NEEDED_BY.get(flow, NEEDED)
    )


def kafka_probe(brokers: str, make_client: Callable[[Any], AdminClient] = AdminClient) -> Probe:
    """Ask for the brokers' metadata.

    A client that was left without a broker while they stood still may look for them again only
    minutes after they are back (seen with librdkafka 2.16): it is given some time, then replaced.
    """
    clients: list[AdminClient] = []
    failures = 0

    def ask() -> str | None:
        nonlocal failures
        if not clients:
            clients.append(make_client({"bootstrap.servers": brokers, "log_level": 2}))
        try:
            clients[0].list_topics(timeout=ANSWER_S)
        except KafkaException as error:
            failures += 1
            if failures % CLIENT_FAILURES_MAX == 0:
                clients.clear()
            return f"no broker answers: {error.args[0].str()}"
        failures = 0
        return None

    return ask


def _clickhouse_probe(url: str) -> Probe:
    from connectors.clickhouse import connect, query_rows  # Megabytes that not every flow needs.

    clients: list[Any] = []

    def ask() -> str | None:
        client = clients.pop() if clients else connect(url, timeout_s=1, connect_timeout_s=1)
        query_rows(client, "SELECT 1")  # Raises, and the client is forgotten.
        clients.append(client)
        return None

    return ask


def _postgres_probe(url: str) -> Probe:
    connections: list[psycopg.Connection[Any]] = []

    def ask() -> str | None:
        try:
            connection = (
                connections.pop()
                if connections
                else psycopg.connect(url, autocommit=True, connect_timeout=2)
            )
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            return f"PostgreSQL is away: {type(error).__name__}"
        connections.append(connection)
        return None

    return ask


def _redis_probe(url: str) -> Probe:
    client = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)

    def ask() -> str | None:
        try:
            client.ping()
        except (redis.RedisError, OSError) as error:
            return f"Redis is away: {type(error).__name__}"
        return None

    return ask


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Probes are not worth a log line."""


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    """A client that says nothing must not keep the others waiting."""

    daemon_threads = True


def serve_health(health: FlowHealth, host: str, port: int) -> int:
    """Serve in daemon threads; return the port, which differs when `port` is 0.

    Raises:
        FatalError: the port cannot be listened on.
    """
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
            is_ready = state["status"] == "ready"
            return _answer(start, "200 OK" if is_ready else "503 Service Unavailable", state)
        return _answer(start, "404 Not Found", {"error": "NOT_FOUND"})

    try:
        server = make_server(host, port, app, _ThreadingServer, _QuietHandler)
    except OSError as error:
        raise _cannot_listen(error, host, port) from error
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return int(server.server_port)


def check_port(host: str, port: int) -> None:
    """Find out whether a flow could serve here, before it is started.

    Raises:
        FatalError: the port cannot be listened on.
    """
    if port > PORT_MAX:
        raise FatalError(f"METRICS_PORT {port} is no port; {PORT_MAX} is the last")
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise _cannot_listen(error, host, port) from error


def _cannot_listen(error: OSError, host: str, port: int) -> FatalError:
    if error.errno == errno.EADDRINUSE:
        return FatalError(
            f"METRICS_PORT {port} is taken; each process on one host needs its own, 0 takes any"
        )
    return FatalError(f"cannot listen on METRICS_HOST {host}: {error.strerror}")


def _answer(start: StartResponse, status: str, body: dict[str, object]) -> list[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [msgspec.json.encode(body)]
