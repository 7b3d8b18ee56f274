"""One gateway process, put together: stores, sink, handlers, transports, and their end.

Stopping: no new connections, running requests are finished, the producer is emptied, stores are
closed; in that order, within `drain_timeout_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from connectors.database import Database
from connectors.errors import RetryableError
from connectors.key_uses import KeyUses
from connectors.keys import KeyStore
from connectors.postgres import Pool, PostgresKeySource, connect_postgres
from connectors.redis import RedisKeyCache, RedisTokenBuckets, connect_redis
from connectors.telemetry import get_logger
from ingest_gateway.app import create_app, create_metrics_app, make_runner
from ingest_gateway.auth import Authenticator
from ingest_gateway.decode import DecodeLimits
from ingest_gateway.grpc_server import GrpcHandlers, GrpcOptions, start_grpc
from ingest_gateway.handlers import HttpHandlers, HttpOptions
from ingest_gateway.health import Readiness
from ingest_gateway.ingest import IngestOptions, Ingestor
from ingest_gateway.lane import Lanes
from ingest_gateway.limits import RateGuard, RateOptions, SharedRates
from ingest_gateway.metrics import GatewayMetrics
from ingest_gateway.producer import KafkaRecordSink, SinkLimits
from ingest_gateway.settings import REPLAY_BODY_BYTES_MAX, GatewaySettings
from schemas.codec import assert_fast_protobuf
from schemas.records import ProjectKey

COUNTER_INTERVAL_S = 1.0
LISTEN_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a started service listens; None where it does not."""

    http: int
    grpc: int | None
    metrics: int | None


class GatewayService:
    """A running gateway. `stopped` is set when the process should end on its own account."""

    def __init__(self, settings: GatewaySettings, worker: int = 0) -> None:
        self._settings = settings
        self._worker = worker
        self.failed = asyncio.Event()
        self.metrics = GatewayMetrics()
        self._runners: list[web.AppRunner] = []
        self._grpc_server: Any = None
        self._http_server: asyncio.Server | None = None
        self._lanes: Lanes | None = None
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._counter_task: asyncio.Task[None] | None = None

    async def start(self) -> Ports:
        """Connect and listen.

        Raises:
            OSError: a port cannot be had.
            RuntimeError: protobuf runs on its slow implementation.
        """
        assert_fast_protobuf()
        settings = self._settings
        self._redis: Redis = connect_redis(settings.redis_url)
        self._pool: Pool = await connect_postgres(settings.database_url)
        self._key_uses = KeyUses(Database(self._pool))
        buckets = RedisTokenBuckets(self._redis)
        keys = KeyStore(PostgresKeySource(self._pool), RedisKeyCache(self._redis))
        self._sink = KafkaRecordSink(
            settings.kafka_brokers,
            SinkLimits(
                bytes_in_flight_max=settings.kafka_bytes_in_flight_max,
                records_in_flight_max=settings.kafka_records_in_flight_max,
                delivery_timeout_s=settings.kafka_delivery_timeout_s,
                linger_ms=settings.kafka_linger_ms,
                compression=settings.kafka_compression,
            ),
            on_fatal=lambda _reason: self.failed.set(),
        )
        self.metrics.queue_gauge = lambda: (
            self._sink.records_in_flight,
            self._sink.bytes_in_flight,
        )
        self._readiness = Readiness(
            {"kafka": self._sink.check, "postgres": keys.check, "redis": self._check_redis}
        )
        self._readiness.start()
        ingestor = Ingestor(
            Authenticator(keys, lambda: time.time_ns() // 1_000_000),
            RateGuard(buckets, on_fallback=self._on_rate_fallback),
            self._sink,
            self.metrics,
            IngestOptions(
                decode=DecodeLimits(settings.unpacked_bytes_max, settings.batch_events_max),
                is_replay_enabled=settings.is_replay_enabled,
                ip_hash_secret=settings.ip_hash_secret.encode(),
            ),
            count_request=self._count_request,
            shared_rates=self._make_shared_rates(buckets),
        )
        self._counter_task = asyncio.create_task(self._write_counters(buckets))
        self._key_uses.start()
        return await self._listen(ingestor)

    def _make_shared_rates(self, buckets: RedisTokenBuckets) -> SharedRates | None:
        settings = self._settings
        if not settings.project_rate_limit_per_s and not settings.address_rate_limit_per_s:
            return None
        options = RateOptions(
            settings.project_rate_limit_per_s,
            settings.project_rate_limit_burst,
            settings.address_rate_limit_per_s,
            settings.address_rate_limit_burst,
            settings.ip_hash_secret.encode() or secrets.token_bytes(32),
        )
        return SharedRates(buckets, options)

    async def _listen(self, ingestor: Ingestor) -> Ports:
        settings = self._settings
        has_own_metrics_port = settings.metrics_port > 0
        options = HttpOptions(
            body_bytes_max=settings.body_bytes_max,
            replay_body_bytes_max=max(REPLAY_BODY_BYTES_MAX, settings.body_bytes_max),
            request_timeout_s=settings.request_timeout_s,
            requests_in_flight_max=settings.requests_in_flight_max,
            trusted_proxy_count=settings.trusted_proxy_count,
            has_own_metrics_port=has_own_metrics_port and settings.processes > 1,
        )
        handlers = HttpHandlers(ingestor, self._readiness, self.metrics, options)
        metrics_port: int | None = None
        if has_own_metrics_port:
            metrics_app = create_metrics_app(self.metrics)
            metrics_port = settings.metrics_port + self._worker
            await self._serve(metrics_app, metrics_port)
        grpc_port: int | None = None
        if settings.grpc_port >= 0:
            grpc_options = GrpcOptions(
                settings.body_bytes_max,
                REPLAY_BODY_BYTES_MAX,
                request_timeout_s=settings.request_timeout_s,
                is_port_shared=settings.processes > 1,
            )
            host = settings.listen_host
            if ":" in host:  # IPv6.
                host = f"[{host}]"
            address = f"{host}:{settings.grpc_port}"
            grpc_handlers = GrpcHandlers(ingestor, self.metrics, grpc_options)
            self._grpc_server, grpc_port = await start_grpc(grpc_handlers, address, grpc_options)
        http_port = await self._serve_lanes(handlers, ingestor, options)
        return Ports(http_port, grpc_port, metrics_port)

    async def _serve_lanes(
        self, handlers: HttpHandlers, ingestor: Ingestor, options: HttpOptions
    ) -> int:
        """The public HTTP port: the lane in front, the application behind it."""
        settings = self._settings
        runner = make_runner(create_app(handlers, settings.alias_path), settings.drain_timeout_s)
        self._runners.append(runner)
        await runner.setup()
        assert runner.server is not None
        self._lanes = Lanes(ingestor, self.metrics, options, handlers.gate, runner.server)
        self._http_server = await asyncio.get_running_loop().create_server(
            self._lanes.connect,
            settings.listen_host,
            settings.http_port,
            backlog=LISTEN_BACKLOG,
            reuse_port=settings.processes > 1 or None,
        )
        return int(self._http_server.sockets[0].getsockname()[1])

    async def _serve(self, app: web.Application, port: int) -> None:
        runner = make_runner(app, self._settings.drain_timeout_s)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, self._settings.listen_host, port, backlog=LISTEN_BACKLOG).start()

    async def stop(self) -> int:
        """Finish and close; gives the number of records left unacknowledged."""
        deadline = time.monotonic() + self._settings.drain_timeout_s
        if hasattr(self, "_readiness"):
            self._readiness.stop()
        if self._http_server is not None:
            self._http_server.close()
        closing = [runner.cleanup() for runner in self._runners]
        if self._lanes is not None:
            closing.append(self._lanes.close(self._settings.drain_timeout_s))
        if self._grpc_server is not None:
            closing.append(self._grpc_server.stop(self._settings.drain_timeout_s))
        await asyncio.gather(*closing)
        if self._counter_task is not None:
            self._counter_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._counter_task
        left = 0
        if hasattr(self, "_sink"):
            left = await self._sink.close(max(1.0, deadline - time.monotonic()))
        if hasattr(self, "_key_uses"):
            await self._key_uses.close()
        if hasattr(self, "_pool"):
            await self._pool.close(timeout=2.0)
        if hasattr(self, "_redis"):
            await self._redis.aclose()
        return left

    def _count_request(self, key: ProjectKey) -> None:
        self._counts[key.project_id, int(time.time()) // 60] += 1
        self._key_uses.count(key.key_hash)

    async def _write_counters(self, buckets: RedisTokenBuckets) -> None:
        """Bring the counts that the dashboard shows to Redis; lost ones are no harm."""
        while True:
            await asyncio.sleep(COUNTER_INTERVAL_S)
            if self._counts:
                counts, self._counts = self._counts, defaultdict(int)
                with contextlib.suppress(RetryableError):
                    await buckets.add_to_counters(counts)

    async def _check_redis(self) -> str | None:
        try:
            await self._redis.ping()
        except Exception as error:
            return f"Redis is away: {type(error).__name__}"
        return None

    def _on_rate_fallback(self, is_local: bool) -> None:
        self.metrics.is_rate_limit_local = is_local
        get_logger().info("rate_limit_mode", is_local=is_local)
