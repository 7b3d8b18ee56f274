"""The account side on the real stores, with a clock of its own: people, their projects, calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api.accounts.key_caches import KeyCaches
from api.accounts.passwords import Passwords
from api.accounts.services import AccountOptions, AccountServices
from api.app import create_app
from api.auth_tokens import TokenSigner
from api.clickhouse_runner import ClickHouseRunner
from api.rate_limits import RateLimits
from api.realtime.limits import RealtimeLimits
from api.realtime.service import open_realtime
from api.services import Services
from connectors.database import Database
from connectors.goal_book import GoalBook
from connectors.keys import KeyStore
from connectors.memory import MemoryTokenBuckets
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.redis import RedisKeyCache, connect_redis
from tests.integration.api.alert_world import alert_services
from tests.integration.api.read_world import read_stores
from tests.stack import RunningStack

PASSWORD = "correct horse battery"
SECRET = "secret of the account tests 0123456789"
# As many calls as a test likes; tests of limits say otherwise.
NO_LIMITS = {"auth": 100_000, "address": 100_000, "reads": 100_000, "writes": 100_000}


@dataclass
class Clock:
    """Time stands still unless it is told to go on."""

    now_ms: int

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += round(seconds * 1000)


@dataclass(frozen=True)
class Reply:
    """An answer, read."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        """Of a success."""
        assert self.document["success"], self.document
        return self.document["data"]

    @property
    def code(self) -> str:
        """Of a failure."""
        assert not self.document["success"], self.document
        return str(self.document["error"]["code"])


@dataclass(frozen=True)
class Person:
    """Somebody with an account, logged in."""

    id: str
    email: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        """As they call."""
        return {"Authorization": f"Bearer {self.access_token}"}


@dataclass
class World:
    """One application and its client."""

    client: TestClient[web.Request, web.Application]
    clock: Clock
    services: Services
    accounts: AccountServices
    buckets: MemoryTokenBuckets
    people: dict[str, Person] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, person: Person | None = None, /, json: Any = None, **more: Any
    ) -> Reply:
        """One call; `more` may hold `headers`, `data`, `params`."""
        headers = {**(person.headers if person else {}), **more.pop("headers", {})}
        url = path if path.startswith("/api") else f"/api/v1{path}"
        if json is not None:
            more["json"] = json
        async with self.client.request(method, url, headers=headers, **more) as answer:
            if answer.content_type != "application/json":  # A file.
                document = {"success": answer.status < 400, "data": await answer.text()}
                return Reply(answer.status, document, answer.headers)
            return Reply(answer.status, await answer.json(), answer.headers)

    async def register(self, name: str = "ann", **more: Any) -> Person:
        """Somebody new, whose e-mail nobody else has."""
        email = f"{name}-{uuid4().hex[:12]}@example.com"
        body = {"email": email, "password": PASSWORD, "name": name, **more}
        return person_of(await self.call("POST", "/auth/register", json=body))

    async def log_in(self, person: Person, **more: Any) -> Person:
        """Another login of the same account."""
        body = {"email": person.email, "password": PASSWORD}
        return person_of(await self.call("POST", "/auth/login", json=body, **more))

    async def project(self, owner: Person, name: str = "Shop") -> tuple[str, str]:
        """A project's id and its first key."""
        reply = await self.call("POST", "/projects", owner, json={"name": name})
        assert reply.status == 201, reply.document
        return reply.data["id"], reply.data["api_key"]

    async def join(self, owner: Person, project_id: str, role: str) -> Person:
        """Somebody new who has this role in the project."""
        person = await self.register(role)
        body = {"email": person.email, "role": role}
        reply = await self.call("POST", f"/projects/{project_id}/members", owner, json=body)
        assert reply.status == 201, reply.document
        return person


def person_of(reply: Reply) -> Person:
    """Who has logged in by this answer."""
    assert reply.status in (200, 201), reply.document
    data = reply.data
    return Person(
        data["user"]["id"], data["user"]["email"], data["access_token"], data["refresh_token"]
    )


@asynccontextmanager
async def account_world(
    databases: RunningStack,
    *,
    limits: Mapping[str, int] | None = None,
    options: AccountOptions | None = None,
    now_ms: int = 1_795_255_200_000,
    senders: Mapping[str, str] | None = None,
    live: RealtimeLimits | None = None,
) -> AsyncIterator[World]:
    """The application as `python -m api` builds it, with cheap hashes, limits and clock of ours.

    With `live` it has live WebSockets.
    """
    clock = Clock(now_ms)
    key_pool = await connect_postgres(databases.database_url)
    pool = await connect_postgres(databases.database_url, 8)
    redis = connect_redis(databases.redis_url, timeout_s=2.0)
    runner = ClickHouseRunner(databases.clickhouse_url, threads=4, timeout_s=10)
    buckets = MemoryTokenBuckets(lambda: clock.now_ms / 1000)
    accounts = AccountServices(
        database=Database(pool),
        signer=TokenSigner((SECRET,), access_s=900, refresh_s=30 * 86_400),
        passwords=Passwords(1, memory_kib=64, rounds=1, lanes=1),
        limits=RateLimits(
            buckets,
            SECRET.encode(),
            NO_LIMITS if limits is None else limits,
            lambda: clock.now_ms / 1000,
        ),
        key_caches=KeyCaches(RedisKeyCache(redis)),
        options=options or AccountOptions(is_registration_open=True),
    )
    try:
        async with read_stores(databases, key_pool, redis) as reads:
            services = Services(
                queries=runner,
                keys=KeyStore(PostgresKeySource(key_pool), RedisKeyCache(redis), fresh_s=0.0),
                checks={},
                vital=frozenset(),
                now_ms=lambda: clock.now_ms,
                reads=reads,
                alerts=alert_services(
                    databases, pool, senders=senders, now_ms=lambda: clock.now_ms
                ),
                goals=GoalBook(Database(pool)),
            )
            async with AsyncExitStack() as opened:
                realtime = None
                if live is not None:
                    realtime = await opened.enter_async_context(
                        open_realtime(services, databases.kafka_brokers, live)
                    )
                server = TestServer(create_app(services, accounts, realtime))
                client = await opened.enter_async_context(TestClient(server))
                yield World(client, clock, services, accounts, buckets)
    finally:
        await accounts.key_caches.close()
        accounts.passwords.close()
        runner.close()
        await redis.aclose()
        await pool.close()
        await key_pool.close()
