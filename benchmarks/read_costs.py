"""What the queries of a read touch: rows and granules, by ClickHouse's own estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from api.clickhouse_runner import ClickHouseRunner
from api.services import Row
from sql.loader import load_query


class RecordingRunner(ClickHouseRunner):
    """The real one, which also remembers what it was asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url, threads=4, timeout_s=60)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """See `ClickHouseRunner.rows`."""
        self.asked.append((query, parameters))
        return await super().rows(query, parameters)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one query reads of one table."""

    query: str
    table: str
    rows: int
    granules: int


def costs_of(client: Client, query: str, parameters: Mapping[str, Any]) -> list[Cost]:
    """What the indexes leave to be read of each table; subqueries of one value are not in it."""
    found = client.query(f"EXPLAIN ESTIMATE {load_query(query)}", parameters=dict(parameters))
    return [
        Cost(query, table, rows, granules)
        for _database, table, _parts, rows, granules in found.result_rows
    ]


def table_sizes(client: Client) -> Mapping[str, tuple[int, int]]:
    """Rows and granules of each table, of all projects."""
    found = client.query(
        "SELECT table, sum(rows), sum(marks) FROM system.parts "
        "WHERE active AND database = currentDatabase() GROUP BY table"
    )
    return {table: (rows, granules) for table, rows, granules in found.result_rows}
