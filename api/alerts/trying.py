"""Trying a rule: a sample to its channels, and what it would have said of stored history.

Both are done by the command, which has the engine of the live flow and its senders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from api.alerts import models
from api.alerts.handlers import alerts_of, bad_rule, document_of, rule_of_path
from api.answers import data_answer, json_answer
from api.bodies import read_body
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters
from api.period import DAY_MS
from api.reads.asking import ask
from api.reads.commands import Commands, CommandTooLongError
from api.reads.jobs import JobFailedError, Progress
from api.reads.trying import moment_text, run_and_tell
from connectors.errors import RetryableError
from schemas.alert_rules import RuleError, read_rule

SAMPLE_TIMEOUT_S = 60.0  # A channel that hangs is given up after ten seconds.
SIMULATION_DAYS_MAX = 92
FIRINGS_MAX = 1_000
# A chart needs no more; each stands for a stretch of the period.
POINTS_MAX = 1_000


async def send_sample(request: web.Request) -> web.Response:
    """Send a sample to each channel of a rule, once and now.

    Nothing of it is in the history, and no cooldown begins. A channel that was switched off because
    it kept failing, and takes the sample, is on again.
    """
    stored = await rule_of_path(request)
    arguments = ["alerts", "test", "--json", str(stored.row["id"])]
    try:
        said = await alerts_of(request).senders.run(arguments, SAMPLE_TIMEOUT_S)
    except CommandTooLongError as error:
        raise RetryableError(f"alerts test: {error}") from None
    try:
        document = msgspec.json.decode(said.output)
    except msgspec.DecodeError:
        raise RetryableError(f"alerts test: {said.complaint[:300]}") from None
    return data_answer(document)


async def simulate_rule(request: web.Request) -> web.Response:
    """Begin to run a saved rule, or it with another condition, over stored history."""
    body = await read_body(request, models.RuleTrialBody)
    row = (await rule_of_path(request)).row
    kept = {name: row[name] for name in ("name", "condition_type", "condition")}
    return await _start(request, body, {**kept, **_asked(body)})


async def simulate(request: web.Request) -> web.Response:
    """Begin to run a rule that is not saved over stored history."""
    body = await read_body(request, models.TrialBody)
    return await _start(request, body, _asked(body))


def _asked(body: models.RuleTrialBody) -> dict[str, Any]:
    document = document_of(body)
    return {name: document[name] for name in ("condition_type", "condition") if name in document}


async def _start(
    request: web.Request, body: models.RuleTrialBody, document: Mapping[str, Any]
) -> web.Response:
    asked = ask(request, NoParameters)
    project_id = asked.caller.project_id
    try:
        read_rule({"id": "tried", "name": "The rule", **document, "project_id": project_id})
    except RuleError as error:
        raise bad_rule(error) from None
    period = asked.period_of(body.start_date, body.end_date, body.timezone)
    if period.end_ms - period.start_ms > SIMULATION_DAYS_MAX * DAY_MS:
        faults = {"start_date": f"the range must not exceed {SIMULATION_DAYS_MAX} days"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the time range is invalid", faults)
    arguments = [
        *("alerts", "simulate", "--json", "--tell-progress", "--project", project_id),
        *("--from", moment_text(period.start_ms), "--to", moment_text(period.end_ms)),
        msgspec.json.encode(document).decode(),
    ]
    commands = asked.stores.commands

    async def work(tell: Progress) -> bytes:
        return await _simulate(commands, arguments, tell)

    job = await asked.stores.jobs.start(project_id, "simulation", work)
    started = {"job_id": job.id, "state": job.state}
    return json_answer({"success": True, "data": started}, status=202)


async def _simulate(commands: Commands, arguments: list[str], tell: Progress) -> bytes:
    said = await run_and_tell(commands, arguments, tell)
    if said.code != 0:
        told = " ".join(said.complaint.split()).rpartition("error: ")[2]
        is_too_long = "take a shorter one" in told
        raise JobFailedError(told[:500] if is_too_long else "it could not be done")
    return msgspec.json.encode(_shortened(msgspec.json.decode(said.output)))


def _shortened(report: dict[str, Any]) -> dict[str, Any]:
    """The command's report; of many values the smallest and largest of each stretch."""
    values: list[tuple[int, float | None]] = report.pop("values")
    size = max(1, -(-len(values) // POINTS_MAX))
    points = []
    for first in range(0, len(values), size):
        known = [value for _, value in values[first : first + size] if value is not None]
        low, high = (min(known), max(known)) if known else (None, None)
        points.append({"at_ms": values[first][0], "min": low, "max": high})
    firings = report["firings"]
    return {
        **report,
        "firing_count": len(firings),
        "firings": firings[:FIRINGS_MAX],
        "points": points,
    }
