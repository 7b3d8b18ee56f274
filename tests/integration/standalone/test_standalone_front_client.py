"""clickhouse-connect and plain HTTP against the ClickHouse front, as against a server."""

from __future__ import annotations

import datetime
import gzip
import http.client
import json
import threading
import time
import uuid
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import clickhouse_connect
import lz4.frame
import pyarrow as pa
import pytest
from backports import zstd
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from standalone.clickhouse import ClickHouseServer

pytestmark = pytest.mark.integration

EVENTS = """
CREATE TABLE events (
    id UInt64, name String, tags Array(String), amount Nullable(Float64), session UUID,
    at DateTime64(3, 'UTC'), kind LowCardinality(String)
) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100
"""
COLUMNS = ["id", "name", "tags", "amount", "session", "at", "kind"]
AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=datetime.UTC)
SESSION = uuid.UUID(int=7)


def rows(count: int) -> list[list[Any]]:
    """`count` rows for the events table."""
    return [
        [n, f"naïve '{n}'\t\n\\", ["a", "b"], None if n % 2 else n / 4, SESSION, AT, "click"]
        for n in range(count)
    ]


def ask(
    front: ClickHouseServer,
    method: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    **options: str,
) -> tuple[int, dict[str, str], bytes]:
    """One request without a client library: status, headers, body as sent."""
    parts = urlsplit(front.url)
    credentials = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=30)
    try:
        path = "/?" + urlencode({"database": "gosight", **options}, quote_via=quote)
        sent = {"Authorization": f"Basic {credentials}", **(headers or {})}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


def test_rows_come_back_as_they_were_sent(client: Client) -> None:
    """Native insert and select keep strings, arrays, nulls, UUIDs, times and dictionaries."""
    client.command(EVENTS)
    summary = client.insert("events", rows(50), column_names=COLUMNS)
    assert summary.written_rows == 50
    result = client.query("SELECT * FROM events ORDER BY id")
    found = [list(row) for row in result.result_rows]
    for row in found:
        row[5] = row[5].replace(tzinfo=datetime.UTC)
    assert found == rows(50)
    assert result.column_names == tuple(COLUMNS)


def test_arrow_tables_go_in_and_come_out(client: Client) -> None:
    """insert_arrow and query_arrow carry a pyarrow table."""
    client.command("CREATE TABLE plain (id UInt64, name String) ENGINE = MergeTree ORDER BY id")
    table = pa.table({"id": pa.array([1, 2], pa.uint64()), "name": ["x", "y"]})
    client.insert_arrow("plain", table)
    found = client.query_arrow("SELECT id, name FROM plain ORDER BY id", use_strings=True)
    assert found.to_pydict() == table.to_pydict()


def test_parameters_are_typed_and_never_text_of_the_statement(client: Client) -> None:
    """Server-side parameters carry any text, numbers, times, arrays and names."""
    evil = "it's \\ a \"name\"\t\n'); DROP TABLE events; --"
    query = (
        "SELECT {text:String}, {number:UInt32} + 1, {at:DateTime64(3)}, {list:Array(String)}, "
        "{nothing:Nullable(String)}"
    )
    parameters = {"text": evil, "number": 4, "at": AT, "list": ["a'b", "c"], "nothing": None}
    row = client.query(query, parameters=parameters).first_row
    assert row[:2] == (evil, 5)
    assert row[2].replace(tzinfo=datetime.UTC) == AT
    assert row[3:] == (["a'b", "c"], None)
    client.command("CREATE TABLE named (a UInt8) ENGINE = MergeTree ORDER BY a")
    assert client.command("SELECT count() FROM {t:Identifier}", parameters={"t": "named"}) == 0


def test_settings_hold_for_one_request_only(client: Client) -> None:
    """A setting of one request does not reach the next one on the same connection."""
    query = "SELECT getSetting('max_block_size')"
    before = client.command(query)
    assert client.command(query, settings={"max_block_size": 77}) == 77
    assert client.command(query) == before


def test_wrong_settings_are_errors(front: ClickHouseServer) -> None:
    """Unknown names and odd names are refused with ClickHouse's code."""
    for name in ("no_such_setting", "max_threads=1,readonly"):
        status, headers, _ = ask(front, "POST", b"SELECT 1", database="default", **{name: "1"})
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (404, "115")


@pytest.mark.parametrize(
    ("statement", "code", "status"),
    [
        ("SELECT nothing", 47, 404),
        ("SELECT * FROM nowhere", 60, 404),
        ("SELECT FROM WHERE", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT toUInt8('x')", 6, 400),
        ("SELECT throwIf(1)", 395, 500),
        ("INSERT INTO nowhere VALUES (1)", 60, 404),
        ("SELECT 1 FORMAT Nonsense", 73, 404),
    ],
)
def test_errors_have_status_code_header_and_text(
    client: Client, front: ClickHouseServer, statement: str, code: int, status: int
) -> None:
    """As a server answers: status, X-ClickHouse-Exception-Code, `Code: N. DB::Exception: ...`."""
    got, headers, body = ask(front, "POST", statement.encode())
    assert got == status
    assert headers["X-ClickHouse-Exception-Code"] == str(code)
    assert body.decode().startswith(f"Code: {code}. DB::Exception: ")
    with pytest.raises(DatabaseError) as caught:
        client.command(statement)
    assert caught.value.code == code


def test_time_limit_ends_a_statement(client: Client) -> None:
    """max_execution_time is obeyed."""
    with pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
        client.query(
            "SELECT sleepEachRow(0.1) FROM numbers(100) SETTINGS max_block_size = 1",
            settings={"max_execution_time": 1},
        )


def test_large_results_are_streamed_and_complete(client: Client) -> None:
    """Two million rows arrive in blocks, each once and in order."""
    expected = 0
    with client.query_row_block_stream("SELECT number FROM numbers(2000000)") as stream:
        for block in stream:
            assert block[0][0] == expected
            expected += len(block)
    assert expected == 2_000_000


def test_error_in_the_middle_of_a_stream_reaches_the_client(client: Client) -> None:
    """After the status was sent, the client still raises the engine's error."""
    query = "SELECT throwIf(number = 1500000) FROM numbers(2000000) SETTINGS max_threads = 1"
    with (
        pytest.raises(StreamFailureError, match="395"),
        client.query_row_block_stream(query) as stream,
    ):
        for _ in stream:
            pass


def test_results_without_rows(client: Client) -> None:
    """No rows is an empty result; LIMIT 0 still names the columns."""
    assert client.query("SELECT 1 AS a WHERE 0").result_rows == []
    assert client.query("SELECT 1 AS a LIMIT 0").column_names == ("a",)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4", "identity"])
def test_bodies_may_be_compressed(client: Client, front: ClickHouseServer, encoding: str) -> None:
    """A compressed INSERT is unpacked; the answer is packed as Accept-Encoding asks."""
    packers = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": zstd.compress,
        "lz4": lz4.frame.compress,
        "identity": bytes,
    }
    unpackers = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "zstd": zstd.decompress,
        "lz4": lz4.frame.decompress,
        "identity": bytes,
    }
    client.command("CREATE TABLE packed (a UInt64) ENGINE = MergeTree ORDER BY a")
    data = packers[encoding](b"".join(b"%d\n" % number for number in range(5_000)))
    status, _, text = ask(
        front,
        "POST",
        data,
        {"Content-Encoding": encoding},
        query="INSERT INTO packed FORMAT TSV",
    )
    assert status == 200, text
    status, headers, body = ask(
        front,
        "POST",
        b"SELECT sum(a), repeat('x', 1000) FROM packed",
        {"Accept-Encoding": encoding},
        enable_http_compression="1",
    )
    assert status == 200
    assert headers.get("Content-Encoding", "identity") == encoding
    assert unpackers[encoding](body).startswith(b"12497500\tx")


@pytest.mark.parametrize(
    ("format_name", "data"),
    [
        ("JSONEachRow", b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'),
        ("TSV", b"1\tx\n2\ty\n"),
        ("CSV", b'1,"x"\n2,"y"\n'),
        ("Values", b"(1, 'x'), (2, 'y')"),
        ("RowBinary", b"\x01\x00\x01x\x02\x00\x01y"),
        ("JSONCompactEachRow", b'[1, "x"]\n[2, "y"]\n'),
    ],
)
def test_inserts_in_many_formats(
    client: Client, front: ClickHouseServer, format_name: str, data: bytes
) -> None:
    """Statement and data in one body, or the statement in the URL."""
    client.command("CREATE TABLE mixed (a UInt16, b String) ENGINE = MergeTree ORDER BY a")
    head = b"INSERT INTO mixed (a, b) FORMAT " + format_name.encode() + b"\n"
    assert ask(front, "POST", head + data)[0] == 200
    assert ask(front, "POST", data, query=head.decode())[0] == 200
    found = client.query("SELECT a, b FROM mixed ORDER BY a").result_rows
    assert found == [(1, "x"), (1, "x"), (2, "y"), (2, "y")]


def test_insert_from_select_and_with_values(client: Client) -> None:
    """Rows that the engine makes itself, and literal ones."""
    client.command("CREATE TABLE made (a UInt64) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO made SELECT number FROM numbers(10)")
    client.command("INSERT INTO made VALUES (10), (11);")
    assert client.command("SELECT count(), sum(a) FROM made") == ["12", "66"]


def test_broken_insert_leaves_nothing(client: Client, front: ClickHouseServer) -> None:
    """A row that cannot be read refuses the whole request."""
    client.command("CREATE TABLE whole (a UInt64) ENGINE = MergeTree ORDER BY a")
    data = b"1\n" * 10_000 + b"not a number\n"
    status, headers, _ = ask(front, "POST", data, query="INSERT INTO whole FORMAT TSV")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (400, "27")
    assert client.command("SELECT count() FROM whole") == 0


def test_formats_of_answers(client: Client, front: ClickHouseServer) -> None:
    """FORMAT in the statement wins over default_format; headers say what was sent."""
    _, headers, body = ask(front, "POST", b"SELECT 1 AS a FORMAT JSONEachRow", default_format="CSV")
    assert json.loads(body) == {"a": 1}
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    _, headers, body = ask(front, "POST", b"SELECT 1, 'x'", default_format="CSV", query_id="q-1")
    assert body == b'1,"x"\n'
    assert headers["X-ClickHouse-Query-Id"] == "q-1"
    assert headers["X-ClickHouse-Timezone"]
    assert headers["X-ClickHouse-Server-Display-Name"]
    assert json.loads(headers["X-ClickHouse-Summary"])["read_rows"] == "1"
    whole = json.loads(ask(front, "POST", b"SELECT number FROM numbers(100000) FORMAT JSON")[2])
    assert whole["rows"] == 100_000


def test_totals_are_part_of_a_text_answer(client: Client, front: ClickHouseServer) -> None:
    """WITH TOTALS and extremes come after an empty line each, as on a server."""
    query = b"SELECT number % 2 AS n, count() FROM numbers(4) GROUP BY n WITH TOTALS ORDER BY n"
    assert ask(front, "POST", query)[2] == b"0\t2\n1\t2\n\n0\t4\n"
    query = b"SELECT number FROM numbers(3)"
    assert ask(front, "POST", query, extremes="1")[2] == b"0\n1\n2\n\n0\n2\n"


def test_get_does_not_change_anything(client: Client, front: ClickHouseServer) -> None:
    """GET reads; an INSERT or DDL by GET is refused."""
    assert ask(front, "GET", query="SELECT 1")[2] == b"1\n"
    status, headers, _ = ask(front, "GET", query="CREATE TABLE t (a UInt8) ENGINE = Memory")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "164")


def test_readonly_reader_cannot_write(client: Client, front: ClickHouseServer) -> None:
    """readonly=1 refuses writes and further settings, in whatever order they come."""
    client.command("CREATE TABLE guarded (a UInt8) ENGINE = MergeTree ORDER BY a")
    options = {"readonly": "1", "max_threads": "1"}
    assert ask(front, "POST", b"SELECT getSetting('max_threads')", **options)[2] == b"1\n"
    assert ask(front, "POST", b"INSERT INTO guarded VALUES (1)", **options)[0] == 500
    assert ask(front, "POST", b"SELECT 1 SETTINGS max_threads = 2", **options)[0] == 500


def test_only_the_user_with_the_password_is_served(front: ClickHouseServer) -> None:
    """Basic authentication and ClickHouse's own headers; 403 and code 516 otherwise."""
    good = {"X-ClickHouse-User": "gosight", "X-ClickHouse-Key": "front-password"}
    assert ask(front, "POST", b"SELECT 1", good)[0] == 200
    for wrong in ({"X-ClickHouse-Key": "no"}, {"X-ClickHouse-User": "default"}):
        status, headers, _ = ask(front, "POST", b"SELECT 1", {**good, **wrong})
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    nobody = {"Authorization": "Basic bm9ib2R5Og=="}
    assert ask(front, "POST", b"SELECT 1", nobody)[0] == 403


def test_slow_statements_do_not_stop_the_others(front: ClickHouseServer, client: Client) -> None:
    """While eight statements sleep a second, a ninth is answered at once."""
    with ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        slow = [
            pool.submit(ask, front, "POST", b"SELECT sleep(1)", query_id=f"slow-{n}")
            for n in range(8)
        ]
        while client.command("SELECT count() FROM system.processes") < 9:
            assert time.monotonic() - began < 5
        assert ask(front, "POST", b"SELECT 1")[0] == 200
        assert not all(future.done() for future in slow)
        assert [future.result()[0] for future in slow] == [200] * 8


def test_inserts_of_many_clients_are_all_there(front: ClickHouseServer, client: Client) -> None:
    """Four clients insert at the same time while a reader counts; nothing is lost."""
    client.command("CREATE TABLE busy (a UInt64, b UInt64) ENGINE = MergeTree ORDER BY a")
    is_over = threading.Event()
    counts: list[int] = []

    def write(writer: int) -> None:
        with clickhouse_connect.get_client(dsn=front.url) as own:
            for batch in range(10):
                own.insert("busy", [[writer, batch]] * 200, column_names=["a", "b"])

    def read() -> None:
        with clickhouse_connect.get_client(dsn=front.url) as own:
            while not is_over.is_set():
                counts.append(own.command("SELECT count() FROM busy"))

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    is_over.set()
    reader.join()
    assert client.command("SELECT count() FROM busy") == 8_000
    assert counts == sorted(counts)


def test_client_that_leaves_ends_its_query(front: ClickHouseServer, client: Client) -> None:
    """A SELECT whose client has gone does not go on for ever."""
    parts = urlsplit(front.url)
    credentials = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=30)
    query = "SELECT sleepEachRow(0.5) FROM numbers(200) SETTINGS max_block_size = 1 FORMAT JSON"
    connection.request("POST", "/", query, {"Authorization": f"Basic {credentials}"})
    running = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(200)%FORMAT JSON'"
    deadline = time.monotonic() + 20
    while client.command(running) < 1:
        assert time.monotonic() < deadline
    connection.close()
    while client.command(running) > 0:
        assert time.monotonic() < deadline


def test_ping_and_unknown_paths(front: ClickHouseServer) -> None:
    """Probes need no password; other paths do not exist."""
    parts = urlsplit(front.url)
    answers = {}
    for path in ("/ping", "/replicas_status", "/nowhere"):
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        answers[path] = (response.status, response.read())
        connection.close()
    assert answers["/ping"] == answers["/replicas_status"] == (200, b"Ok.\n")
    assert answers["/nowhere"][0] == 404


def test_statements_of_operation_work(client: Client) -> None:
    """What the project runs beside reads and inserts: EXPLAIN, OPTIMIZE, mutations, views."""
    client.command("CREATE TABLE ops (a UInt64) ENGINE = ReplacingMergeTree ORDER BY a")
    client.command("INSERT INTO ops SELECT number % 10 FROM numbers(100)")
    assert client.query("EXPLAIN indexes = 1 SELECT * FROM ops WHERE a = 1").result_rows
    client.command("OPTIMIZE TABLE ops FINAL")
    assert client.command("SELECT count() FROM ops") == 10
    client.command("ALTER TABLE ops DELETE WHERE a < 5", settings={"mutations_sync": 1})
    assert client.command("SELECT count() FROM ops") == 5
    client.command("DELETE FROM ops WHERE a = 5")
    assert client.command("SELECT count() FROM ops") == 4
    assert client.command("SELECT name FROM system.tables WHERE database = 'gosight'") == "ops"
    assert client.command("SELECT count() FROM system.processes") == 1
    client.command("CREATE TABLE totals (n UInt64) ENGINE = MergeTree ORDER BY n")
    client.command(
        "CREATE MATERIALIZED VIEW totals_mv REFRESH EVERY 1 HOUR TO totals "
        "AS SELECT count() AS n FROM ops"
    )
    client.command("SYSTEM REFRESH VIEW totals_mv")
    client.command("SYSTEM WAIT VIEW totals_mv")
    assert client.command("SELECT n FROM totals") == 4


async def test_asynchronous_client_works(front: ClickHouseServer, client: Client) -> None:
    """The asyncio variant of the client library, which the api uses."""
    async with await clickhouse_connect.get_async_client(dsn=front.url) as own:
        parameters = {"x": 4}
        result = await own.query("SELECT {x:UInt8} + 1", parameters=parameters)
        assert result.first_row == (5,)
