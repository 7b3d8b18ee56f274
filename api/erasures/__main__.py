"""`python -m api.erasures`: the process that exports and erases what was asked for.

Several may run: each order is one worker's at a time. SIGTERM and SIGINT end it after the step that
it is at, at the latest when its lease is over for others; exit 0. `/ready` tells whether the stores
answer.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping

from aiohttp import web

from api import service_handlers
from api.clickhouse_runner import ClickHouseRunner
from api.erasures.settings import ErasureSettings
from api.erasures.worker import Worker
from api.running import run_process
from connectors.dependencies import AsyncProbes
from connectors.errors import ConnectorError
from connectors.keys import KeyStore
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.redis import RedisKeyCache, connect_redis
from connectors.telemetry import get_logger

TIDY_S = 300.0
DRAIN_S = 30.0


async def serve(settings: ErasureSettings, stop: asyncio.Event) -> None:
    """Do what is ordered until `stop` is set.

    Raises:
        OSError: the port cannot be listened on.
    """
    pool = await connect_postgres(settings.database_url, 1)
    redis = connect_redis(settings.redis_url)
    clickhouse = ClickHouseRunner(settings.clickhouse_url, threads=1, timeout_s=1)
    key_source = PostgresKeySource(pool)
    keys = KeyStore(key_source, RedisKeyCache(redis))

    async def ask_clickhouse() -> str | None:
        await clickhouse.check()
        return None

    async def ask_redis() -> str | None:
        await RedisKeyCache(redis).read("ready")
        return None

    # Each ends by itself, also while its server is frozen: the worker's own calls may take long.
    probes = AsyncProbes(
        {"postgres": keys.check, "clickhouse": ask_clickhouse, "redis": ask_redis},
        frozenset({"postgres", "clickhouse", "redis"}),
    )
    app = web.Application()
    app[service_handlers.PROBES] = probes
    app.router.add_get("/health", service_handlers.health)
    app.router.add_get("/ready", service_handlers.ready)
    app.router.add_get("/metrics", service_handlers.metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    probes.start()
    worker = Worker(
        settings.database_url,
        settings.clickhouse_url,
        settings.redis_url,
        lease_s=settings.lease_s,
    )
    try:
        await web.TCPSite(runner, settings.metrics_host, settings.metrics_port).start()
        get_logger().info("erasures_started", port=settings.metrics_port)
        task = asyncio.create_task(_work(worker, settings.poll_s, stop))
        await stop.wait()
        get_logger().info("erasures_stopping")
        await asyncio.wait({task}, timeout=DRAIN_S)
    finally:
        probes.stop()
        await runner.cleanup()
        clickhouse.close()
        await redis.aclose()
        await key_source.close()
        await pool.close()


async def _work(worker: Worker, poll_s: float, stop: asyncio.Event) -> None:
    tidied_at = float("-inf")
    while not stop.is_set():
        is_busy = False
        try:
            is_busy = await asyncio.to_thread(worker.run_once)
            if time.monotonic() - tidied_at > TIDY_S:
                await asyncio.to_thread(worker.tidy)
                tidied_at = time.monotonic()
        except ConnectorError as error:
            get_logger().warning("erasures_wait", reason=str(error))
        if not is_busy:
            try:
                await asyncio.wait_for(stop.wait(), poll_s)
            except TimeoutError:
                continue


def main(environ: Mapping[str, str] | None = None) -> int:
    """Run the process; returns its exit code."""
    given = os.environ if environ is None else environ
    code = run_process("erasures", lambda: ErasureSettings.from_env(given), serve)
    if code == 0:
        # A step that does not end is left to the next process: it may be done twice.
        os._exit(0)
    return code


if __name__ == "__main__":
    sys.exit(main())
