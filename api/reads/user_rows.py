"""Which rows of a list are a user's, also from before the user said who they are.

In: the user that a request asks for. Out: parameters of `events_list` and `sessions_list`. Who was
whom is decided by the view `visitor_users`; asked for one user first, it is a few rows, and lists
need not join anything. Source: sessions.md, section 7, rule 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.project_queries import bounds
from api.reads.asking import AskedPeriod
from api.services import Row

# Spans of time in which some browser was the user's. Who has more is an id that many people share;
# then of rows that say no user those of the latest spans are found.
VISITORS_MAX = 1_000


async def user_filter(asked: AskedPeriod[Any], user_id: str | None) -> dict[str, Any]:
    """The user and the visitors who were this user at some time of the period; None: everybody."""
    if not user_id:
        return filter_of("", ())
    chosen = {**bounds(asked.period), "user_id": user_id, "limit": VISITORS_MAX}
    return filter_of(user_id, await asked.queries.rows("user_visitors", chosen))


def filter_of(user_id: str, visitors: Sequence[Row]) -> dict[str, Any]:
    """The same of rows of `user_visitors`; an empty user does not filter."""
    return {
        "user_id": user_id,
        "visitors": [row["anonymous_id"] for row in visitors],
        "visitors_from_ms": [row["from_ms"] for row in visitors],
        "visitors_until_ms": [row["until_ms"] for row in visitors],
    }
