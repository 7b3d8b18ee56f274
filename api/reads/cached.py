"""Handlers whose answers may be given again: from the question of a request to its answer.

`X-Cache` says HIT, MISS or BYPASS, `Age` how many seconds ago the answer was made. A request with
`Cache-Control: no-cache` has it made anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from api.answers import data_answer
from api.project_queries import bounds
from api.reads.answer_cache import Found, Question
from api.reads.asking import AskedPeriod
from connectors.telemetry import gosight_version

_RELEASE = gosight_version()
# They are in the question as the period they mean.
_OF_PERIOD = {"start_date", "end_date", "timezone"}
AskedT = TypeVar("AskedT", bound=AskedPeriod[Any])


async def answer_cached(
    request: web.Request, asked: AskedT, make: Callable[[AskedT], Awaitable[Any]]
) -> web.Response:
    """The data that `make` gives of what was asked, or gave a short time ago."""
    found = await find_cached(request, asked, make)
    return told(data_answer(found.body), found, asked)


async def find_cached(
    request: web.Request, asked: AskedT, make: Callable[[AskedT], Awaitable[Any]]
) -> Found:
    """The same before it is an answer, for handlers that add to it."""
    cache = asked.services.reads.answers if asked.services.reads else None
    if cache is None:
        body = msgspec.json.encode(await make(asked), enc_hook=str)
        return Found(msgspec.Raw(body), asked.services.now_ms(), "BYPASS")

    async def version() -> str:
        # What an answer compares a period with is in it, too.
        span = {**bounds(asked.period), "start_ms": asked.period.before().start_ms}
        (row,) = await asked.queries.rows("period_version", span)
        return "/".join(str(value) for value in row.values())

    parameters = asked.parameters.model_dump(mode="json", exclude=_OF_PERIOD)
    resource = request.match_info.route.resource
    assert resource is not None
    question = Question(
        project_id=asked.caller.project_id,
        role=asked.caller.role.name,
        period=asked.period,
        what=msgspec.json.encode([resource.canonical, sorted(parameters.items())]).decode(),
        release=_RELEASE,
    )
    return await cache.answer(
        question,
        version,
        lambda: make(asked),
        wants_new="no-cache" in request.headers.get("Cache-Control", "").lower(),
    )


def told(answer: web.Response, found: Found, asked: AskedPeriod[Any]) -> web.Response:
    """The answer with where it is from."""
    age_ms = max(0, asked.services.now_ms() - found.made_ms)
    answer.headers["X-Cache"] = found.state
    answer.headers["Age"] = str(age_ms // 1_000)
    return answer
