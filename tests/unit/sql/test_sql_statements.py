"""The statement splitter and what is said of a statement."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sql.statements import StatementError, for_cluster, repeat_fault, split_statements


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\n\nSELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' AS a; SELECT 2", ["SELECT ';' AS a", "SELECT 2"]),
        ("SELECT 'it''s; \\'so;' ; SELECT 2", ["SELECT 'it''s; \\'so;'", "SELECT 2"]),
        ('SELECT "a;b", `c;d`; SELECT 2', ['SELECT "a;b", `c;d`', "SELECT 2"]),
        ("SELECT 1 -- no; end\n, 2; SELECT 3", ["SELECT 1  \n, 2", "SELECT 3"]),
        ("SELECT /* a;\n -- b; */ 1; SELECT 2", ["SELECT   1", "SELECT 2"]),
        ("SELECT '-- not a comment'; SELECT 2", ["SELECT '-- not a comment'", "SELECT 2"]),
        ("SELECT $doc$ a; 'b $doc$; SELECT 2", ["SELECT $doc$ a; 'b $doc$", "SELECT 2"]),
        ("# a shell comment; too\nSELECT 1", ["SELECT 1"]),
        ("SELECT 7 - -1; -- the end", ["SELECT 7 - -1"]),
        ("-- only a comment", []),
        (" ;; ; ", []),
        ("", []),
    ],
)
def test_statements_end_at_semicolons_outside_text_and_comments(
    text: str, statements: list[str]
) -> None:
    """Only a semicolon of the language itself ends a statement; comments are left out."""
    assert split_statements(text) == statements


@pytest.mark.parametrize("text", ["SELECT 'a", 'SELECT "a', "SELECT `a", "SELECT 1 /* a"])
def test_unclosed_text_is_refused_with_its_line(text: str) -> None:
    """A file that was cut short is refused, not sent in part."""
    with pytest.raises(StatementError, match=r"line 2: .* is not closed"):
        split_statements("SELECT 0;\n" + text)


@given(st.lists(st.text(alphabet="ab;-/*'\n \\", max_size=12), min_size=1, max_size=5))
def test_quoted_values_survive_whatever_they_hold(values: list[str]) -> None:
    """Statements built around escaped strings come back one by one, unchanged."""
    escaped = [value.replace("\\", "\\\\").replace("'", "\\'") for value in values]
    statements = [f"SELECT '{value}'" for value in escaped]
    assert split_statements(";\n-- next;\n".join(statements)) == statements


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("CREATE TABLE IF NOT EXISTS a (b UInt8) ENGINE = Memory", None),
        ("CREATE TABLE a (b UInt8) ENGINE = Memory", "CREATE needs IF NOT EXISTS"),
        ("create materialized view\n if not exists a to b as select 1", None),
        ("DROP TABLE IF EXISTS a", None),
        ("DROP TABLE a", "DROP needs IF EXISTS"),
        ("ALTER TABLE a ADD COLUMN IF NOT EXISTS b UInt8", None),
        ("ALTER TABLE a ADD COLUMN b UInt8", "ADD needs IF EXISTS or IF NOT EXISTS"),
        ("ALTER TABLE a DROP INDEX b", "DROP needs IF EXISTS or IF NOT EXISTS"),
        ("ALTER TABLE a MODIFY TTL b + INTERVAL 1 DAY", None),
        (
            "INSERT INTO a SELECT 1",
            "INSERT is not one of CREATE, ALTER, DROP, whose repetition can be checked",
        ),
    ],
)
def test_statements_that_must_not_be_repeated_are_told(statement: str, fault: str | None) -> None:
    """An interrupted file is run again, so each statement has to bear that."""
    assert repeat_fault(statement) == fault


def test_a_cluster_name_makes_tables_replicated_on_all_nodes() -> None:
    """With a cluster the engine, the place and the deduplication window change; nothing else."""
    statement = (
        "CREATE TABLE IF NOT EXISTS a (\n    b UInt8\n)\nENGINE = ReplacingMergeTree(b)\n"
        "ORDER BY b\nSETTINGS non_replicated_deduplication_window = 10000"
    )
    assert for_cluster(statement, "") == statement
    assert for_cluster(statement, "main") == (
        "CREATE TABLE IF NOT EXISTS a ON CLUSTER 'main' (\n    b UInt8\n)\n"
        "ENGINE = ReplicatedReplacingMergeTree(b)\n"
        "ORDER BY b\nSETTINGS replicated_deduplication_window = 10000"
    )
    assert (
        for_cluster("CREATE MATERIALIZED VIEW IF NOT EXISTS a_mv TO a AS SELECT 1", "o'b")
        == "CREATE MATERIALIZED VIEW IF NOT EXISTS a_mv ON CLUSTER 'o\\'b' TO a AS SELECT 1"
    )
