"""What a PromQL expression names: metrics, and the labels it expects of them.

A tokenizer, not a parser: enough to tell metrics from functions, keywords, label names, strings,
durations and numbers. What it cannot read, it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"\s+|#[^\n]*"
    r"|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`)"
    r"|(?P<duration>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)"
    r"|(?P<number>0x[0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)"
    r"|(?P<name>[a-zA-Z_][a-zA-Z0-9_:]*)"
    r"|(?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],@:])"
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end", "atan2"}


@dataclass
class Expression:
    """Labels asked of each metric by matchers, and labels that the expression groups by."""

    matched: dict[str, set[str]] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)
    # Made by label_replace and label_join.
    made: set[str] = field(default_factory=set)


def tokens_of(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token.

    Raises:
        ValueError: something is not PromQL.
    """
    found = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"cannot read {text[place : place + 20]!r}")
        if match.lastgroup is not None:
            found.append((match.lastgroup, match.group()))
        place = match.end()
    return found


def parse(text: str) -> Expression:
    """Everything that `text` names.

    Raises:
        ValueError: brackets do not match, or something is not PromQL.
    """
    tokens = tokens_of(text)
    found = Expression()
    open_signs: list[str] = []
    metric: str | None = None
    functions: list[str] = []
    place = 0
    while place < len(tokens):
        kind, token = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "name" and token.lower() in _GROUPING and following == "(":
            end = tokens.index(("sign", ")"), place)
            found.grouped |= {word for sort, word in tokens[place + 2 : end] if sort == "name"}
            place = end
        elif kind == "name" and open_signs and open_signs[-1] == "{":
            assert metric is not None
            found.matched[metric].add(token)
        elif kind == "name" and following == "(":
            functions.append(token)
        elif kind == "name" and following.lower() in _GROUPING:
            pass  # An aggregation whose labels come first: sum by (...) (...).
        elif kind == "name" and token.lower() not in _WORDS:
            metric = token
            found.matched.setdefault(token, set())
        elif kind == "sign" and token in "({[":
            if token == "{" and (place == 0 or tokens[place - 1][0] != "name"):
                raise ValueError("a selector without a metric")
            open_signs.append(token)
        elif kind == "sign" and token in ")}]":
            if not open_signs or open_signs.pop() + token not in ("()", "{}", "[]"):
                raise ValueError(f"{token} closes nothing in {text!r}")
        elif kind == "string" and functions and functions[-1] in ("label_replace", "label_join"):
            found.made.add(token.strip("\"'`"))
        place += 1
    if open_signs:
        raise ValueError(f"{open_signs[-1]} is not closed in {text!r}")
    return found
