"""Where a statement ends and where an INSERT's data begins.

In: the bytes of a request: the `query` parameter and as much of the body as is needed. Out: either
a complete statement, or an INSERT's head, its format and the offset of its data. Only the lexical
rules of ClickHouse's SQL are known here (strings, quoted names, comments, heredocs, brackets); what
a statement means is the engine's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
      (?P<space>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
    | (?P<text>'(?:[^'\\]|\\.|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<name>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
    | (?P<word>[^\W\d]\w*|[0-9][\w.]*)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANKS = re.compile(rb"[ \t\f]*\r?\n?")


class StatementError(Exception):
    """The text is not one statement; the message is the error text for the client."""


@dataclass(frozen=True, slots=True)
class InsertHead:
    """`INSERT INTO ... FORMAT X` whose data follows in the request.

    `text` is the statement without its FORMAT or VALUES clause, and without the SETTINGS clause
    before that, which is in `settings`; data starts at `data_at`.
    """

    text: str
    format: str
    data_at: int
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that is complete as it stands.

    `verb` is its first keyword in capitals, `format` the name in its trailing FORMAT clause or "".
    `is_plain_select` is false where the result has more than rows (totals, extremes).
    """

    text: str
    verb: str
    format: str
    is_plain_select: bool


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    end: int
    depth: int

    @property
    def keyword(self) -> bytes:
        return self.text.upper() if self.kind == "word" else b""


def _tokens(source: bytes) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or ""
        # A heredoc's inner group is matched last; it is a text all the same.
        kind = "text" if kind == "tag" else kind
        if kind == "space":
            continue
        text = match.group()
        if text in (b")", b"]", b"}"):
            depth -= 1
        yield _Token(kind, text, match.end(), depth)
        if text in (b"(", b"[", b"{"):
            depth += 1


def parse(source: bytes) -> InsertHead | Statement:
    """Tell an INSERT with data from every other statement.

    Raises:
        StatementError: nothing but blanks, or a second statement after a semicolon.
    """
    tokens = _tokens(source)
    first = next(tokens, None)
    if first is None:
        raise StatementError("Code: 62. DB::Exception: Syntax error: Empty query. (SYNTAX_ERROR)")
    if first.keyword == b"INSERT":
        head = _insert_head(source, tokens)
        if head is not None:
            return head
    return _statement(source, first)


def _insert_head(source: bytes, tokens: Iterator[_Token]) -> InsertHead | None:
    """The head of an INSERT with data, or None where rows come from a SELECT or a file."""
    before_name = {b"INTO", b"TABLE", b"FUNCTION"}
    has_name = False
    previous = b""
    settings_at = 0

    def head(text: bytes, format_name: str, data_at: int) -> InsertHead:
        if not settings_at:
            return InsertHead(text.decode(), format_name, data_at)
        settings = text[settings_at:].decode()
        return InsertHead(text[:settings_at].decode(), format_name, data_at, settings)

    for token in tokens:
        if not has_name:
            # The name may be any word, FORMAT and VALUES too.
            has_name = token.kind == "name" or token.keyword not in before_name
        elif previous != b"." and token.keyword in (b"SELECT", b"WITH", b"INFILE"):
            return None
        elif previous != b"." and token.depth == 0 and token.keyword == b"VALUES":
            text = source[: token.end - len(token.text)]
            return head(text, "Values", token.end)
        elif previous != b"." and token.depth == 0 and token.keyword == b"FORMAT":
            name = next(tokens, None)
            if name is None or name.kind not in ("word", "name"):
                return None
            text = source[: token.end - len(token.text)]
            blanks = _BLANKS.match(source, name.end)
            assert blanks is not None
            if name.keyword == b"VALUES":
                return head(text, "Values", name.end)
            return head(text, name.text.strip(b'`"').decode(), blanks.end())
        elif previous != b"." and token.depth == 0 and token.keyword == b"SETTINGS":
            settings_at = token.end - len(token.text)
        previous = token.text
    return None


def _statement(source: bytes, first: _Token) -> Statement:
    verb = first.keyword.decode()
    format_name = ""
    before = previous = b""
    end = 0
    is_over = False
    is_plain_select = verb in ("SELECT", "WITH")
    for token in _tokens(source):
        if is_over and token.text != b";":
            raise StatementError(
                "Code: 62. DB::Exception: Syntax error (Multi-statements are not allowed): "
                f"failed at position {end + 1} (end of query). (SYNTAX_ERROR)"
            )
        if token.text == b";" and token.kind == "mark":
            is_over = True
            continue
        if previous == b"FORMAT" and token.kind in ("word", "name"):
            format_name = token.text.strip(b'`"').decode()
        elif before == b"FORMAT" and token.keyword != b"SETTINGS":
            # A column or table called format: nothing but SETTINGS follows the clause.
            format_name = ""
        if token.keyword in (b"TOTALS", b"EXTREMES", b"INSERT"):
            is_plain_select = False
        before, previous = previous, token.keyword if token.depth == 0 else b""
        end = token.end
    return Statement(source[:end].decode(), verb, format_name, is_plain_select)
