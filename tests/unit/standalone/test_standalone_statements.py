"""The front's reading of statements: where one ends, where an INSERT's data begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.clickhouse_server.statements import (
    InsertHead,
    Statement,
    StatementError,
    parse,
)


@pytest.mark.parametrize(
    ("source", "text", "format_name", "data"),
    [
        (b"INSERT INTO t FORMAT Native\nabc", "INSERT INTO t ", "Native", b"abc"),
        (b"INSERT INTO t FORMAT CSV 1,2", "INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT TSV\r\n1\t2\n", "INSERT INTO t ", "TSV", b"1\t2\n"),
        (b"INSERT INTO t FORMAT TSV\n\n1", "INSERT INTO t ", "TSV", b"\n1"),
        (
            b"insert into db.t (a, b) format JSONEachRow\n{}",
            "insert into db.t (a, b) ",
            "JSONEachRow",
            b"{}",
        ),
        (b"INSERT INTO t VALUES (1, ';')", "INSERT INTO t ", "Values", b" (1, ';')"),
        (b"INSERT INTO t FORMAT Values (1)", "INSERT INTO t ", "Values", b" (1)"),
        (
            b"-- why\nINSERT INTO t SETTINGS a = 1 VALUES (1)",
            "-- why\nINSERT INTO t SETTINGS a = 1 ",
            "Values",
            b" (1)",
        ),
        (b"INSERT INTO TABLE `format` FORMAT TSV\n1", "INSERT INTO TABLE `format` ", "TSV", b"1"),
        (b"INSERT INTO values VALUES (1)", "INSERT INTO values ", "Values", b" (1)"),
        (
            b"INSERT INTO t /* FORMAT CSV */ FORMAT TSV\n1",
            "INSERT INTO t /* FORMAT CSV */ ",
            "TSV",
            b"1",
        ),
        (
            b"INSERT INTO d.format (values) FORMAT TSV\n1",
            "INSERT INTO d.format (values) ",
            "TSV",
            b"1",
        ),
    ],
)
def test_insert_is_cut_where_its_data_begins(
    source: bytes, text: str, format_name: str, data: bytes
) -> None:
    """Head, format and data are found, whatever the table is called."""
    head = parse(source)
    assert isinstance(head, InsertHead)
    assert (head.text + head.settings, head.format) == (text, format_name)
    assert source[head.data_at :] == data
    assert "SETTINGS" not in head.text.upper()


@pytest.mark.parametrize(
    "source",
    [
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t (a) SELECT x FROM s FORMAT Null",
        b"INSERT INTO t (SELECT 1)",
        b"INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"INSERT INTO t",
    ],
)
def test_insert_without_data_in_the_request_is_a_whole_statement(source: bytes) -> None:
    """Rows that come from a SELECT or a file are the engine's business."""
    assert isinstance(parse(source), Statement)


@pytest.mark.parametrize(
    ("source", "format_name"),
    [
        (b"SELECT 1", ""),
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 format JSON ;", "JSON"),
        (b"SELECT 'x FORMAT CSV'", ""),
        (b"SELECT format FROM t", ""),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "JSON"),
        (b"SELECT 1 -- FORMAT CSV", ""),
    ],
)
def test_format_clause_of_a_query_is_found(source: bytes, format_name: str) -> None:
    """Only a FORMAT clause outside strings, names, comments and brackets counts."""
    statement = parse(source)
    assert isinstance(statement, Statement)
    assert statement.format == format_name
    assert statement.verb == "SELECT"


@pytest.mark.parametrize(
    "source",
    [b"SELECT 1; SELECT 2", b"SELECT 1; DROP TABLE t", b"SELECT ';'; SELECT 2", b"", b" -- x\n"],
)
def test_anything_but_one_statement_is_refused(source: bytes) -> None:
    """A second statement never reaches the engine, nor does none."""
    with pytest.raises(StatementError, match="Code: 62"):
        parse(source)


@pytest.mark.parametrize(
    "source",
    [
        b"SELECT ';'",
        b'SELECT ";" FROM t',
        b"SELECT `;` FROM t;",
        b"SELECT 1 -- ; DROP TABLE t",
        b"SELECT 1 /* ; DROP */ ;\n;",
        rb"SELECT '\'; DROP TABLE t'",
        b"SELECT ''';'",
        b"SELECT $a$ ; DROP $a$",
    ],
)
def test_semicolons_in_strings_and_comments_do_not_end_a_statement(source: bytes) -> None:
    """Strings, quoted names, heredocs and comments may hold semicolons."""
    assert isinstance(parse(source), Statement)


@given(st.binary())
def test_insert_data_is_never_looked_at(data: bytes) -> None:
    """Any bytes after the head are data, unchanged."""
    source = b"INSERT INTO t FORMAT Native\n" + data
    head = parse(source)
    assert isinstance(head, InsertHead)
    assert source[head.data_at :] == data


@given(st.text(alphabet="SELCT '\"`;-/*#\n()$aFORMAT", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """The reader terminates on every text and keeps a statement's beginning unchanged."""
    try:
        statement = parse(text.encode())
    except StatementError:
        return
    assert text.startswith(statement.text)
