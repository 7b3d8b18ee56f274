"""What came of one attempt to send a message, whatever the channel.

`SENT`    the other side said that it has it
`RETRY`   it is away, slow or busy: the same message may go later
`FAILED`  the same message will never be taken
`GONE`    the target itself is no more: nothing should be sent there again
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ERROR_LENGTH_MAX = 300


class Verdict(StrEnum):
    """See the module."""

    SENT = "sent"
    RETRY = "retry"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`status` is of HTTP, None without an answer; `error` is for a person and holds no secret.

    `wait_ms` is how long the other side asked to be left alone, None if it did not.
    """

    verdict: Verdict
    status: int | None = None
    error: str = ""
    wait_ms: int | None = None


SENT = Attempt(Verdict.SENT, 200)


def retry(error: str, status: int | None = None, wait_ms: int | None = None) -> Attempt:
    """It may go later."""
    return Attempt(Verdict.RETRY, status, error[:ERROR_LENGTH_MAX], wait_ms)


def failed(error: str, status: int | None = None) -> Attempt:
    """It will never go."""
    return Attempt(Verdict.FAILED, status, error[:ERROR_LENGTH_MAX])
