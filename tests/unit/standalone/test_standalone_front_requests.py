"""One HTTP request as statement, data and scope; errors as HTTP answers; where to listen."""

from __future__ import annotations

import pytest

from standalone.clickhouse_server.errors import EngineError
from standalone.clickhouse_server.requests import read_work
from standalone.clickhouse_server.settings import (
    NotLoopbackError,
    check_loopback,
    read_settings,
)
from standalone.clickhouse_server.statements import InsertHead, Statement


def test_statement_in_the_url_and_data_in_the_body() -> None:
    """The query parameter comes first; the body is the INSERT's data, byte for byte."""
    options = {"query": "INSERT INTO t FORMAT Native"}
    work = read_work(options, {}, b"\n\x00\xff;", is_read_only=False)
    assert isinstance(work.statement, InsertHead)
    assert work.statement.format == "Native"
    assert work.data == b"\n\x00\xff;"


def test_statement_in_the_body() -> None:
    """Without a query parameter the body holds statement and data."""
    work = read_work({}, {}, b"INSERT INTO t FORMAT TSV\n1\n", is_read_only=False)
    assert isinstance(work.statement, InsertHead)
    assert work.data == b"1\n"


def test_statement_begun_in_the_url_and_ended_in_the_body() -> None:
    """The two are one text."""
    work = read_work({"query": "SELECT 1"}, {}, b"+ 1 FORMAT CSV", is_read_only=False)
    assert isinstance(work.statement, Statement)
    assert work.statement.text == "SELECT 1\n+ 1 FORMAT CSV"
    assert work.format == "CSV"


def test_options_are_told_from_settings_and_parameters() -> None:
    """Words of the interface, typed parameters and settings go to different places."""
    options = {
        "query": "SELECT {x:String}",
        "database": "d",
        "query_id": "q1",
        "session_id": "s",
        "default_format": "JSON",
        "param_x": "v",
        "max_threads": "2",
    }
    work = read_work(options, {}, b"", is_read_only=False)
    assert work.scope.settings == {"max_threads": "2"}
    assert work.scope.parameters == {"x": "v"}
    assert (work.scope.database, work.scope.query_id, work.format) == ("d", "q1", "JSON")


def test_headers_name_database_and_format_where_the_url_does_not() -> None:
    """X-ClickHouse-Database and -Format are heard; TabSeparated is the default."""
    headers = {"X-ClickHouse-Database": "d", "X-ClickHouse-Format": "CSV"}
    work = read_work({"query": "SELECT 1"}, headers, b"", is_read_only=False)
    assert (work.scope.database, work.format) == ("d", "CSV")
    plain = read_work({"query": "SELECT 1"}, {}, b"", is_read_only=False)
    assert plain.format == "TabSeparated"


def test_get_is_read_only() -> None:
    """A GET changes nothing, unless the request asks for a stricter rule itself."""
    work = read_work({"query": "SELECT 1"}, {}, b"", is_read_only=True)
    assert work.scope.settings == {"readonly": "2"}
    strict = read_work({"query": "SELECT 1", "readonly": "1"}, {}, b"", is_read_only=True)
    assert strict.scope.settings == {"readonly": "1"}


def test_statement_that_is_not_text_is_an_error() -> None:
    """Bytes outside UTF-8 are refused as a syntax error, with its code."""
    with pytest.raises(EngineError) as caught:
        read_work({}, {}, b"SELECT \xff", is_read_only=False)
    assert (caught.value.code, caught.value.status) == (62, 400)


def test_own_block_compression_is_refused() -> None:
    """compress=1 is answered with NOT_IMPLEMENTED rather than with bytes nobody can read."""
    with pytest.raises(EngineError) as caught:
        read_work({"query": "SELECT 1", "compress": "1"}, {}, b"", is_read_only=False)
    assert (caught.value.code, caught.value.status) == (48, 501)


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)", 60, 404),
        ("Streaming query failed: Code: 395. DB::Exception: no. (X)", 395, 500),
        ("Code: 241. DB::Exception: memory. (MEMORY_LIMIT_EXCEEDED)", 241, 500),
        ("no code at all", 1002, 500),
    ],
)
def test_error_texts_give_code_and_status(text: str, code: int, status: int) -> None:
    """The code is read from the engine's text, which then starts with it."""
    error = EngineError(text)
    assert (error.code, error.status) == (code, status)
    assert error.text.startswith(f"Code: {code}. ")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.5.5.5"])
def test_loopback_addresses_are_allowed(host: str) -> None:
    """Any loopback address will do."""
    check_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.0.2.7", ""])
def test_other_addresses_are_refused(host: str) -> None:
    """Nothing that another machine could reach."""
    with pytest.raises(NotLoopbackError):
        check_loopback(host)


def test_user_and_password_come_from_the_environment() -> None:
    """They are not on the command line, where every user of the machine could read them."""
    environ = {"CLICKHOUSE_USER": "u", "CLICKHOUSE_PASSWORD": "p"}
    settings = read_settings(["--data", "d", "--port", "1"], environ)
    assert (settings.user, settings.password, settings.host) == ("u", "p", "127.0.0.1")


def test_help_says_what_the_front_does_not_give(capsys: pytest.CaptureFixture[str]) -> None:
    """A reader of --help learns the limits."""
    with pytest.raises(SystemExit):
        read_settings(["--help"], {})
    text = capsys.readouterr().out
    for word in ("replication", "quotas", "loopback only", "session_id"):
        assert word in text
