"""What the handlers work with: look-ups and queries behind small interfaces.

The real ones are built in `api.__main__`; tests pass in-memory twins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from api.alerts.services import AlertServices
from api.reads.stores import ReadStores
from connectors.goal_book import GoalBook
from schemas.records import ProjectKey

Row = Mapping[str, Any]


class QueryRunner(Protocol):
    """Runs the read queries of `sql/queries` by name."""

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """All rows of a query, as mappings from column name to value.

        Raises:
            RetryableError: the store is away, or the query took too long.
            FatalError: the store refuses the query.
        """


class KeyFinder(Protocol):
    """Finds what a presented key stands for."""

    async def find(self, key_hash: str) -> ProjectKey | None:
        """The key with this SHA-256 (hex), or None if there is none.

        Raises:
            RetryableError: it cannot be told now; never to be answered with 401.
        """


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a handler may use.

    `checks` maps a dependency's name to a probe that raises `ConnectorError` when it is unusable;
    those named in `vital` make the process unready. `now_ms` is the wall clock; `count_use` is told
    the hash of each key that comes. Without `reads` the calls that need one of those stores are
    answered as if it were down; without `alerts` or `goals` those about them.
    """

    queries: QueryRunner
    keys: KeyFinder
    checks: Mapping[str, Callable[[], Awaitable[None]]]
    vital: frozenset[str]
    now_ms: Callable[[], int]
    reads: ReadStores | None = None
    alerts: AlertServices | None = None
    goals: GoalBook | None = None
    count_use: Callable[[str], None] = lambda _key_hash: None


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
