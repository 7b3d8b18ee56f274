"""A known shop for erasures: visitors with rows in every store, and all that the stores hold.

Ann has two browsers and visited with one of them before she said who she is; Bob shares a third one
with her. The same ids are used in another project.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psycopg
import pyarrow as pa
import redis
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import connect, insert_arrow
from connectors.erasing_store import AGGREGATES
from connectors.live_results import documents_key, recent_key, state_key
from tests.stack import RunningStack

ROOM = UUID("6f0f7f5e-5d1c-4b57-9a3e-7d8a4d1c2f99")
ANN, BOB = "ann@shop.example", "bob@shop.example"
# Browsers: Ann's own, the one that she shares, Bob's, and one that nobody has named.
PHONE, LAPTOP, SHARED, DESK, STRANGER = (
    str(uuid5(ROOM, name)) for name in ("phone", "laptop", "shared", "desk", "stranger")
)
# Name of the session: user, browser, days ago.
VISITS = {
    "ann before she said who she is": ("", PHONE, 3),
    "ann on her phone": (ANN, PHONE, 2),
    "ann on her laptop": (ANN, LAPTOP, 2),
    "ann on the shared one": (ANN, SHARED, 2),
    "bob on the shared one": (BOB, SHARED, 1),
    "nobody on the shared one, after bob": ("", SHARED, 0),
    "bob at his desk": (BOB, DESK, 2),
    "a stranger": ("", STRANGER, 3),
}
ANNS = tuple(name for name in VISITS if name.startswith("ann"))
KINDS = ("page_view", "click", "identify", "page_load", "scroll", "page_exit", "js_error")
TABLES = ("events", "sessions", "insights", "replay_chunks", "identities")
LEFT_ALONE = frozenset({"erasing_ids"})


@dataclass
class ErasureWorld:
    """Servers with two projects."""

    databases: RunningStack
    ours: str
    theirs: str
    client: Client
    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    )

    def session_id(self, project_id: str, name: str) -> str:
        """Of a visit; the same in no two projects."""
        return str(uuid5(UUID(project_id), name))

    def ids_of_ann(self) -> set[str]:
        """Everything by which she could be found in our project."""
        return {ANN, PHONE, LAPTOP, *(self.session_id(self.ours, name) for name in ANNS)}

    def events(self, project_id: str) -> list[dict[str, Any]]:
        """All events."""
        rows = []
        for name, (user, browser, days) in VISITS.items():
            for number, kind in enumerate(KINDS):
                if kind == "identify" and not user:
                    continue
                at = self.now - timedelta(days=days, seconds=60 - number)
                rows.append(
                    {
                        "event_id": str(uuid5(UUID(project_id), f"{name} {kind}")),
                        "project_id": project_id,
                        "session_id": self.session_id(project_id, name),
                        "user_id": user,
                        "anonymous_id": browser,
                        "event_type": kind,
                        "timestamp": at,
                        "received_at": at,
                        "path": "/cart" if number % 2 else "/",
                        "device_type": "desktop",
                        "viewport_width": 1280,
                        "click_x": 15 if kind == "click" else None,
                        "click_y": 25 if kind == "click" else None,
                        "target_selector": "#buy" if kind == "click" else "",
                        "target_tag": "button",
                        "scroll_depth": 60 if kind in ("scroll", "page_exit") else None,
                        "time_on_page_ms": 4_000 if kind == "page_exit" else None,
                        "lcp": 1_200 if kind == "page_load" else None,
                        "payload": json.dumps({"traits": {"mail": user}, "kind": kind}),
                        "source_topic": "gosight.events.raw",
                        "source_offset": number,
                    }
                )
        return rows

    def fill(self, project_id: str) -> None:
        """Rows of all tables."""
        events = self.events(project_id)
        insert_arrow(self.client, "events", table_of(events), f"events {project_id}")
        minutes = Counter(row["received_at"].replace(second=0) for row in events)
        entries = [
            {
                "project_id": project_id,
                "minute": minute,
                "outcome": outcome,
                "events": count,
                "source_topic": "gosight.events.raw",
                "source_partition": 0,
                "block_first": 0,
                "block_last": 9,
            }
            for minute, count in minutes.items()
            for outcome in ("received", "stored")
        ]
        insert_arrow(self.client, "ledger_entries", table_of(entries), f"ledger {project_id}")
        sessions, insights, chunks = [], [], []
        for name, (user, browser, days) in VISITS.items():
            session_id = self.session_id(project_id, name)
            at = self.now - timedelta(days=days, seconds=60)
            common = {"project_id": project_id, "session_id": session_id}
            sessions.append(
                {
                    **common,
                    "user_id": user,
                    "anonymous_id": browser,
                    "started_at": at,
                    "ended_at": at + timedelta(seconds=6),
                    "country": "Sweden",
                    "device_type": "desktop",
                    "page_count": 2,
                    "duration_ms": 6_000,
                    "has_error": True,
                    "revision": 3,
                    "is_closed": True,
                }
            )
            insights.append(
                {
                    **common,
                    "insight_id": str(uuid5(UUID(project_id), f"{name} insight")),
                    "insight_type": "rage_click",
                    "timestamp": at,
                    "ended_at": at,
                    "details": json.dumps({"session": session_id}),
                }
            )
            chunks += [
                {
                    **common,
                    "chunk_index": index,
                    "timestamp_start": at,
                    "timestamp_end": at,
                    "data": f"replay of {user}".encode(),
                    "data_size": 10,
                    "event_count": 1,
                }
                for index in range(2)
            ]
        insert_arrow(self.client, "sessions", table_of(sessions), f"sessions {project_id}")
        insert_arrow(self.client, "insights", table_of(insights), f"insights {project_id}")
        insert_arrow(self.client, "replay_chunks", table_of(chunks), f"chunks {project_id}")
        self.client.command("SYSTEM REFRESH VIEW sessions_daily_mv")
        self.client.command("SYSTEM WAIT VIEW sessions_daily_mv")
        self._fill_redis(project_id, insights)
        self._fill_postgres(project_id)

    def _fill_redis(self, project_id: str, insights: list[dict[str, Any]]) -> None:
        with redis.Redis.from_url(self.databases.redis_url) as client:
            for insight in insights:
                name, document = insight["insight_id"], json.dumps(insight, default=str)
                client.zadd(recent_key(project_id), {name: 1})
                client.hset(documents_key(project_id), name, document)
            for name, (user, _, _) in VISITS.items():
                session_id = self.session_id(project_id, name)
                client.hset(
                    state_key(session_id), mapping={"project_id": project_id, "user_id": user}
                )
            for name in ("ann on her phone", "bob at his desk"):
                text = json.dumps({"result": {"session_ids": [self.session_id(project_id, name)]}})
                client.set(f"job:{project_id}:{name[:3]}", text)

    def _fill_postgres(self, project_id: str) -> None:
        with psycopg.connect(self.databases.database_url) as connection:
            for name, user in (("ann on her phone", ANN), ("bob at his desk", BOB)):
                session_id = self.session_id(project_id, name)
                context = {"samples": [session_id], "text": f"see /sessions/{session_id}"}
                connection.execute(
                    "INSERT INTO alert_history (project_id, context, scope) VALUES (%s, %s, %s)",
                    (project_id, json.dumps(context), json.dumps({"user_id": user})),
                )
                row = connection.execute("SELECT id FROM accounts LIMIT 1").fetchone()
                assert row is not None
                connection.execute(
                    "INSERT INTO saved_filters "
                    "(project_id, account_id, name, filter_type, filter) "
                    "VALUES (%s, %s, %s, 'sessions', %s)",
                    (project_id, row[0], name, json.dumps({"user_id": user})),
                )

    def rows(self, table: str, project_id: str, where: str = "1") -> list[tuple[Any, ...]]:
        """The rows of a table as stored, each once, sorted."""
        query = (
            f"SELECT * FROM {table} FINAL WHERE project_id = {{p:String}} AND {where} ORDER BY ALL"
        )
        return list(self.client.query(query, parameters={"p": project_id}).result_rows)

    def others(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row that is not Ann's, and the other project's aggregates."""
        anns = ", ".join(f"'{self.session_id(self.ours, name)}'" for name in ANNS)
        found = {}
        for table in TABLES:
            own = f"user_id != '{ANN}'" if table == "identities" else f"session_id NOT IN ({anns})"
            found[f"ours {table}"] = self.rows(table, self.ours, own)
            found[f"theirs {table}"] = self.rows(table, self.theirs)
        return found

    def their_aggregates(self) -> dict[str, list[str]]:
        """What views hold of the other project, finished."""
        return {table: self.aggregate(table, self.theirs) for table in AGGREGATES}

    def aggregate(self, table: str, project_id: str) -> list[str]:
        """A project's rows of a table that a view fills, finished."""
        return self._finished(table, table, project_id)

    def recount(self, table: str, project_id: str) -> list[str]:
        """What the view gives over the events that are there now."""
        ((select,),) = self.client.query(
            "SELECT as_select FROM system.tables "
            "WHERE database = currentDatabase() AND name = {n:String}",
            parameters={"n": f"{table}_mv"},
        ).result_rows
        return self._finished(table, f"({select})", project_id)

    def _finished(self, table: str, source: str, project_id: str) -> list[str]:
        columns = self.client.query(
            "SELECT name, type, is_in_sorting_key FROM system.columns "
            "WHERE database = currentDatabase() AND table = {t:String} ORDER BY position",
            parameters={"t": table},
        ).result_rows
        keys = ", ".join(name for name, _, is_key in columns if is_key)
        values = ", ".join(name if is_key else _merge(name, kind) for name, kind, is_key in columns)
        rows = self.client.query(
            f"SELECT {values} FROM {source} WHERE project_id = {{p:String}} "
            f"GROUP BY {keys} ORDER BY {keys}",
            parameters={"p": project_id},
        ).result_rows
        return [repr(row) for row in rows]  # A mean of nothing equals no other one.

    def search(self, needles: set[str], project_id: str) -> Iterator[str]:
        """Every place of every store in which one of the texts stands, about one project."""
        for table, columns in self._clickhouse_columns().items():
            scope = "project_id = {p:String}" if "project_id" in columns else "1"
            text = ", ' ', ".join(f"toString({column})" for column in columns)
            ((count,),) = self.client.query(
                f"SELECT count() FROM {table} WHERE {scope} "
                f"AND multiSearchAny(concat({text}, ' '), {{n:Array(String)}})",
                parameters={"p": project_id, "n": sorted(needles)},
            ).result_rows
            if count:
                yield f"clickhouse {table}: {count} rows"
        ((count,),) = self.client.query(
            "SELECT count() FROM system.mutations WHERE database = currentDatabase() "
            "AND multiSearchAny(command, {n:Array(String)})",
            parameters={"n": sorted(needles)},
        ).result_rows
        if count:
            yield "clickhouse mutations"
        yield from self._search_redis(needles, project_id)
        yield from self._search_postgres(needles, project_id)

    def _clickhouse_columns(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for table, column, kind in self.client.query(
            "SELECT c.table, c.name, c.type FROM system.columns c JOIN system.tables t "
            "ON t.database = c.database AND t.name = c.table "
            "WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree'"
        ).result_rows:
            if "AggregateFunction(" not in kind:
                found.setdefault(table, []).append(column)
        return found

    def _search_redis(self, needles: set[str], project_id: str) -> Iterator[str]:
        with redis.Redis.from_url(self.databases.redis_url) as client:
            for key in client.scan_iter(count=1_000):
                kind = client.type(key)
                if kind == b"hash":
                    content = client.hgetall(key)
                    if content.get(b"project_id", project_id.encode()) != project_id.encode():
                        continue
                    text = repr(content)
                elif kind == b"zset":
                    text = repr(client.zrange(key, 0, -1))
                else:
                    text = repr(client.get(key)) if kind == b"string" else ""
                if project_id not in key.decode() and b"session:" not in key:
                    continue
                for needle in needles:
                    if needle in text or needle in key.decode():
                        yield f"redis {key.decode()}: {needle}"

    def _search_postgres(self, needles: set[str], project_id: str) -> Iterator[str]:
        with psycopg.connect(self.databases.database_url) as connection:
            tables = connection.execute(
                "SELECT table_name, bool_or(column_name = 'project_id') FROM "
                "information_schema.columns WHERE table_schema = 'public' GROUP BY table_name"
            ).fetchall()
            for table, has_project in tables:
                scope = f"t.project_id = '{project_id}'" if has_project else "true"
                for needle in needles:
                    found = connection.execute(
                        f"SELECT 1 FROM {table} t WHERE {scope} "
                        "AND position(%s in t::text) > 0 LIMIT 1".replace(
                            "{scope}", scope
                        ).encode(),
                        (needle,),
                    ).fetchone()
                    if found:
                        yield f"postgresql {table}: {needle}"


def _merge(name: str, kind: str) -> str:
    """The value of a column over the rows of one key."""
    if kind.startswith("AggregateFunction("):
        function = kind.removeprefix("AggregateFunction(").rpartition(", ")[0]
        if "(" in function:
            base, _, parameters = function.partition("(")
            return f"{base}Merge({parameters.rstrip(')')})({name}) AS {name}_"
        return f"{function}Merge({name}) AS {name}_"
    if kind.startswith("SimpleAggregateFunction("):
        return (
            f"{kind.removeprefix('SimpleAggregateFunction(').partition(',')[0]}({name}) AS {name}_"
        )
    # A view's own plain columns of summed or of smallest and largest values.
    return f"sum({name}) AS {name}_"


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as they are inserted."""
    return pa.Table.from_pylist(rows)


def erasure_world(databases: RunningStack, ours: str, theirs: str) -> ErasureWorld:
    """Both projects, filled."""
    world = ErasureWorld(databases, ours, theirs, connect(databases.clickhouse_url))
    world.fill(ours)
    world.fill(theirs)
    return world


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    """Until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
