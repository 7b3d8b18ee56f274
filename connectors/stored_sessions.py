"""Stored events as a stream of rows, session after session.

In: a project, a period or a session, and the types of events that are wanted. Out: rows as
`flows.core.stored_events` takes them; those of a period say at last when they were stored, in
milliseconds by the store's clock. ClickHouse sorts, on disk if it must; here one piece of the
answer is in memory at a time. Values that repeat are sent once a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.clickhouse import query_rows, sorted_error
from connectors.errors import RetryableError
from sql.loader import load_query

# Rows of one piece of the answer: a few megabytes with their payloads.
PIECE_ROWS = 16_384
# Of one session: what a person does in a day is far below, what a program does has no bound.
SESSION_EVENTS_MAX = 200_000
# Memory of the server for sorting before it goes to disk.
SORT_BYTES = 512 * 1024**2
_SETTINGS = {
    "max_block_size": PIECE_ROWS,
    "max_bytes_before_external_sort": SORT_BYTES,
    "output_format_arrow_low_cardinality_as_dictionary": 1,
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_compression_method": "none",
}
Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Period:
    """Sessions that began at or after `start_ms` and before `end_ms`; an empty tuple: all types.

    With `any_event` those that have an event in that time, wherever they began.
    """

    project_id: str
    start_ms: int
    end_ms: int
    event_types: tuple[str, ...] = ()
    any_event: bool = False


def rows_of_period(client: Client, period: Period, body_types: Iterable[str]) -> Iterator[Row]:
    """All events of the period's sessions, each session's together; payloads of `body_types`.

    Of a session with more than SESSION_EVENTS_MAX events one more than that are given.

    Raises:
        RetryableError: the server does not answer, or breaks off.
        FatalError: the query is wrong.
    """
    parameters = _parameters(period, body_types)
    sql = load_query("events_of_period")
    try:
        with client.query_arrow_stream(sql, parameters, dict(_SETTINGS)) as pieces:
            for piece in pieces:
                yield from _rows(piece)
    except pa.ArrowInvalid as error:
        # What a server says in the middle of an answer does not look like a piece of it.
        raise RetryableError("ClickHouse broke its answer off") from error
    except (ClickHouseError, OSError) as error:
        raise sorted_error(error) from error


def count_of_period(client: Client, period: Period) -> int:
    """How many rows `rows_of_period` will give."""
    sql = f"SELECT count() FROM ({load_query('events_of_period')})"
    return int(query_rows(client, sql, _parameters(period, ()))[0][0])


def store_now_ms(client: Client) -> int:
    """What the store's clock says, by which rows tell when they were stored.

    Raises:
        ConnectorError: ClickHouse does not answer.
    """
    return int(query_rows(client, "SELECT toUnixTimestamp64Milli(now64(3))", {})[0][0])


def rows_of_session(
    client: Client, project_id: str, session_id: str, body_types: Iterable[str]
) -> Sequence[Row]:
    """All events of one session; empty if none is stored."""
    parameters = {
        "project_id": project_id,
        "session_id": session_id,
        "body_types": sorted(body_types),
    }
    return query_rows(client, load_query("session_events"), parameters)


def _parameters(period: Period, body_types: Iterable[str]) -> dict[str, Any]:
    return {
        "project_id": period.project_id,
        "start_ms": period.start_ms,
        "end_ms": period.end_ms,
        "event_types": list(period.event_types),
        "any_event": period.any_event,
        "session_rows_max": SESSION_EVENTS_MAX + 1,
        "body_types": sorted(body_types),
    }


def _rows(piece: pa.Table | pa.RecordBatch) -> Iterator[Row]:
    columns = [_values(column) for column in piece.columns]
    return zip(*columns, strict=True)


def _values(column: Any) -> list[Any]:
    """The values of a column; equal ones of a dictionary are one object."""
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in _values(chunk)]
    if isinstance(column, pa.DictionaryArray):
        labels = column.dictionary.to_pylist()
        return [labels[place] for place in column.indices.to_pylist()]
    found: list[Any] = column.to_pylist()
    return found
