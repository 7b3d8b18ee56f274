"""When a message that could not be sent is tried again, and when its channel is switched off. Pure.

In: how often it was tried, what came of it. Out: the time of the next attempt, or that it is given
up. The pauses are spread by the message's own id, so that what failed together does not come back
together, and the same message always waits the same. Source: alerting.md, section 7.
"""

from __future__ import annotations

import hashlib

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
PAUSES_MS = (10 * SECOND_MS, MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS)
ATTEMPTS_MAX = len(PAUSES_MS) + 1
SPREAD = 0.2
# Pauses that the other side asked for do not count as attempts, but they end some time.
AGE_MS_MAX = 24 * HOUR_MS
# So many failures in a row, over so long a time: a burst of alerts within a minute's outage is not
# a receiver that is gone. The count is of alerting.md, the time is added.
FAILURES_MAX = 20
FAILING_MS_MIN = HOUR_MS


def next_attempt_ms(
    message_id: str, attempts: int, now_ms: int, *, wait_ms: int | None, created_ms: int
) -> int | None:
    """When to try again after `attempts` that counted; None: never.

    `wait_ms` is what the other side asked for, if it did.
    """
    if now_ms - created_ms > AGE_MS_MAX:
        return None
    if attempts >= ATTEMPTS_MAX:
        return None
    pause_ms = spread_ms(message_id, attempts) if attempts > 0 else 0
    return now_ms + max(pause_ms, wait_ms or 0)


def spread_ms(message_id: str, attempts: int) -> int:
    """The pause after this attempt, a fifth more or less, always the same for one message."""
    digest = hashlib.sha256(f"{message_id} {attempts}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return round(PAUSES_MS[attempts - 1] * (1 - SPREAD + 2 * SPREAD * share))


def is_to_be_disabled(failures: int, failing_since_ms: int, now_ms: int) -> bool:
    """Whether a channel with so many failures in a row is switched off."""
    return failures >= FAILURES_MAX and now_ms - failing_since_ms >= FAILING_MS_MIN
