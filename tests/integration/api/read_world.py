"""The stores of reads on real servers, as `python -m api` builds them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from api.reads.answer_cache import AnswerCache
from api.reads.commands import GosightCommands
from api.reads.jobs import Jobs
from api.reads.sql_runner import ClickHouseSqlRunner
from api.reads.stores import ReadStores
from connectors.answer_store import RedisAnswerStore
from connectors.database import Database
from connectors.error_groups import PostgresErrorGroups
from connectors.job_book import RedisJobBook
from connectors.live_figures import RedisLiveFigures
from connectors.postgres import Pool
from connectors.project_settings import PostgresProjectSettings
from tests.stack import RunningStack


@asynccontextmanager
async def read_stores(
    databases: RunningStack, pool: Pool, redis: Redis
) -> AsyncIterator[ReadStores]:
    """All of them; what they opened themselves is closed."""
    analysts = ClickHouseSqlRunner(databases.clickhouse_url)
    jobs = Jobs(RedisJobBook(redis), _now_ms)
    answers = AnswerCache(RedisAnswerStore(redis), _now_ms)
    environ = {"CLICKHOUSE_URL": databases.clickhouse_url, "DATABASE_URL": databases.database_url}
    try:
        yield ReadStores(
            error_groups=PostgresErrorGroups(Database(pool)),
            live=RedisLiveFigures(redis),
            settings=PostgresProjectSettings(Database(pool)),
            commands=GosightCommands(environ),
            jobs=jobs,
            sql=analysts,
            answers=answers,
        )
    finally:
        await jobs.close()
        await answers.close()
        analysts.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
