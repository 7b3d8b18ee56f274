"""Stored insights and sessions of a period, as rules of alerts count them.

In: a project and a period. Out: rows, each a mapping from column to value, in order of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.clickhouse import sorted_error
from connectors.stored_sessions import Period
from sql.loader import load_query

Row = Mapping[str, Any]


def insights_of_period(client: Client, period: Period) -> Iterator[Row]:
    """Insights by their time.

    Raises:
        ConnectorError: ClickHouse does not answer, or the query is wrong.
    """
    return _rows(client, "insights_of_period", period)


def sessions_of_period(client: Client, period: Period) -> Iterator[Row]:
    """Sessions by their begin, each as it is now.

    Raises:
        ConnectorError: ClickHouse does not answer, or the query is wrong.
    """
    return _rows(client, "sessions_of_period", period)


def _rows(client: Client, query: str, period: Period) -> Iterator[Row]:
    parameters = {
        "project_id": period.project_id,
        "start_ms": period.start_ms,
        "end_ms": period.end_ms,
    }
    try:
        with client.query_rows_stream(load_query(query), parameters) as stream:
            names = stream.source.column_names
            for row in stream:
                yield dict(zip(names, row, strict=True))
    except (ClickHouseError, OSError) as error:
        raise sorted_error(error) from error
