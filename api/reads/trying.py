"""Why an insight was made or not, and what changed rules would have made: by the command.

The answers are those of `gosight explain --json` and `gosight backtest --json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from api.answers import data_answer, json_answer, time_text
from api.bodies import read_body
from api.erasures.handlers import visitor_job
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters
from api.reads.asking import ask, id_of_path, not_found, session_of_path
from api.reads.commands import Commands, CommandTooLongError, Said
from api.reads.jobs import JobFailedError, Progress
from api.reads.session_models import ExplainParameters
from api.reads.sessions import session_row
from api.reads.trying_models import BacktestBody
from connectors.errors import RetryableError
from schemas.detection_changes import ChangeError, changed_section
from schemas.identifiers import event_uuid

EXPLAIN_TIMEOUT_S = 30.0
BACKTEST_TIMEOUT_S = 3_600.0
# Of each side of each type; how many there are in all is told beside.
SESSION_IDS_MAX = 1_000
# What the command says of an event that is none of the session's. Its test is with the API's.
_UNKNOWN_EVENT = "is no event of the session"


async def explain(request: web.Request) -> web.Response:
    """A session's clicks, or one event or insight of it, with every verdict.

    An id of an event that is no UUID is known with the session's id as it was sent, too.
    """
    asked = ask(request, ExplainParameters)
    session_id = (await session_row(request, asked.queries))["id"]
    arguments = ["explain", "--json", "--project", asked.caller.project_id, "--", session_id]
    if asked.parameters.event is not None:
        # An event's id is made with its session's as the sender wrote it.
        session_text, _ = session_of_path(request)
        arguments.append(event_uuid(asked.caller.project_id, session_text, asked.parameters.event))
    try:
        said = await asked.stores.commands.run(arguments, EXPLAIN_TIMEOUT_S)
    except CommandTooLongError as error:
        raise RetryableError(f"explain: {error}") from None
    if said.code == 0:
        return data_answer(msgspec.Raw(said.output))
    if _UNKNOWN_EVENT in " ".join(said.complaint.split()):
        raise not_found("event or insight in this session")
    raise RetryableError(f"explain: {said.complaint[:300]}")


async def start_backtest(request: web.Request) -> web.Response:
    """Begin; 202 with the id of the job. Keys and values that cannot be are refused before."""
    asked = ask(request, NoParameters)
    body = await read_body(request, BacktestBody)
    if not body.changes and body.preset is None:
        faults = {"changes": "nothing is changed; give changes or a preset"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the body is invalid", faults)
    _check_changes(body)
    period = asked.period_of(body.start_date, body.end_date, body.timezone)
    arguments = [
        *("backtest", "--json", "--tell-progress", "--project", asked.caller.project_id),
        *("--from", moment_text(period.start_ms), "--to", moment_text(period.end_ms)),
    ]
    if body.preset is not None:
        arguments += ["--preset", body.preset]
    for key, value in body.changes.items():
        arguments.append(f"--set={key}={msgspec.json.encode(value).decode()}")
    commands = asked.stores.commands

    async def work(tell: Progress) -> bytes:
        return await _backtest(commands, arguments, tell)

    job = await asked.stores.jobs.start(asked.caller.project_id, "backtest", work)
    return json_answer(
        {"success": True, "data": {"job_id": job.id, "state": job.state}}, status=202
    )


def _check_changes(body: BacktestBody) -> None:
    """Refuse what the command would refuse, before it is begun; each change at fault is named."""
    section: dict[str, Any] = {} if body.preset is None else {"preset": body.preset}
    faults: dict[str, str] = {}
    for key, value in body.changes.items():
        try:
            section = changed_section(section, key, value)
        except ChangeError as error:
            faults[f"changes.{key}"] = str(error)
    if faults:
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the body is invalid", faults)


async def job_state(request: web.Request) -> web.Response:
    """How far a job is, and in the end what it found."""
    asked = ask(request, NoParameters)
    job_id = id_of_path(request, "job_id", "job")
    job = await asked.stores.jobs.find(asked.caller.project_id, job_id)
    if job is None:
        state = await visitor_job(request, job_id)
        if state is None:
            raise not_found("job")
        return data_answer(state)
    return data_answer(
        {
            "id": job.id,
            "kind": job.kind,
            "state": job.state,
            "created_at": time_text(job.created_at_ms),
            "updated_at": time_text(job.updated_at_ms),
            "progress": {"done": job.done, "total": job.total},
            "error": job.error or None,
            "result": job.result,
        }
    )


async def _backtest(commands: Commands, arguments: list[str], tell: Progress) -> bytes:
    said = await run_and_tell(commands, arguments, tell)
    if said.code != 0:
        raise JobFailedError(complaint_of(said.complaint))
    return msgspec.json.encode(_shortened(msgspec.json.decode(said.output)))


async def run_and_tell(commands: Commands, arguments: list[str], tell: Progress) -> Said:
    """Run a command that reads history, and tell how far it is.

    Raises:
        JobFailedError: it took too long.
    """

    def on_line(line: str) -> None:
        try:
            step = msgspec.json.decode(line, type=dict[str, int])
            tell(step["events"], step["total"])
        except (msgspec.DecodeError, KeyError):
            return  # Something for a person.

    try:
        return await commands.run(arguments, BACKTEST_TIMEOUT_S, on_line)
    except CommandTooLongError as error:
        raise JobFailedError(str(error)) from None


def complaint_of(text: str) -> str:
    """What is wrong with a change, in the command's words; nothing of where the stores are."""
    _, is_told, told = " ".join(text.split()).rpartition("error: ")
    return told[:500] if is_told and "--set" in told else "it could not be done"


def _shortened(report: dict[str, Any]) -> dict[str, Any]:
    for found in report["types"]:
        ids: Mapping[str, list[str]] = found["session_ids"]
        found["session_ids"] = {side: known[:SESSION_IDS_MAX] for side, known in ids.items()}
    return report


def moment_text(at_ms: int) -> str:
    """A time as commands take it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
