"""PostgreSQL for requests that read and change several rows: transactions with a deadline.

In: SQL with named values. Out: rows as mappings. Guarantees: a transaction is there whole or not;
it ends within `TRANSACTION_S`, be the server frozen or cut off; whatever the server or the way to
it does is a RetryableError. What a constraint refuses (`psycopg.IntegrityError`) is for the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import PoolTimeout, TooManyRequests

from connectors.errors import RetryableError
from connectors.postgres import DEADLINE_S, Pool, cut_connection

TRANSACTION_S = 3.0

DatabaseRow = Mapping[str, Any]


class Transaction:
    """One transaction; commits at the end of `Database.transaction`."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def rows(self, query: str, **values: Any) -> Sequence[DatabaseRow]:
        """All rows of a query; values stand in it as `%(name)s`."""
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def row(self, query: str, **values: Any) -> DatabaseRow | None:
        """The first row, or None."""
        rows = await self.rows(query, **values)
        return rows[0] if rows else None

    async def run(self, query: str, **values: Any) -> int:
        """Change rows; returns how many."""
        async with self._connection.cursor() as cursor:
            await cursor.execute(query.encode(), values)
            return cursor.rowcount


class Database:
    """Transactions on a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit what happens inside, or nothing of it if anything is raised.

        Raises:
            RetryableError: PostgreSQL is away, busy or slow.
        """
        loop = asyncio.get_running_loop()
        try:
            async with self._pool.connection(timeout=DEADLINE_S) as connection:
                # A cancelled query would wait for a frozen server, so its socket is cut.
                timer = loop.call_later(TRANSACTION_S, cut_connection, connection)
                try:
                    async with connection.transaction():
                        yield Transaction(connection)
                finally:
                    timer.cancel()
        except (
            OperationalError,
            InterfaceError,
            PoolTimeout,
            TooManyRequests,
            OSError,
            TimeoutError,
        ) as error:
            raise RetryableError(f"PostgreSQL is away: {type(error).__name__}") from error

    async def rows(self, query: str, **values: Any) -> Sequence[DatabaseRow]:
        """`Transaction.rows` in a transaction of its own."""
        async with self.transaction() as transaction:
            return await transaction.rows(query, **values)

    async def row(self, query: str, **values: Any) -> DatabaseRow | None:
        """`Transaction.row` in a transaction of its own."""
        async with self.transaction() as transaction:
            return await transaction.row(query, **values)

    async def run(self, query: str, **values: Any) -> int:
        """`Transaction.run` in a transaction of its own."""
        async with self.transaction() as transaction:
            return await transaction.run(query, **values)
