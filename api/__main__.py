"""`python -m api`: the API as a process.

SIGTERM and SIGINT stop accepting, let running requests end within the drain time, exit 0. It starts
without waiting for the databases; `/ready` tells when they answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from aiohttp import web
from redis.asyncio import Redis

from api.accounts.key_caches import KeyCaches
from api.accounts.passwords import Passwords
from api.accounts.services import AccountOptions, AccountServices
from api.alerts.services import AlertServices
from api.app import create_app
from api.auth_tokens import TokenSigner
from api.clickhouse_runner import ClickHouseRunner
from api.connections import watch_connections
from api.ledger_watch import watch_ledger
from api.rate_limits import (
    PER_ADDRESS,
    PER_ADDRESS_AUTH,
    PER_CALLER_READS,
    PER_CALLER_WRITES,
    RateLimits,
)
from api.reads.answer_cache import AnswerCache
from api.reads.commands import GosightCommands
from api.reads.jobs import Jobs
from api.reads.sql_runner import ClickHouseSqlRunner
from api.reads.stores import ReadStores
from api.realtime.service import open_realtime
from api.running import run_process
from api.services import Services
from api.settings import ApiSettings
from connectors.alert_book import AlertBook
from connectors.answer_store import RedisAnswerStore
from connectors.database import Database
from connectors.error_groups import PostgresErrorGroups
from connectors.errors import RetryableError
from connectors.goal_book import GoalBook
from connectors.job_book import RedisJobBook
from connectors.key_uses import KeyUses
from connectors.keys import KeyStore
from connectors.live_figures import RedisLiveFigures
from connectors.outbound_guard import OutboundGuard
from connectors.postgres import Pool, PostgresKeySource, connect_postgres
from connectors.project_settings import PostgresProjectSettings
from connectors.redis import RedisKeyCache, RedisTokenBuckets, connect_redis
from connectors.telemetry import get_logger, watch_event_loop

ACCOUNT_POOL_SIZE = 8


async def serve(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Answer requests until `stop` is set.

    Raises:
        OSError: the port cannot be listened on.
    """
    pool = await connect_postgres(settings.database_url)
    # A pool of its own: a rush of logins must not keep keys from being looked up.
    account_pool = await connect_postgres(settings.database_url, ACCOUNT_POOL_SIZE)
    redis = connect_redis(settings.redis_url)
    runner = ClickHouseRunner(
        settings.clickhouse_url,
        threads=settings.queries_at_once_max,
        timeout_s=settings.query_timeout_s,
    )
    key_source = PostgresKeySource(pool)
    keys = KeyStore(key_source, RedisKeyCache(redis))

    async def check_keys() -> None:
        fault = await keys.check()
        if fault is not None:
            raise RetryableError(fault)

    async def check_redis() -> None:
        # Reading an entry that cannot exist: a ping that goes the way of real calls.
        await RedisKeyCache(redis).read("ready")

    async def check_kafka() -> None:
        await realtime.hub.check()

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    analysts = ClickHouseSqlRunner(settings.clickhouse_url)
    jobs = Jobs(RedisJobBook(redis), now_ms)
    answers = AnswerCache(RedisAnswerStore(redis), now_ms)
    key_uses = KeyUses(Database(pool))
    services = Services(
        queries=runner,
        keys=keys,
        checks={
            "postgres": check_keys,
            "clickhouse": runner.check,
            "redis": check_redis,
            "kafka": check_kafka,
        },
        # Without Redis every answer is still right, only slower; without Kafka nothing is live.
        vital=frozenset({"postgres", "clickhouse"}),
        now_ms=now_ms,
        reads=ReadStores(
            error_groups=PostgresErrorGroups(Database(pool)),
            live=RedisLiveFigures(redis),
            settings=PostgresProjectSettings(Database(pool)),
            commands=GosightCommands(settings.command_environ()),
            jobs=jobs,
            sql=analysts,
            answers=answers,
        ),
        alerts=AlertServices(
            book=AlertBook(Database(pool), OutboundGuard(settings.allowed_networks()), now_ms),
            senders=GosightCommands(settings.sender_environ()),
        ),
        goals=GoalBook(Database(pool)),
        count_use=key_uses.count,
    )
    accounts = build_accounts(settings, account_pool, redis)
    live = AsyncExitStack()
    realtime = await live.enter_async_context(open_realtime(services, settings.kafka_brokers))
    app = create_app(services, accounts, realtime)
    web_runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.drain_timeout_s)
    await web_runner.setup()
    try:
        site = web.TCPSite(web_runner, settings.listen_host, settings.http_port)
        await site.start()
        get_logger().info("api_started", port=settings.http_port)
        key_uses.start()
        assert web_runner.server is not None
        watches = [
            asyncio.create_task(watch_event_loop()),
            asyncio.create_task(watch_connections(app, web_runner.server)),
            asyncio.create_task(watch_ledger(services)),
        ]
        await stop.wait()
        for watch in watches:
            watch.cancel()
        get_logger().info("api_stopping")
    finally:
        await web_runner.cleanup()
        await live.aclose()
        await jobs.close()
        await answers.close()
        runner.close()
        accounts.passwords.close()
        await accounts.key_caches.close()
        await key_uses.close()
        analysts.close()
        await redis.aclose()
        await key_source.close()
        await account_pool.close()
        await pool.close()


def build_accounts(settings: ApiSettings, pool: Pool, redis: Redis) -> AccountServices:
    """The account side on these stores."""
    secrets = settings.jwt_secrets()
    return AccountServices(
        database=Database(pool),
        signer=TokenSigner(
            secrets, access_s=settings.access_s, refresh_s=settings.refresh_days * 86_400
        ),
        passwords=Passwords(settings.hashes_at_once_max),
        limits=RateLimits(
            RedisTokenBuckets(redis),
            # A key of its own: callers choose what is named, and must not choose what is signed.
            hmac.digest(secrets[0].encode(), b"names of buckets", hashlib.sha256),
            {
                PER_ADDRESS_AUTH.name: settings.auth_per_minute,
                PER_ADDRESS.name: settings.reads_per_minute,
                PER_CALLER_READS.name: settings.reads_per_minute,
                PER_CALLER_WRITES.name: settings.writes_per_minute,
            },
        ),
        key_caches=KeyCaches(RedisKeyCache(redis)),
        options=AccountOptions(
            is_registration_open=settings.is_registration_open,
            trusted_proxy_count=settings.trusted_proxy_count,
            dashboard_url=settings.dashboard_url.rstrip("/"),
            cors_origins=settings.cors_origins(),
        ),
    )


def main(environ: Mapping[str, str] | None = None) -> int:
    """Run the process; returns its exit code."""
    return run_process("api", lambda: ApiSettings.from_process(environ), serve)


if __name__ == "__main__":
    sys.exit(main())
