"""`python -m api`: the API as a process.

SIGTERM and SIGINT stop accepting, let running requests end within the drain time, exit 0. It starts
without waiting for the databases; `/ready` tells when they answer.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Mapping

from aiohttp import web

from api.app import create_app
from api.clickhouse_runner import ClickHouseRunner
from api.ledger_watch import watch_ledger
from api.reads.commands import GosightCommands
from api.reads.jobs import Jobs
from api.reads.sql_runner import ClickHouseSqlRunner
from api.reads.stores import ReadStores
from api.services import Services
from api.settings import ApiSettings
from connectors.error_groups import PostgresErrorGroups
from connectors.errors import RetryableError
from connectors.job_book import RedisJobBook
from connectors.keys import KeyStore
from connectors.live_figures import RedisLiveFigures
from connectors.log_capture import own_process_logs
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.project_settings import PostgresProjectSettings
from connectors.redis import RedisKeyCache, connect_redis
from connectors.settings import SettingsError
from connectors.telemetry import get_logger, watch_event_loop


async def serve(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Answer requests until `stop` is set.

    Raises:
        OSError: the port cannot be listened on.
    """
    pool = await connect_postgres(settings.database_url)
    redis = connect_redis(settings.redis_url)
    runner = ClickHouseRunner(
        settings.clickhouse_url,
        threads=settings.queries_at_once_max,
        timeout_s=settings.query_timeout_s,
    )
    keys = KeyStore(PostgresKeySource(pool), RedisKeyCache(redis))

    async def check_keys() -> None:
        fault = await keys.check()
        if fault is not None:
            raise RetryableError(fault)

    async def check_redis() -> None:
        # Reading an entry that cannot exist: a ping that goes the way of real calls.
        await RedisKeyCache(redis).read("ready")

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    analysts = ClickHouseSqlRunner(settings.clickhouse_url)
    jobs = Jobs(RedisJobBook(redis), now_ms)
    services = Services(
        queries=runner,
        keys=keys,
        checks={"postgres": check_keys, "clickhouse": runner.check, "redis": check_redis},
        # Without Redis every answer is still right, only slower.
        vital=frozenset({"postgres", "clickhouse"}),
        now_ms=now_ms,
        reads=ReadStores(
            error_groups=PostgresErrorGroups(pool),
            live=RedisLiveFigures(redis),
            settings=PostgresProjectSettings(pool),
            commands=GosightCommands(settings.command_environ()),
            jobs=jobs,
            sql=analysts,
        ),
    )
    web_runner = web.AppRunner(
        create_app(services), access_log=None, shutdown_timeout=settings.drain_timeout_s
    )
    await web_runner.setup()
    try:
        site = web.TCPSite(web_runner, settings.listen_host, settings.http_port)
        await site.start()
        get_logger().info("api_started", port=settings.http_port)
        watches = [
            asyncio.create_task(watch_event_loop()),
            asyncio.create_task(watch_ledger(services)),
        ]
        await stop.wait()
        for watch in watches:
            watch.cancel()
        get_logger().info("api_stopping")
    finally:
        await web_runner.cleanup()
        await jobs.close()
        runner.close()
        analysts.close()
        await redis.aclose()
        await pool.close()


async def _run(settings: ApiSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main(environ: Mapping[str, str] | None = None) -> int:
    """Run the process; returns its exit code."""
    own_process_logs("api")
    try:
        settings = ApiSettings.from_process(environ)
    except SettingsError as error:
        get_logger().error("settings_invalid", detail=str(error))
        return 2
    own_process_logs("api", settings.log_level)
    try:
        asyncio.run(_run(settings))
    except OSError as error:
        get_logger().error("api_failed", detail=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
