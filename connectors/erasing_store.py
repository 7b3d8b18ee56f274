"""What belongs to one visitor or project in ClickHouse: found, counted, written out, erased.

In: a project, and a visitor's id. The ids that were found stand in `erasing_ids` under the request
while it lasts, so that no statement names them. Every call may be repeated: what is gone stays
gone, and what is counted anew is taken away first. Deletions rewrite the parts and are waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.clickhouse import connect, insert_arrow, query_rows, sorted_error
from sql.loader import load_query

# Of one statement: a deletion rewrites whole parts.
TIMEOUT_S = 600.0
# Tables that views fill from `events`, and the day of their rows.
AGGREGATES: Mapping[str, str] = {
    "events_hourly": "toDate(hour)",
    "session_quarters": "toDate(quarter)",
    "page_performance": "day",
    "click_heatmap": "date",
    "element_clicks": "date",
    "scroll_depth": "date",
    "page_time": "date",
}
_OF = "SELECT {cast} FROM erasing_ids WHERE request_id = toUUID('{request}') AND kind = '{kind}'"
_IN_SESSIONS = f"session_id IN ({_OF.replace('{cast}', 'toUUID(id)').replace('{kind}', 'session')})"
_IN_EVENTS = f"event_id IN ({_OF.replace('{cast}', 'toUUID(id)').replace('{kind}', 'event')})"
_OF_USERS = _OF.replace("{cast}", "id").replace("{kind}", "user")
_OF_DEVICES = _OF.replace("{cast}", "id").replace("{kind}", "anonymous")
_OF_SHARED = _OF.replace("{cast}", "id").replace("{kind}", "shared")
# In the order in which they are erased: what is found through another goes first.
VISITOR_TABLES: Mapping[str, str] = {
    "replay_chunks": _IN_SESSIONS,
    "insights": _IN_SESSIONS,
    "events": _IN_EVENTS,
    "sessions": _IN_SESSIONS,
    "identities": f"(user_id IN ({_OF_USERS}) OR anonymous_id IN ({_OF_DEVICES}))",
}
# Copies of rows that views keep with their ids: they go with those rows, also on days that are
# not counted anew.
_COPIES: Mapping[str, tuple[str, str]] = {
    "events": (
        "session_quarters",
        f"{_IN_SESSIONS} AND (user_id IN ({_OF_USERS}) OR (user_id = '' AND anonymous_id IN "
        f"({_OF_DEVICES} UNION ALL {_OF_SHARED})))",
    ),
    "sessions": ("session_starts", _IN_SESSIONS),
}
PROJECT_TABLES = (
    *VISITOR_TABLES,
    *AGGREGATES,
    "session_starts",
    "sessions_daily",
    "ledger_entries",
    "ledger_minutes",
    "erasing_ids",
)
# The same rows again are not a repetition: what was there has been taken away.
_ANEW: Mapping[str, Any] = {"insert_deduplicate": 0}
# Whose an event is that says no user: as in every report, but an own device is all theirs.
_COLLECT_EVENTS = """
INSERT INTO erasing_ids (request_id, project_id, kind, id)
SELECT toUUID({request_id:String}), {project_id:String}, 'event', toString(event.id)
FROM (
    SELECT event_id AS id, any(events.timestamp) AS at, any(events.user_id) AS user_id,
           any(events.anonymous_id) AS anonymous_id
    FROM events
    WHERE events.project_id = {project_id:String} AND (
        events.user_id IN (SELECT id FROM erasing_ids
            WHERE request_id = toUUID({request_id:String}) AND kind = 'user')
        OR (events.user_id = '' AND events.anonymous_id IN (SELECT id FROM erasing_ids
            WHERE request_id = toUUID({request_id:String}) AND kind IN ('anonymous', 'shared')))
    )
    GROUP BY event_id
) AS event
ASOF LEFT JOIN (
    SELECT anonymous_id, known_from, user_id
    FROM visitor_users
    WHERE project_id = {project_id:String}
) AS known
    ON event.anonymous_id = known.anonymous_id AND event.at >= known.known_from
WHERE event.user_id != ''
   OR event.anonymous_id IN (SELECT id FROM erasing_ids
       WHERE request_id = toUUID({request_id:String}) AND kind = 'anonymous')
   OR known.user_id IN (
       SELECT id FROM erasing_ids WHERE request_id = toUUID({request_id:String}) AND kind = 'user')
"""
_COLLECT_SESSIONS = """
INSERT INTO erasing_ids (request_id, project_id, kind, id)
SELECT DISTINCT toUUID({request_id:String}), {project_id:String}, 'session', toString(session_id)
FROM (
    SELECT session_id FROM events
    WHERE project_id = {project_id:String} AND event_id IN (SELECT toUUID(id) FROM erasing_ids
        WHERE request_id = toUUID({request_id:String}) AND kind = 'event')
    UNION ALL
    SELECT session_id FROM sessions
    WHERE project_id = {project_id:String} AND (
        user_id IN (SELECT id FROM erasing_ids
            WHERE request_id = toUUID({request_id:String}) AND kind = 'user')
        OR (user_id = '' AND anonymous_id IN (SELECT id FROM erasing_ids
            WHERE request_id = toUUID({request_id:String}) AND kind = 'anonymous'))
    )
)
"""
# As the view computes it (0006), for one day; groups that are empty now become zeros.
_SESSIONS_DAILY = """
INSERT INTO sessions_daily
SELECT project_id, day, country, device_type,
    countIf(is_session) AS session_count, countIf(is_closed) AS closed_sessions,
    uniqStateIf(user_id, user_id != '') AS user_count,
    uniqStateIf(anonymous_id, anonymous_id != '') AS visitor_count,
    sum(duration_ms) AS total_duration_ms, sum(page_count) AS total_pages,
    countIf(has_error) AS error_sessions, countIf(has_rage_click) AS rage_click_sessions,
    countIf(has_dead_click) AS dead_click_sessions, countIf(is_bounce) AS bounce_sessions,
    countIf(converted) AS converted_sessions, now64(3, 'UTC') AS refreshed_at
FROM (
    SELECT project_id, toDate(started_at) AS day, country, device_type, true AS is_session,
        is_closed, user_id, anonymous_id, duration_ms, page_count, has_error, has_rage_click,
        has_dead_click, is_bounce, converted
    FROM sessions FINAL
    WHERE project_id = {project_id:String} AND toDate(started_at) = {day:Date}
    UNION ALL
    SELECT project_id, day, country, device_type, false, false, '', '', 0, 0, false, false, false,
        false, false
    FROM sessions_daily
    WHERE project_id = {project_id:String} AND day = {day:Date}
)
GROUP BY project_id, day, country, device_type
"""


class ErasingStore:
    """One connection; for one thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def links(self, project_id: str, subject: str) -> Mapping[str, Sequence[str]]:
        """Ids of a visitor by kind: user, anonymous (theirs alone), shared (with other users)."""
        found: dict[str, list[str]] = {"user": [], "anonymous": [], "shared": []}
        where = {"project_id": project_id, "subject": subject}
        for id_, kind in self._rows(load_query("erasure_links"), where):
            found[kind].append(id_)
        return found

    def collect(self, project_id: str, request_id: str, links: Mapping[str, Sequence[str]]) -> None:
        """Note all events and sessions of these ids under the request."""
        self.note(project_id, request_id, links)
        where = {"project_id": project_id, "request_id": request_id}
        self._command(_COLLECT_EVENTS, where, settings=_ANEW)
        self._command(_COLLECT_SESSIONS, where, settings=_ANEW)

    def note(self, project_id: str, request_id: str, ids: Mapping[str, Sequence[str]]) -> None:
        """Note these ids by kind under the request, and no others."""
        self.forget(request_id)
        pairs = [(kind, id_) for kind, own in ids.items() for id_ in own]
        rows = pa.table(
            {
                "request_id": [request_id] * len(pairs),
                "project_id": [project_id] * len(pairs),
                "kind": [kind for kind, _ in pairs],
                "id": [id_ for _, id_ in pairs],
            }
        )
        self._guarded(lambda client: client.insert_arrow("erasing_ids", rows, settings=_ANEW))

    def forget(self, request_id: str) -> None:
        """Nothing stays known of what a request was about."""
        self._command(f"ALTER TABLE erasing_ids DROP PARTITION '{request_id}'")

    def ids(self, request_id: str, kind: str) -> Sequence[str]:
        """What was noted of one kind."""
        where = {"request_id": request_id, "kind": kind}
        return [row[0] for row in self._rows(load_query("erasure_ids"), where)]

    def insight_ids(self, project_id: str, request_id: str) -> Sequence[str]:
        """Ids of the insights of the noted sessions."""
        where = f"project_id = {{project_id:String}} AND {_filled(_IN_SESSIONS, request_id)}"
        query = f"SELECT DISTINCT toString(insight_id) FROM insights WHERE {where}"
        return [row[0] for row in self._rows(query, {"project_id": project_id})]

    def counts(self, project_id: str, request_id: str) -> Mapping[str, int]:
        """Rows of the noted ids by table."""
        where = {"project_id": project_id, "request_id": request_id}
        (row,) = self._rows(load_query("erasure_counts"), where)
        return dict(zip(VISITOR_TABLES, row, strict=True))

    def days(self, project_id: str, request_id: str) -> Sequence[tuple[date, str, bool]]:
        """(day, events or sessions, whether all rows of the project's day are there)."""
        where = {"project_id": project_id, "request_id": request_id}
        return [
            (day, str(kind), bool(is_whole))
            for day, kind, is_whole in self._rows(load_query("erasure_days"), where)
        ]

    def minutes(self, project_id: str, request_id: str) -> Mapping[int, int]:
        """Noted events by minute of receipt."""
        where = {"project_id": project_id, "request_id": request_id}
        return {row[0]: row[1] for row in self._rows(load_query("erasure_minutes"), where)}

    def erase(self, project_id: str, request_id: str, table: str) -> None:
        """Erase the rows of the noted ids from one table, and their copies."""
        condition = _filled(VISITOR_TABLES[table], request_id)
        self._delete(table, f"project_id = {{project_id:String}} AND {condition}", project_id)
        if table in _COPIES:
            copy, where = _COPIES[table]
            condition = _filled(where, request_id)
            self._delete(copy, f"project_id = {{project_id:String}} AND {condition}", project_id)

    def erase_links(self, project_id: str, request_id: str) -> None:
        """Erase what the noted events said of who a visitor is."""
        condition = _filled(_IN_EVENTS, request_id)
        self._delete(
            "identities", f"project_id = {{project_id:String}} AND {condition}", project_id
        )

    def book_erased(self, project_id: str, sequence: int, minutes: Mapping[int, int]) -> None:
        """Tell the ledger which stored events are gone; the same again changes nothing."""
        where = {"sequence": sequence, "project_id": project_id}
        query = (
            "SELECT count() FROM ledger_entries WHERE project_id = {project_id:String} "
            "AND source_topic = 'erasures' AND block_first = {sequence:UInt64}"
        )
        if not minutes or self._rows(query, where)[0][0]:
            return
        count = len(minutes)
        rows = pa.table(
            {
                "project_id": [project_id] * count,
                "minute": pa.array(
                    [at_ms // 1000 for at_ms in minutes], pa.timestamp("s", tz="UTC")
                ),
                "outcome": ["erased"] * count,
                "reason": [""] * count,
                "events": pa.array(list(minutes.values()), pa.uint64()),
                "source_topic": ["erasures"] * count,
                "source_partition": pa.array([0] * count, pa.uint32()),
                "block_first": pa.array([sequence] * count, pa.uint64()),
                "block_last": pa.array([sequence] * count, pa.uint64()),
            }
        )
        # The token makes it exact also for an insert that is still on its way.
        self._guarded(lambda c: insert_arrow(c, "ledger_entries", rows, f"erasure {sequence}"))

    def recount_events(self, project_id: str, day: date) -> None:
        """Count one day's aggregates anew from its events; only while nobody writes any."""
        views = self._rows(
            "SELECT name, as_select FROM system.tables "
            "WHERE database = currentDatabase() AND engine = 'MaterializedView'",
            {},
        )
        queries = {str(row[0]): str(row[1]) for row in views}
        (database,) = self._rows("SELECT currentDatabase()", {})[0]
        assert "'" not in project_id
        rows = f"project_id = \\'{project_id}\\' AND event_date = \\'{day.isoformat()}\\'"
        for table, day_of_row in AGGREGATES.items():
            where = f"project_id = {{project_id:String}} AND {day_of_row} = {{day:Date}}"
            self._delete(table, where, project_id, day=day)
            self._command(
                f"INSERT INTO {table} {queries[f'{table}_mv']}",
                settings={
                    **_ANEW,
                    "additional_table_filters": f"{{'{database}.events': '{rows}'}}",
                    "final": 1,
                    "do_not_merge_across_partitions_select_final": 1,
                },
            )

    def recount_sessions(self, project_id: str, day: date) -> None:
        """Count one day of sessions anew."""
        where = {"project_id": project_id, "day": day}
        self._command(_SESSIONS_DAILY, where, settings=_ANEW)
        ((refreshed_at,),) = self._rows(
            "SELECT toString(max(refreshed_at)) FROM sessions_daily "
            "WHERE project_id = {project_id:String} AND day = {day:Date}",
            where,
        )
        self._delete(
            "sessions_daily",
            "project_id = {project_id:String} AND day = {day:Date} "
            "AND refreshed_at < toDateTime64({refreshed_at:String}, 3, 'UTC')",
            project_id,
            day=day,
            refreshed_at=refreshed_at,
        )

    def project_counts(self, project_id: str) -> Mapping[str, int]:
        """Rows of a project by table."""
        return {
            table: self._rows(
                f"SELECT count() FROM {table} WHERE project_id = {{project_id:String}}",
                {"project_id": project_id},
            )[0][0]
            for table in PROJECT_TABLES
        }

    def project_sessions(self, project_id: str) -> Sequence[str]:
        """Ids of all sessions of a project that have rows."""
        query = (
            "SELECT DISTINCT toString(session_id) FROM (SELECT session_id FROM sessions "
            "WHERE project_id = {project_id:String} UNION ALL SELECT session_id FROM events "
            "WHERE project_id = {project_id:String})"
        )
        return [row[0] for row in self._rows(query, {"project_id": project_id})]

    def erase_project(self, project_id: str) -> None:
        """Erase all rows of a project from all tables."""
        for table in PROJECT_TABLES:
            self._delete(table, "project_id = {project_id:String}", project_id)

    def lines(self, project_id: str, request_id: str, table: str) -> Iterator[bytes]:
        """The noted rows of one table as lines of JSON; of replay chunks without their content."""
        condition = _filled(VISITOR_TABLES[table], request_id)
        columns = "* EXCEPT (data)" if table == "replay_chunks" else "*"
        query = (
            f"SELECT {columns} FROM {table} FINAL "
            f"WHERE project_id = {{project_id:String}} AND {condition}"
        )
        try:
            stream: Any = self._connected().raw_stream(
                query, parameters={"project_id": project_id}, fmt="JSONEachRow"
            )
            with stream:
                while chunk := stream.read(1024 * 1024):
                    yield chunk
        except (ClickHouseError, OSError) as error:
            self.close()
            raise sorted_error(error) from error

    def _delete(self, table: str, where: str, project_id: str, **more: Any) -> None:
        self._command(
            f"ALTER TABLE {table} DELETE WHERE {where} "
            # Replicas evaluate the list of ids each for itself: it does not change meanwhile.
            "SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1",
            {"project_id": project_id, **more},
        )

    def _rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        return query_rows(self._connected(), query, parameters)

    def _command(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._guarded(
            lambda client: client.command(
                text, parameters=dict(parameters or {}), settings=dict(settings or {})
            )
        )

    def _guarded(self, call: Any) -> None:
        try:
            call(self._connected())
        except (ClickHouseError, OSError) as error:
            self.close()
            raise sorted_error(error) from error

    def _connected(self) -> Client:
        if self._client is None:
            self._client = connect(self._url, timeout_s=TIMEOUT_S)
        return self._client


def _filled(condition: str, request_id: str) -> str:
    return condition.replace("{request}", request_id)
