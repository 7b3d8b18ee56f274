"""An analyst's SQL: what works, and every way out of the project that we could think of."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from api.reads import sql_runner
from api.reads.sql_rules import ONLY_SELECT, TABLES, RefusedSqlError
from api.reads.sql_runner import ClickHouseSqlRunner
from connectors.clickhouse import connect, insert_arrow
from tests.integration.api.conftest import SceneShop, moment
from tests.integration.api.reading import Reader

pytestmark = pytest.mark.integration

SECRET = "/of-another-project"
MARK = "/tmp/gosight-sql-attack"


@pytest.fixture(scope="module")
def shop(scene_shop: SceneShop) -> SceneShop:
    """The scenes, and rows of another project in every table that has them."""
    at = moment(time.time_ns() // 1_000_000 - 86_400_000)
    number = 0

    def row(**more: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        one = {"project_id": scene_shop.other_project, "event_id": f"{number:032x}"}
        one |= {"session_id": f"{number:032x}", "timestamp": at, "received_at": at}
        return {**one, "path": SECRET, "user_id": SECRET, "anonymous_id": SECRET, **more}

    rows = [
        row(event_type="page_view"),
        row(event_type="click", click_x=1, click_y=1, target_selector=SECRET),
        row(event_type="page_exit", time_on_page_ms=5),
        row(event_type="page_load", lcp=7),
        row(event_type="identify", payload='{"traits":{"name":"secret"}}'),
        row(event_type="js_error", error_message=SECRET, error_fingerprint="0" * 16),
        row(event_type="fetch_request", payload='{"url":"https://a.example/of-another-project"}'),
    ]
    client = connect(scene_shop.databases.clickhouse_url)
    columns = {name for one in rows for name in one}
    for one in rows:
        insert_arrow(client, "events", pa.Table.from_pylist([one]), one["event_id"])
    assert "path" in columns
    for table, time_column in (("sessions", "started_at"), ("insights", "timestamp")):
        more = "ended_at, revision, entry_path" if table == "sessions" else "insight_type, path"
        values = f"now64(3), 1, '{SECRET}'" if table == "sessions" else f"'rage_click', '{SECRET}'"
        ids = "session_id" if table == "sessions" else "session_id, insight_id"
        uuids = ", ".join("generateUUIDv4()" for _ in ids.split(","))
        client.command(
            f"INSERT INTO {table} (project_id, {ids}, {time_column}, {more}) "
            f"VALUES ('{scene_shop.other_project}', {uuids}, now64(3), {values})"
        )
    client.close()
    return scene_shop


async def ask_sql(reader: Reader, shop: SceneShop, query: str) -> tuple[int, dict[str, Any]]:
    """Status and document of an analyst's query."""
    return await reader.ask("sql", method="POST", body={"query": query}, key=shop.admin_key)


async def rows_of(reader: Reader, shop: SceneShop, query: str) -> list[list[Any]]:
    """Rows of a query that must work."""
    status, document = await ask_sql(reader, shop, query)
    assert status == 200, document
    rows: list[list[Any]] = document["data"]["rows"]
    return rows


@pytest.mark.parametrize("table", TABLES)
async def test_every_table_shows_the_project_alone(
    reader: Reader, shop: SceneShop, table: str
) -> None:
    """Its rows, however they are counted, and none of another project."""
    project = shop.scenes.project_id
    found = await rows_of(reader, shop, f"SELECT project_id, count() FROM {table} GROUP BY 1")
    assert [row[0] for row in found] in ([project], [])
    (total,) = await rows_of(reader, shop, f"SELECT count() FROM {table}")
    assert total[0] == sum(row[1] for row in found)
    for query in (
        f"SELECT DISTINCT project_id FROM (SELECT * FROM {table}) AS x",
        f"SELECT DISTINCT x.project_id FROM {table} AS x CROSS JOIN {table} AS y "
        "WHERE x.project_id != y.project_id",
        f"SELECT DISTINCT y.project_id FROM {table} AS x RIGHT JOIN {table} AS y "
        "ON x.project_id = y.project_id",
        f"WITH a AS (SELECT * FROM {table}) SELECT DISTINCT project_id FROM a",
        f"SELECT project_id FROM {table} UNION DISTINCT SELECT project_id FROM {table}",
        f"SELECT DISTINCT project_id FROM {table} WHERE project_id IN "
        f"(SELECT project_id FROM {table})",
        f"SELECT arrayJoin((SELECT groupUniqArray(project_id) FROM {table}))",
        f"SELECT max(project_id) FROM {table} HAVING count() > 0",
        f"SELECT DISTINCT project_id FROM {table} WHERE project_id != '{project}' OR 1",
    ):
        seen = await rows_of(reader, shop, query)
        assert [row[0] for row in seen] in ([project], []), query


async def test_questions_of_an_analyst(reader: Reader, shop: SceneShop) -> None:
    """Windows, arrays, JSON, joins, aggregates with endings: what people ask."""
    scenes = shop.scenes
    kinds = Counter(row["event_type"] for row in scenes.events)
    found = await rows_of(
        reader, shop, "SELECT event_type, count() AS n FROM events GROUP BY event_type ORDER BY n"
    )
    assert dict(map(tuple, found)) == kinds
    (row,) = await rows_of(
        reader,
        shop,
        "SELECT countIf(event_type = 'click'), uniqExactIf(session_id, path = '/cart'), "
        "quantilesExactInclusive(0.5, 0.9)(lcp), sumMap(map(path, 1)) FROM events",
    )
    assert row[0] == kinds["click"]
    assert isinstance(row[3], dict)
    for query in (
        "SELECT toStartOfHour(timestamp) AS h, count() FROM events GROUP BY h ORDER BY h WITH FILL",
        "SELECT path, row_number() OVER (PARTITION BY session_id ORDER BY timestamp) FROM events",
        "SELECT arrayMap(x -> x + 1, groupArray(click_x)) FROM events WHERE click_x IS NOT NULL",
        "SELECT s.session_id, e.path FROM sessions AS s INNER JOIN events AS e USING (session_id)",
        "SELECT JSONExtractString(payload, 'page_title') FROM events WHERE payload LIKE '%title%'",
        "SELECT path, uniqMerge(total_sessions) FROM scroll_depth_mv GROUP BY path",
        "SELECT * FROM insights WHERE insight_type IN ('rage_click', 'dead_click') LIMIT 3",
        "SELECT * EXCEPT (payload) FROM events ORDER BY timestamp DESC LIMIT 2 BY session_id",
        "select 1 -- a comment\n;",
        "SELECT windowFunnel(3600)(toDateTime(timestamp), path = '/', path = '/cart') FROM events "
        "GROUP BY session_id",
    ):
        assert (await ask_sql(reader, shop, query))[0] == 200, await ask_sql(reader, shop, query)


@pytest.mark.parametrize(
    "query",
    [
        *("DESCRIBE TABLE events", "SHOW TABLES", "SHOW CREATE TABLE events", "EXPLAIN SELECT 1"),
        *("INSERT INTO events (path) VALUES ('/')", "INSERT INTO events SELECT * FROM events"),
        *("DROP TABLE events", "SET max_threads = 1", "USE default", "EXISTS TABLE events"),
    ],
)
async def test_what_is_no_select_is_told_what_is_one(
    reader: Reader, shop: SceneShop, query: str
) -> None:
    """And how the columns of a table are seen; that query works."""
    status, document = await reader.ask(
        "sql", method="POST", body={"query": query}, key=shop.admin_key
    )
    told = document["error"]["details"]["query"]
    assert (status, told) == (400, ONLY_SELECT)
    columns = told[told.index("SELECT *") : told.index(" shows")]
    status, document = await reader.ask(
        "sql", method="POST", body={"query": columns}, key=shop.admin_key
    )
    assert status == 200
    assert {"name": "path", "type": "String"} in document["data"]["columns"]
    assert document["data"]["rows"] == []


async def test_a_result_is_cut(
    reader: Reader, shop: SceneShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is an end to the rows of one answer, and it says so."""
    monkeypatch.setattr(sql_runner, "ROWS_MAX", 100)
    _, document = await ask_sql(reader, shop, "SELECT event_id FROM events")
    assert (len(document["data"]["rows"]), document["data"]["is_cut"]) == (100, True)
    _, document = await ask_sql(reader, shop, "SELECT event_id FROM events LIMIT 5")
    assert (len(document["data"]["rows"]), document["data"]["is_cut"]) == (5, False)


ATTACKS: dict[str, str] = {
    "url table": "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    "file table": "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "file function": "SELECT file('/etc/passwd')",
    "file function in capitals": "SELECT FILE('/etc/passwd')",
    "file function quoted": "SELECT `file`('/etc/passwd')",
    "file in an alias": "WITH x -> file(x) AS f SELECT f('/etc/passwd')",
    "remote": "SELECT * FROM remote('127.0.0.1', 'system.tables')",
    "cluster": "SELECT * FROM cluster('default', system.tables)",
    "s3": "SELECT * FROM s3('http://127.0.0.1:1/a.csv')",
    "mysql": "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "postgresql": "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "executable": "SELECT * FROM executable('x.sh', 'CSV', 'a String')",
    "python": "SELECT * FROM Python(x)",
    "merge": "SELECT * FROM merge(currentDatabase(), '.*')",
    "numbers": "SELECT * FROM numbers(10)",
    "view function": "SELECT * FROM view(SELECT * FROM system.tables)",
    "view with parameters": "SELECT * FROM page_stays(project_id='x', start_ms=0, end_ms=9)",
    "cluster view": "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
    "explain in a subquery": "SELECT * FROM (EXPLAIN SELECT 1)",
    "describe": "DESCRIBE TABLE events",
    "show": "SHOW TABLES",
    "exists": "EXISTS TABLE events",
    "system tables": "SELECT * FROM system.tables",
    "system query log": "SELECT * FROM system.processes",
    "information schema": "SELECT * FROM information_schema.tables",
    "system in a scalar": "SELECT (SELECT count() FROM system.tables)",
    "system in a join": "SELECT 1 FROM events CROSS JOIN system.tables",
    "system in IN": "SELECT 1 WHERE 0 IN system.tables",
    "system in NOT IN": "SELECT 1 WHERE (0) NOT IN (system.tables)",
    "global IN": "SELECT 1 WHERE 0 GLOBAL IN (SELECT 0 FROM system.tables)",
    "alias of a table in IN": "WITH system.tables AS t SELECT 1 WHERE 0 IN t",
    "system in EXISTS": "SELECT EXISTS(SELECT 1 FROM system.tables)",
    "system in a CTE": "WITH t AS (SELECT * FROM system.tables) SELECT * FROM t",
    "qualified table": "SELECT count() FROM default.events",
    "quoted qualified table": "SELECT count() FROM `system`.`tables`",
    "table with a dot in its name": "SELECT count() FROM `system.tables`",
    "internal table": "SELECT * FROM schema_migrations",
    "positions": "SELECT * FROM flow_positions",
    "bookings": "SELECT * FROM ledger_entries",
    "replay": "SELECT * FROM replay_chunks",
    "internal table under a CTE of its name": (
        "WITH schema_migrations AS (SELECT 1) SELECT (SELECT count() FROM schema_migrations)"
    ),
    "settings": "SELECT 1 SETTINGS readonly = 0",
    "filter taken away": "SELECT count() FROM events SETTINGS additional_table_filters = {}",
    "settings in a subquery": "SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)",
    "set": "SET readonly = 0",
    "output file": f"SELECT 1 INTO OUTFILE '{MARK}'",
    "output file appended": f"SELECT 1 INTO OUTFILE '{MARK}' APPEND FORMAT CSV",
    "output file behind a bracket": f"SELECT 1) INTO OUTFILE '{MARK}' --",
    "format": "SELECT 1 FORMAT Null",
    "insert": "INSERT INTO events (event_id) VALUES (generateUUIDv4())",
    "insert into a file": f"INSERT INTO FUNCTION file('{MARK}') SELECT 1",
    "create": "CREATE TABLE t (a Int8) ENGINE = Memory",
    "create a function": "CREATE FUNCTION f AS x -> x",
    "drop": "DROP TABLE events",
    "truncate": "TRUNCATE TABLE events",
    "alter": "ALTER TABLE events DELETE WHERE 1",
    "optimize": "OPTIMIZE TABLE events FINAL",
    "kill": "KILL QUERY WHERE 1",
    "grant": "GRANT ALL ON *.* TO default",
    "use": "USE system",
    "attach": "ATTACH TABLE t FROM '/etc'",
    "backup": "BACKUP TABLE events TO File('/tmp/x')",
    "system command": "SYSTEM SHUTDOWN",
    "second statement": "SELECT 1; DROP TABLE events",
    "second statement in a comment's shadow": "SELECT 1 /* ; */ ; SELECT 2",
    "open comment": "SELECT 1 /*",
    "closing bracket": "SELECT 1) UNION ALL (SELECT count() FROM system.tables",
    "explain": "EXPLAIN SELECT 1",
    "parameter": "SELECT {project_id:String}",
    "parameter as a table": "SELECT * FROM {t:Identifier}",
    "dictionary": "SELECT dictGet('a', 'b', 1)",
    "dictionary table": "SELECT * FROM dictionary('a')",
    "joinGet": "SELECT joinGet('a', 'b', 1)",
    "sleep": "SELECT sleep(3)",
    "sleep each row": "SELECT sleepEachRow(1) FROM events",
    "setting read": "SELECT getSetting('readonly')",
    "macro": "SELECT getMacro('x')",
    "server's name": "SELECT hostName()",
    "version": "SELECT version()",
    "user": "SELECT currentUser()",
    "database": "SELECT currentDatabase()",
    "column of a table": "SELECT hasColumnInTable('system', 'tables', 'name')",
    "introspection": "SELECT addressToLine(1)",
    "filesystem": "SELECT filesystemAvailable()",
    "function by its name in a text": "SELECT arrayReduce('sum', [1])",
    "format query": "SELECT formatQuery('SELECT 1')",
    "evaluate": "SELECT evalMLMethod(1)",
    "catboost": "SELECT catboostEvaluate('/etc/passwd', 1)",
    "unknown function": "SELECT somethingNew(1)",
    "aggregate of an unknown": "SELECT secretIf(1, 1)",
    "nothing": " ",
    "no SQL": "hello",
    "deep": "SELECT " + "(" * 900 + "1" + ")" * 900,
    "NUL": "SELECT '\0' FROM system.tables",
    "much time": "SELECT count() FROM events AS a CROSS JOIN events AS b CROSS JOIN events AS c "
    "CROSS JOIN events AS d WHERE a.path || b.path || c.path || d.path = 'x'",
    "much memory": "SELECT groupArray(range(1000000)) FROM events",
    "large text": "SELECT length(repeat(repeat('x', 1000000), 1000000))",
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack(reader: Reader, shop: SceneShop, name: str) -> None:
    """Refused as a bad query: nothing is read, written or told of the server."""
    status, document = await ask_sql(reader, shop, ATTACKS[name])
    assert (status, document["error"]["code"]) == (400, "VALIDATION_ERROR"), document
    told = document["error"]["details"].get("query", "")
    assert "http://" not in told.replace("http://127.0.0.1:1", "")
    assert "root:" not in str(document)
    assert not Path(MARK).exists()


async def test_who_may_ask(reader: Reader, shop: SceneShop) -> None:
    """Admins of the project alone; bodies of another form are refused."""
    body = {"query": "SELECT 1"}
    assert (await reader.ask("sql", method="POST", body=body))[0] == 403
    status, _ = await reader.ask(
        "sql", method="POST", body=body, key=shop.admin_key, project=shop.other_project
    )
    assert status == 404
    for bad in ({}, {"query": 1}, {"query": ""}, {"query": "SELECT 1", "project_id": "x"}, []):
        assert (await reader.ask("sql", method="POST", body=bad, key=shop.admin_key))[0] == 400


@pytest.fixture
def bare_runner(shop: SceneShop, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runner as if the tree were never looked at."""
    monkeypatch.setattr(sql_runner, "check_tree", lambda *_: None)
    runner = ClickHouseSqlRunner(shop.databases.clickhouse_url)
    yield runner
    runner.close()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT DISTINCT project_id FROM events",
        "SELECT DISTINCT project_id FROM replay_chunks",
        "SELECT DISTINCT project_id FROM ledger_entries",
        "SELECT arrayJoin(groupUniqArray(project_id)) FROM events PREWHERE 1",
        "SELECT DISTINCT project_id FROM error_logs",
        "WITH t AS (SELECT project_id FROM sessions) SELECT DISTINCT project_id FROM t",
        "SELECT DISTINCT project_id FROM events AS insights",
    ],
)
async def test_the_engine_alone_keeps_projects_apart(
    bare_runner: ClickHouseSqlRunner, shop: SceneShop, query: str
) -> None:
    """Even if a query got through that should not, it would see one project."""
    project = shop.scenes.project_id
    found = await bare_runner.run(query, project)
    assert [row[0] for row in found.rows] in ([project], [])


@pytest.mark.parametrize(
    "query",
    [
        ATTACKS["url table"],
        ATTACKS["file table"],
        ATTACKS["remote"],
        ATTACKS["s3"],
        ATTACKS["settings"],
        ATTACKS["filter taken away"],
        ATTACKS["output file"],
        ATTACKS["output file appended"],
        ATTACKS["insert"],
        ATTACKS["drop"],
        ATTACKS["set"],
    ],
)
async def test_the_engine_alone_refuses_what_writes_or_leaves(
    bare_runner: ClickHouseSqlRunner, shop: SceneShop, query: str
) -> None:
    """Without the lists the mode and the form of the call are still in the way."""
    with pytest.raises(RefusedSqlError):
        await bare_runner.run(query, shop.scenes.project_id)
    assert not Path(MARK).exists()
    assert os.access("/tmp", os.W_OK)
