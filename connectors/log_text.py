"""What may be said in a log line: text without secrets, addresses or what a client sent.

In: any text or exception. Out: text in which keys, passwords, the queries of URLs and IP addresses
are replaced, of bounded length. Exceptions keep their type and where they happened; what they say
is kept only for those that speak of servers and settings, never of data.
"""

from __future__ import annotations

import re
import traceback
from typing import Any

from connectors.errors import ConnectorError
from connectors.settings import SettingsError

TEXT_CHARACTERS_MAX = 1_000
TRACE_CHARACTERS_MAX = 6_000
DEPTH_MAX = 4

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"://[^/\s@\"']*@"), "://***@"),
    (re.compile(r"(?i)\b(password|passwd|secret|token)=[^\s&;,\"']+"), r"\1=***"),
    (re.compile(r"\bgs_(?:live|test|api)_[0-9A-Za-z]+"), "gs_***"),
    # Tokens of accounts, invitations, and logins.
    (re.compile(r"\bgs([ti])_[0-9A-Za-z]+"), r"gs\1_***"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "eyJ***"),
    # The query of a URL or a path.
    (re.compile(r"(/[^\s?\"'<>]*)\?[^\s\"'<>]+"), r"\1?***"),
    (re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\.\d)"), "<address>"),
    (
        re.compile(
            r"(?<![\w:.])(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"
            r"|(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::"
            r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?)(?:%\w+)?(?![\w:])"
        ),
        "<address>",
    ),
)
# What these say is about servers and settings.
_SPEAKING = (ConnectorError, SettingsError, OSError, SystemExit)


def clean_text(text: str, limit: int = TEXT_CHARACTERS_MAX) -> str:
    """The text without secrets and addresses, cut to `limit` characters."""
    text = text[: 4 * limit]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def clean_value(value: Any, depth: int = DEPTH_MAX) -> Any:
    """A value of a log line with every text in it cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return "..."
    if isinstance(value, dict):
        return {str(key): clean_value(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean_value(item, depth - 1) for item in value]
    return clean_text(str(value))


def exception_text(error: BaseException, *, is_ours: bool = True) -> str:
    """Where it happened and what kind it is, for it and for what caused it, oldest first.

    What it says is left out unless `is_ours`: raised by this program or its libraries.
    """
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)
        lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-30:]]
        parts.append("\n".join([*lines, exception_name(current, is_ours=is_ours)]))
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    text = "\n".join(reversed(parts))
    return text[-TRACE_CHARACTERS_MAX:]


def exception_name(error: BaseException, *, is_ours: bool = True) -> str:
    """Its type, and what it says if that cannot be data of a client; never unless `is_ours`."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    speaks = is_ours and isinstance(error, _SPEAKING)
    return f"{name}: {clean_text(str(error), 300)}" if speaks else name
