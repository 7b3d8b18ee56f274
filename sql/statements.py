"""A ClickHouse script cut into statements.

In: text of a migration. Out: its statements without comments, in order. A semicolon inside a
string, a quoted name, a here-document or a comment ends nothing. ClickHouse takes one statement per
request, and a statement sent twice must be harmless, which `repeat_fault` checks.
"""

from __future__ import annotations

import re

# Source: ClickHouse's documentation, "Syntax": comments, string literals, heredoc, identifiers.
_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
    | (?P<quoted>
          '(?:[^'\\]|\\.|'')*'
        | "(?:[^"\\]|\\.|"")*"
        | `(?:[^`\\]|\\.|``)*`
        | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
      )
    | (?P<end> ; )
    | (?P<open> /\* | ['"`] )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS = re.compile(r"\s+")


class StatementError(ValueError):
    """The text is not a sequence of whole statements."""


def split_statements(text: str) -> list[str]:
    """The statements of a script, trimmed, without comments and without the semicolons.

    Raises:
        StatementError: a string, a quoted name or a comment is not closed.
    """
    statements: list[str] = []
    parts: list[str] = []
    for token in _TOKEN.finditer(text):
        if token["open"] is not None:
            line = text.count("\n", 0, token.start()) + 1
            raise StatementError(f"line {line}: {token['open']} is not closed")
        if token["comment"] is not None:
            parts.append(" ")
        elif token["end"] is not None:
            statements.append("".join(parts).strip())
            parts = []
        else:
            parts.append(token[0])
    statements.append("".join(parts).strip())
    return [statement for statement in statements if statement]


def repeat_fault(statement: str) -> str | None:
    """Why a statement must not be run twice, or None if it may.

    A file that was interrupted is run again from its first statement.
    """
    words = _WORDS.sub(" ", statement).upper()
    verb = words.split(" ", 1)[0]
    if verb == "CREATE":
        return None if " IF NOT EXISTS " in words else "CREATE needs IF NOT EXISTS"
    if verb == "DROP":
        return None if " IF EXISTS " in words else "DROP needs IF EXISTS"
    if verb == "ALTER":
        for action in re.findall(r"\b(ADD|DROP|RENAME) (?:COLUMN|INDEX|PROJECTION) (\w+)", words):
            if action[1] != "IF":
                return f"{action[0]} needs IF EXISTS or IF NOT EXISTS"
        return None
    return f"{verb} is not one of CREATE, ALTER, DROP, whose repetition can be checked"


def for_cluster(statement: str, cluster: str) -> str:
    """The statement for a named cluster: on all its nodes, with replicated engines.

    Paths in the coordination service are the server's defaults. An empty name changes nothing.
    """
    if not cluster:
        return statement
    name = cluster.replace("\\", "\\\\").replace("'", "\\'")
    placed = re.sub(
        r"^(CREATE (?:TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS \w+"
        r"|ALTER TABLE \w+|DROP (?:TABLE|VIEW) IF EXISTS \w+)",
        lambda found: f"{found[1]} ON CLUSTER '{name}'",
        statement,
    )
    replicated = re.sub(
        r"^(ENGINE = )(\w*MergeTree)", r"\1Replicated\2", placed, flags=re.MULTILINE
    )
    return replicated.replace(
        "non_replicated_deduplication_window", "replicated_deduplication_window"
    )
