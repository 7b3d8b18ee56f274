"""What an analyst's query may be: judged by the syntax tree that ClickHouse itself makes of it.

In: the lines of `EXPLAIN AST`, and the names of all tables of the database. Out: nothing, or
`RefusedSqlError` saying what is not allowed. Only what is known to be harmless passes: kinds of
nodes, functions and tables are on lists; whatever a later version brings is refused until it is
put there. A query's own names (WITH) are told from tables by not being the name of any. Pure.

That rows of other projects stay out does not rest on this: see `api.reads.sql_runner`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from api.reads.sql_functions import is_allowed

# What the interface promises to analysts; docs/analysts.md says what is in each.
TABLES = (
    "events",
    "sessions",
    "insights",
    "identities",
    "error_logs",
    "latency_metrics",
    "rage_click_events",
    "events_hourly_mv",
    "sessions_daily_mv",
    "page_performance_mv",
    "click_heatmap_mv",
    "element_clicks_mv",
    "scroll_depth_mv",
    "page_time_mv",
    "ledger_minutes",
)
# What ClickHouse itself reads for a SELECT without FROM: one row with a zero.
_NOTHING = "system.one"
_KINDS = frozenset(
    {
        *("SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery", "ExpressionList"),
        *("WithElement", "Subquery", "Literal", "Identifier", "Function", "TableIdentifier"),
        *("TablesInSelectQuery", "TablesInSelectQueryElement", "TableExpression", "TableJoin"),
        *("ArrayJoin", "OrderByElement", "Asterisk", "QualifiedAsterisk", "WindowDefinition"),
        *("WindowListElement", "ColumnsTransformerList", "ColumnsExceptTransformer"),
    }
)
_ROOTS = frozenset({"SelectWithUnionQuery", "SelectIntersectExceptQuery"})
_MEMBERSHIP = frozenset({"in", "notin", "nullin", "notnullin"})
_LINE = re.compile(r"( *)(\w+)(?: (.*))?")
_SUFFIX = re.compile(r"(?: \(alias .*\))?(?: \(children \d+\))?$")
NODES_MAX = 5_000


ONLY_SELECT = "only SELECT is allowed; SELECT * FROM events LIMIT 0 shows the columns of events"


class RefusedSqlError(ValueError):
    """The query may not be run; the text says why, for whoever wrote it."""


@dataclass(slots=True)
class _Node:
    kind: str
    name: str
    children: list[_Node] = field(default_factory=list)


def check_tree(lines: Iterable[str], tables_of_database: Collection[str]) -> None:
    """Refuse what is not allowed.

    Raises:
        RefusedSqlError: naming the first thing that is not.
    """
    root = _tree(lines)
    if root.kind not in _ROOTS:
        raise RefusedSqlError(ONLY_SELECT)
    waiting = [(root, "")]
    while waiting:
        node, parent = waiting.pop()
        _check(node, parent, tables_of_database)
        waiting.extend((child, node.kind) for child in node.children)


def _check(node: _Node, parent: str, tables_of_database: Collection[str]) -> None:
    if node.kind not in _KINDS:
        raise RefusedSqlError(f"{_words(node.kind)} is not allowed")
    if node.kind == "TableIdentifier":
        _check_table(node.name, tables_of_database)
    if parent == "TableExpression" and node.kind not in {"TableIdentifier", "Subquery"}:
        raise RefusedSqlError(f"{node.name or node.kind} is no table; table functions are refused")
    if node.kind == "Function":
        if not is_allowed(node.name):
            raise RefusedSqlError(f"the function {node.name} is not allowed")
        if node.name.lower() in _MEMBERSHIP:
            _check_membership(node)


def _check_table(name: str, tables_of_database: Collection[str]) -> None:
    if name == _NOTHING:
        return
    if "." in name:
        raise RefusedSqlError(f"{name}: tables are named without a database")
    if name not in TABLES and name in tables_of_database:
        raise RefusedSqlError(f"the table {name} is not for analysts; there are: {_known()}")


def _check_membership(node: _Node) -> None:
    """`x IN name` would read the table of that name."""
    arguments = [child for part in node.children for child in part.children]
    if len(arguments) != 2 or arguments[1].kind not in {"Subquery", "Literal", "Function"}:
        raise RefusedSqlError("IN needs a list of values or (SELECT ...); arrays have has()")


def _tree(lines: Iterable[str]) -> _Node:
    roots: list[_Node] = []
    branch: list[_Node] = []
    for number, line in enumerate(lines):
        found = _LINE.fullmatch(line)
        if number >= NODES_MAX:
            raise RefusedSqlError(f"the query has more than {NODES_MAX} parts")
        if found is None or len(found[1]) > len(branch):
            raise RefusedSqlError("the query cannot be read")
        node = _Node(found[2], _SUFFIX.sub("", found[3] or ""))
        if found[2] not in {"Literal", "Identifier", "TableIdentifier", "Function"}:
            node.name = ""
        del branch[len(found[1]) :]
        (branch[-1].children if branch else roots).append(node)
        branch.append(node)
    if len(roots) != 1:
        raise RefusedSqlError("the query cannot be read")
    return roots[0]


def _words(kind: str) -> str:
    return {"Set": "SETTINGS", "QueryParameter": "a parameter in braces"}.get(kind, kind)


def _known() -> str:
    return ", ".join(TABLES)
