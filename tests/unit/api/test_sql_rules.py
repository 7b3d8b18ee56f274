"""What an analyst's query may be, judged by lines of a syntax tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.reads.sql_functions import is_allowed
from api.reads.sql_rules import TABLES, RefusedSqlError, check_tree

DATABASE = {*TABLES, "schema_migrations", "replay_chunks", "ledger_entries"}


def tree(*expressions: str, table: str = "TableIdentifier events") -> list[str]:
    """A SELECT of some expressions from one table."""
    return [
        "SelectWithUnionQuery (children 1)",
        " ExpressionList (children 1)",
        "  SelectQuery (children 2)",
        "   ExpressionList (children 1)",
        *(f"    {line}" for line in expressions),
        "   TablesInSelectQuery (children 1)",
        "    TablesInSelectQueryElement (children 1)",
        "     TableExpression (children 1)",
        f"      {table}",
    ]


def test_an_ordinary_query_passes() -> None:
    """Columns, allowed functions, aliases, own names."""
    check_tree(tree("Function count (alias n) (children 1)", " ExpressionList"), DATABASE)
    check_tree(tree("Identifier path", table="TableIdentifier events (alias e)"), DATABASE)
    check_tree(tree("Asterisk", table="TableIdentifier a_name_of_mine"), DATABASE)


@pytest.mark.parametrize(
    "lines",
    [
        tree("Function file (children 1)", " ExpressionList (children 1)", "  Literal 'x'"),
        tree("Function file (alias count) (children 1)", " ExpressionList"),
        tree("Identifier a", table="Function numbers (children 1)"),
        tree("Identifier a", table="Function count (children 1)"),
        tree("Identifier a", table="TableIdentifier system.tables"),
        tree("Identifier a", table="TableIdentifier replay_chunks (alias events)"),
        tree("QueryParameter t:String"),
        tree("SomethingNew"),
        [*tree("Identifier a"), "  Set"],
        ["InsertQuery   (children 1)"],
        ["SelectQuery (children 0)"],
        ["DropQuery  events (children 1)"],
        [],
        ["SelectWithUnionQuery (children 1)", "SelectWithUnionQuery (children 1)"],
        ["SelectWithUnionQuery (children 1)", "   ExpressionList"],
        tree(
            "Function in (children 1)",
            " ExpressionList (children 2)",
            "  Identifier a",
            "  Identifier system.tables",
        ),
        tree(
            "Function notIn (children 1)",
            " ExpressionList (children 2)",
            "  Identifier a",
            "  TableIdentifier events",
        ),
    ],
)
def test_everything_else_is_refused(lines: list[str]) -> None:
    """Whatever is not known to be harmless."""
    with pytest.raises(RefusedSqlError):
        check_tree(lines, DATABASE)


@given(st.lists(st.text(max_size=30), max_size=20))
def test_lines_that_are_no_tree_are_refused(lines: list[str]) -> None:
    """Never anything but a refusal."""
    with pytest.raises(RefusedSqlError):
        check_tree(lines, DATABASE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("count", True),
        ("COUNT", True),
        ("countIf", True),
        ("uniqMerge", True),
        ("quantilesTDigestMerge", True),
        ("sumIfOrNull", True),
        ("toDate", True),
        ("toDateIf", False),
        ("file", False),
        ("fileIf", False),
        ("if", True),
        ("ifif", False),
        ("url", False),
        ("dictGet", False),
        ("joinGet", False),
        ("sleep", False),
        ("getSetting", False),
        ("arrayReduce", False),
        ("initializeAggregation", False),
        ("", False),
    ],
)
def test_functions(name: str, expected: bool) -> None:
    """On the list, or an aggregate with an ending; nothing by likeness."""
    assert is_allowed(name) is expected
