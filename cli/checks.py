"""What `gosight doctor` looks at: one function a subject.

In: settings. Out: `Check`s, each with what was found and, when it fails, what to do. A check never
raises for what it is there to find.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from google.protobuf.internal import api_implementation
from redis import Redis
from redis.exceptions import RedisError

from cli.settings import CliSettings
from connectors.clickhouse import connect as connect_clickhouse
from connectors.clickhouse import query_rows
from connectors.errors import ConnectorError
from connectors.kafka_admin import check_topics
from connectors.lookups import load_agent_parser, load_place_reader
from sql.migrate import MigrationError, migration_status

TIMEOUT_S = 5.0
CLOCK_MS_MAX = 1_000
DISK_BYTES_MIN = 2 * 1024**3
_START = "start it, or run `gosight up`; then check"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `advice` is empty when `ok`."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def all_checks(settings: CliSettings, data: Path) -> Iterator[Check]:
    """Every check, the quick ones first."""
    yield _python()
    yield _protobuf()
    yield _loaded("user agents", lambda: load_agent_parser()("Mozilla/5.0 Firefox/145.0"))
    yield _place_reader()
    yield _places(settings.geoip_database)
    yield _disk(data)
    databases = [*_postgres(settings.database_url), *_clickhouse(settings.clickhouse_url)]
    yield from databases
    yield _redis(settings.redis_url)
    yield from _kafka(settings)
    if all(check.ok for check in databases):
        yield _migrations(settings)
    else:
        yield Check("migrations", False, "cannot be told", "start both databases first")


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Check("python", fits, version, "" if fits else "use Python 3.11 or 3.12")


def _protobuf() -> Check:
    kind = api_implementation.Type()
    advice = "install the binary wheel of protobuf; the pure-Python one is 50 times slower"
    return Check("protobuf", kind == "upb", kind, "" if kind == "upb" else advice)


def _loaded(name: str, load: Callable[[], object]) -> Check:
    try:
        load()
    except ConnectorError as error:
        return Check(name, False, "slow or missing", str(error))
    return Check(name, True, "compiled part in use")


def _place_reader() -> Check:
    try:
        import maxminddb.extension
    except ImportError:
        return Check("maxminddb", False, "no C extension", "install a wheel of maxminddb")
    assert maxminddb.extension.Reader is not None
    return Check("maxminddb", True, "C extension in use")


def _places(path: str) -> Check:
    if not path:
        return Check("places", True, "GEOIP_DATABASE is not set: events get no country")
    try:
        load_place_reader(path)
    except ConnectorError as error:
        return Check("places", False, path, str(error))
    return Check("places", True, path)


def _disk(data: Path) -> Check:
    folder = data if data.exists() else Path.cwd()
    free = shutil.disk_usage(folder).free
    found = f"{free / 1024**3:.1f} GiB free at {folder}"
    fits = free >= DISK_BYTES_MIN
    return Check("disk", fits, found, "" if fits else "make room: Kafka stops when it is full")


def _postgres(url: str) -> Iterator[Check]:
    try:
        with psycopg.connect(url, connect_timeout=int(TIMEOUT_S)) as connection:
            began_s = time.time()
            row = connection.execute(
                "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())"
            ).fetchone()
            ended_s = time.time()
    except psycopg.OperationalError as error:
        yield Check("postgres", False, _first_line(error), f"{_START} DATABASE_URL")
        return
    assert row is not None
    yield Check("postgres", True, f"version {row[0]}")
    # The server read its clock between the two readings of ours.
    ahead_s = max(began_s - float(row[1]), float(row[1]) - ended_s, 0.0)
    fits = ahead_s * 1000 <= CLOCK_MS_MAX
    yield Check(
        "clock",
        fits,
        f"within {CLOCK_MS_MAX} ms of PostgreSQL's"
        if fits
        else f"{ahead_s:.1f} s off PostgreSQL's",
        "" if fits else "synchronise the clocks of the machines (NTP)",
    )


def _clickhouse(url: str) -> Iterator[Check]:
    try:
        client = connect_clickhouse(url, timeout_s=TIMEOUT_S)
        version = query_rows(client, "SELECT version()")[0][0]
    except ConnectorError as error:
        yield Check("clickhouse", False, str(error), f"{_START} CLICKHOUSE_URL")
        return
    yield Check("clickhouse", True, f"version {version}")


def _redis(url: str) -> Check:
    try:
        with Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as redis:
            info = redis.info("server")
    except (RedisError, OSError) as error:
        return Check("redis", False, _first_line(error), f"{_START} REDIS_URL")
    version = info.get("valkey_version") or info.get("redis_version")
    return Check("redis", True, f"version {version}")


def _kafka(settings: CliSettings) -> Iterator[Check]:
    brokers = settings.kafka_brokers
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    try:
        count = len(admin.list_topics(timeout=TIMEOUT_S).brokers)
    except KafkaException as error:
        yield Check("kafka", False, error.args[0].str(), f"{_START} KAFKA_BROKERS")
        return
    yield Check("kafka", True, f"{count} broker{'' if count == 1 else 's'}")
    try:
        faults = check_topics(
            brokers,
            TIMEOUT_S,
            replication=settings.replication,
            min_insync_replicas=settings.min_insync_replicas,
        )
    except ConnectorError as error:
        faults = [str(error)]
    yield Check(
        "topics",
        not faults,
        "; ".join(faults) or "as the registry says",
        "run `gosight topics create`; change what differs by hand" if faults else "",
    )


def _migrations(settings: CliSettings) -> Check:
    try:
        states = migration_status(settings.database_url, settings.clickhouse_url, wait_s=TIMEOUT_S)
    except MigrationError as error:
        return Check("migrations", False, str(error), "use the version that wrote this database")
    except ConnectorError as error:
        return Check("migrations", False, str(error), "start both databases first")
    missing = sum(state.applied_at is None for state in states)
    found = f"{len(states) - missing} of {len(states)} applied"
    return Check("migrations", not missing, found, "run `gosight migrate up`" if missing else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
