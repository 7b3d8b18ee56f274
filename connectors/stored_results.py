"""Rows of `sessions` and `insights` of some sessions, as they are stored.

In: a project and ids of sessions. Out: rows by session, each a mapping from column to value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.clickhouse import sorted_error
from sql.loader import load_query

# A query may have 256 KiB.
SESSIONS_PER_QUERY = 2_000
Row = Mapping[str, Any]


def session_rows(client: Client, project_id: str, session_ids: Sequence[str]) -> dict[str, Row]:
    """The newest row of each session that has one, with times as milliseconds.

    Raises:
        ConnectorError: ClickHouse does not answer, or the query is wrong.
    """
    rows = _rows(client, "stored_session_rows", project_id, session_ids)
    return {row["session_id"]: row for row in rows}


def insight_rows(
    client: Client, project_id: str, session_ids: Sequence[str]
) -> dict[str, list[Row]]:
    """Id, type, version, time and evidence of each insight, by session.

    Raises:
        ConnectorError: ClickHouse does not answer, or the query is wrong.
    """
    found: dict[str, list[Row]] = {}
    for row in _rows(client, "stored_session_insights", project_id, session_ids):
        found.setdefault(row["session_id"], []).append(row)
    return found


def _rows(client: Client, query: str, project_id: str, session_ids: Sequence[str]) -> list[Row]:
    assert len(session_ids) <= SESSIONS_PER_QUERY
    if not session_ids:
        return []
    try:
        result = client.query(
            load_query(query), parameters={"project": project_id, "sessions": list(session_ids)}
        )
    except (ClickHouseError, OSError) as error:
        raise sorted_error(error) from error
    return [dict(row) for row in result.named_results()]
