"""The engine's error texts as the HTTP answers that a ClickHouse server gives for them.

In: an exception text `Code: N. DB::Exception: ...`. Out: N and the HTTP status.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"Code: (\d+)\. ")
# How the binding introduces the engine's own text.
_PREFIX = re.compile(r"^.*?(?=Code: \d+\. )", re.DOTALL)

SYNTAX_ERROR = 62
UNKNOWN_SETTING = 115
BAD_ARGUMENTS = 36
AUTHENTICATION_FAILED = 516
NOT_IMPLEMENTED = 48
QUERY_IS_TOO_LARGE = 91
UNKNOWN_EXCEPTION = 1002

# Source: ClickHouse, src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; every other code is 500.
_STATUS: dict[int, int] = {
    194: 401,  # REQUIRED_PASSWORD
    **dict.fromkeys((192, 193, 516), 403),  # UNKNOWN_USER, WRONG_PASSWORD, AUTHENTICATION_FAILED
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 43, 53, 62, 69, 72, 117, 167, 168, 427, 675), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), 404),
    159: 408,  # TIMEOUT_EXCEEDED
    QUERY_IS_TOO_LARGE: 413,
    NOT_IMPLEMENTED: 501,
    **dict.fromkeys((202, 209, 439), 503),
}


class EngineError(Exception):
    """A statement failed; `code` is ClickHouse's, the text starts with `Code: N. DB::Exception`."""

    def __init__(self, text: str) -> None:
        match = _CODE.search(text)
        self.code = int(match.group(1)) if match else UNKNOWN_EXCEPTION
        self.text = _PREFIX.sub("", text, count=1) if match else f"Code: {self.code}. {text}"
        super().__init__(self.text)

    @classmethod
    def make(cls, code: int, reason: str, name: str) -> EngineError:
        """An error of the front's own, in the engine's form."""
        return cls(f"Code: {code}. DB::Exception: {reason}. ({name})")

    @property
    def status(self) -> int:
        """The HTTP status for this error."""
        return _STATUS.get(self.code, 500)
