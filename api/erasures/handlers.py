"""Asking for a visitor's data, or for its erasure; what became of it, and the file.

A call notes what is asked for, and a line of the audit log, in one transaction; the process
`api.erasures` does the work. Source: privacy.md, section 9.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from api.accounts.audit import Action, write_audit
from api.accounts.fields import list_answer
from api.accounts.lookups import existing, id_of, not_found
from api.accounts.services import ACCOUNTS
from api.answers import json_answer, time_text
from api.auth import CALLER
from api.erasures.models import ProjectErasure
from api.erasures.orders import ERASURE_STEPS, EXPORT_KEPT_S, EXPORT_STEPS
from api.errors import ApiError, ErrorCode
from api.reads.exports import write_in_time
from connectors.database import Transaction
from connectors.errors import RetryableError
from connectors.telemetry import get_logger
from schemas.erasure import SALT_BYTES, subject_hash

OPEN_MAX = 100  # Requests of one project that are not done.
STEPS = {"export": EXPORT_STEPS, "erasure": ERASURE_STEPS}
VISITOR_CHARS_MAX = 256
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


async def start_export(request: web.Request) -> web.Response:
    """Gather all that is stored about a visitor in one file: 202 with the id of the job.

    The visitor is named by their user id or by the id of a browser. The file can be downloaded
    for a day after it is made.
    """
    return await _start(request, "export", Action.VISITOR_EXPORTED)


async def start_erasure(request: web.Request) -> web.Response:
    """Erase a visitor from every store: 202 with the id of the job, whose result is the receipt.

    What happened up to now goes, also if it arrives later. What the visitor does from now on in new
    sessions is a new visitor's. Asking again while the job lasts gives the same job.
    """
    return await _start(request, "erasure", Action.VISITOR_ERASED)


async def download(request: web.Request) -> web.StreamResponse:
    """The file of an export, within a day after it was made: a ZIP of lines of JSON."""
    database, job_id = request.app[ACCOUNTS].database, id_of(request, "job_id")
    file = existing(
        await database.row(
            "SELECT (receipt->>'bytes')::bigint AS bytes FROM visitor_requests r "
            "WHERE id = %(id)s AND project_id = %(project)s AND kind = 'export' "
            "AND finished_at > now() - make_interval(secs => %(kept)s) AND EXISTS "
            "(SELECT 1 FROM visitor_export_parts p WHERE p.request_id = r.id)",
            id=job_id,
            project=request[CALLER].project_id,
            kept=EXPORT_KEPT_S,
        )
    )
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/zip",
            "Content-Disposition": 'attachment; filename="visitor.zip"',
            "Content-Length": str(file["bytes"]),
            "Cache-Control": "no-store",
        }
    )
    await response.prepare(request)
    left, part = file["bytes"], 0
    try:
        while left > 0:
            row = await database.row(
                "SELECT content FROM visitor_export_parts "
                "WHERE request_id = %(id)s AND part = %(part)s",
                id=job_id,
                part=part,
            )
            if row is None:
                raise RetryableError("the visitor was erased, or the file's day is over")
            await write_in_time(response, row["content"])
            left -= len(row["content"])
            part += 1
    except (RetryableError, TimeoutError) as error:
        reason = str(error) or "the client does not read"
        get_logger().warning("download_broken_off", error=reason)
        if request.transport is not None:
            request.transport.abort()  # Half a file must not look whole.
        return response
    await response.write_eof()
    return response


async def project_erasures(request: web.Request) -> web.Response:
    """Projects that the account deleted, with receipts of what was erased."""
    rows = await request.app[ACCOUNTS].database.rows(
        "SELECT project_id AS id, name, requested_at, finished_at, receipt FROM project_erasures "
        "WHERE requested_by = %(account)s ORDER BY requested_at DESC, project_id LIMIT 200",
        account=request[CALLER].account_id,
    )
    return list_answer(ProjectErasure, rows)


async def visitor_job(request: web.Request, job_id: str) -> Mapping[str, Any] | None:
    """The state of an export or erasure of the caller's project; None if it is none."""
    accounts = request.app.get(ACCOUNTS)
    if accounts is None:
        return None
    row = await accounts.database.row(
        "SELECT id::text, kind, requested_at, finished_at, step, attempts, receipt, "
        "coalesce(finished_at, requested_at) AS updated_at FROM visitor_requests "
        "WHERE id = %(id)s AND project_id = %(project)s",
        id=job_id,
        project=request[CALLER].project_id,
    )
    return None if row is None else _state(row)


def _state(row: Mapping[str, Any]) -> Mapping[str, Any]:
    receipt = row["receipt"] or {}
    steps = STEPS[row["kind"]]
    done = steps.index(row["step"]) + 1 if row["step"] in steps else 0
    is_done = row["finished_at"] is not None
    state = "done" if is_done else "running" if row["attempts"] else "queued"
    return {
        "id": row["id"],
        "kind": row["kind"],
        "state": "failed" if "error" in receipt else state,
        "created_at": _text(row["requested_at"]),
        "updated_at": _text(row["updated_at"]),
        "progress": {"done": len(steps) if is_done else done, "total": len(steps)},
        "error": receipt.get("error"),
        "result": receipt if is_done and "error" not in receipt else None,
    }


async def _start(request: web.Request, kind: str, action: Action) -> web.Response:
    caller, visitor = request[CALLER], request.match_info["visitor"]
    if not 0 < len(visitor) <= VISITOR_CHARS_MAX or _CONTROLS.search(visitor):
        raise ApiError(
            ErrorCode.VALIDATION_ERROR,
            "the path is invalid",
            {"visitor": f"must be 1 to {VISITOR_CHARS_MAX} characters, none of them a control"},
        )
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        salt = await _salt(transaction, caller.project_id)
        hashed = subject_hash(salt, visitor)
        row = await transaction.row(
            "SELECT id::text FROM visitor_requests WHERE project_id = %(project)s "
            "AND subject_hash = %(hash)s AND kind = %(kind)s AND finished_at IS NULL",
            project=caller.project_id,
            hash=hashed,
            kind=kind,
        )
        if row is None:
            row = await transaction.row(
                "INSERT INTO visitor_requests "
                "(project_id, kind, subject, subject_hash, requested_by) "
                "SELECT %(project)s, %(kind)s, %(subject)s, %(hash)s, nullif(%(by)s, '')::uuid "
                "WHERE (SELECT count(*) FROM visitor_requests WHERE project_id = %(project)s "
                "AND finished_at IS NULL) < %(max)s RETURNING id::text",
                project=caller.project_id,
                kind=kind,
                subject=visitor,
                hash=hashed,
                by=caller.account_id,
                max=OPEN_MAX,
            )
            if row is None:
                raise ApiError(
                    ErrorCode.RATE_LIMITED, f"{OPEN_MAX} jobs of the project wait already"
                )
            await write_audit(transaction, caller, action, row["id"], visitor=hashed)
    data = {"job_id": row["id"], "state": "queued"}
    return json_answer({"success": True, "data": data}, status=202)


async def _salt(transaction: Transaction, project_id: str) -> bytes:
    """The key of the project's hashes; the project's row is locked, so one asks after the other."""
    found = await transaction.row(
        "SELECT 1 FROM projects WHERE id = %(id)s FOR NO KEY UPDATE", id=project_id
    )
    if found is None:
        raise not_found()
    await transaction.run(
        "INSERT INTO erasure_salts (project_id, salt) VALUES (%(project)s, %(salt)s) "
        "ON CONFLICT DO NOTHING",
        project=project_id,
        salt=secrets.token_bytes(SALT_BYTES),
    )
    row = await transaction.row(
        "SELECT salt FROM erasure_salts WHERE project_id = %(project)s", project=project_id
    )
    return bytes(existing(row)["salt"])


def _text(at: Any) -> str:
    return time_text(round(at.timestamp() * 1000))
