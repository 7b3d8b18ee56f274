"""Inserts as the storage flow does them, and answers of the queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from api.reads.user_rows import VISITORS_MAX, filter_of
from connectors.clickhouse import insert_arrow
from sql.loader import load_query


def insert_twice(client: Client, table: str, rows: Sequence[Mapping[str, Any]], token: str) -> None:
    """Deliver one block, and deliver it again, as after a lost answer."""
    block = pa.Table.from_pylist([dict(row) for row in rows])
    for _ in range(2):
        insert_arrow(client, table, block, token)


def answers(client: Client, query: str, **parameters: Any) -> list[dict[str, Any]]:
    """Rows of a query of `sql/queries`."""
    return list(client.query(load_query(query), parameters=parameters).named_results())


def of_user(client: Client, period: Mapping[str, Any], user_id: str) -> dict[str, Any]:
    """The parameters of a list that is to find a user's rows; empty: everybody's."""
    asked = {**period, "user_id": user_id, "limit": VISITORS_MAX}
    return filter_of(user_id, answers(client, "user_visitors", **asked) if user_id else [])


def rows_of(client: Client, text: str) -> list[tuple[Any, ...]]:
    """Rows of any query, as tuples."""
    return [tuple(row) for row in client.query(text).result_rows]
