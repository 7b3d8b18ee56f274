"""Notes about days. Source: api.md, section 7."""

from __future__ import annotations

from aiohttp import web

from api.access import Access
from api.accounts.fields import list_answer, nothing, one_answer
from api.accounts.lookups import existing, id_of
from api.accounts.services import ACCOUNTS
from api.accounts.shared_models import NewNoteBody, Note, NoteBody, NoteParameters
from api.auth import CALLER
from api.bodies import read_body
from api.errors import ApiError, ErrorCode
from api.parameters import parse_parameters
from connectors.database import DatabaseRow, Transaction

NOTES_MAX = 10_000  # Of one project.
LISTED_MAX = 1_000

_NOTE = (
    "SELECT n.id::text, n.content, n.note_date, n.tags, n.created_at, n.updated_at, "
    "a.name AS author, n.account_id::text FROM notes n LEFT JOIN accounts a ON a.id = n.account_id "
    "WHERE n.project_id = %(project)s "
)


async def notes(request: web.Request) -> web.Response:
    """Notes of a span of days, or the newest ones."""
    parameters = parse_parameters(NoteParameters, request.query)
    rows = await request.app[ACCOUNTS].database.rows(
        f"{_NOTE} AND (%(start)s::date IS NULL OR n.note_date >= %(start)s) "
        "AND (%(end)s::date IS NULL OR n.note_date <= %(end)s) "
        "ORDER BY n.note_date DESC, n.created_at DESC, n.id LIMIT %(max)s",
        project=request[CALLER].project_id,
        start=parameters.start_date,
        end=parameters.end_date,
        max=LISTED_MAX,
    )
    return list_answer(Note, rows)


async def new_note(request: web.Request) -> web.Response:
    """Write a note."""
    caller, body = request[CALLER], await read_body(request, NewNoteBody)
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        row = await transaction.row(
            "INSERT INTO notes (project_id, account_id, content, note_date, tags) "
            "SELECT %(project)s, nullif(%(account)s, '')::uuid, %(content)s, %(date)s, %(tags)s "
            "WHERE (SELECT count(*) FROM notes WHERE project_id = %(project)s) < %(max)s "
            "RETURNING id::text",
            project=caller.project_id,
            account=caller.account_id,
            content=body.content,
            date=body.note_date,
            tags=body.tags,
            max=NOTES_MAX,
        )
        if row is None:
            raise ApiError(ErrorCode.CONFLICT, f"a project has at most {NOTES_MAX} notes")
        note = await _note(transaction, caller.project_id, row["id"])
    return one_answer(Note, note, status=201)


async def change_note(request: web.Request) -> web.Response:
    """Change a note of one's own; admins change any."""
    project_id, body = request[CALLER].project_id, await read_body(request, NoteBody)
    named = body.model_fields_set
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        old = await _changeable(transaction, request)
        await transaction.run(
            "UPDATE notes SET content = %(content)s, note_date = %(date)s, tags = %(tags)s "
            "WHERE id = %(id)s",
            id=old["id"],
            content=body.content if "content" in named else old["content"],
            date=body.note_date if "note_date" in named else old["note_date"],
            tags=body.tags if "tags" in named else old["tags"],
        )
        row = await _note(transaction, project_id, old["id"])
    return one_answer(Note, row)


async def delete_note(request: web.Request) -> web.Response:
    """Delete a note of one's own; admins delete any."""
    async with request.app[ACCOUNTS].database.transaction() as transaction:
        old = await _changeable(transaction, request)
        await transaction.run("DELETE FROM notes WHERE id = %(id)s", id=old["id"])
    return nothing()


async def _note(transaction: Transaction, project_id: str, note_id: str) -> DatabaseRow:
    return existing(
        await transaction.row(f"{_NOTE} AND n.id = %(id)s", project=project_id, id=note_id)
    )


async def _changeable(transaction: Transaction, request: web.Request) -> DatabaseRow:
    caller = request[CALLER]
    row = await _note(transaction, caller.project_id, id_of(request, "note_id"))
    is_own = bool(caller.account_id) and row["account_id"] == caller.account_id
    if not is_own and caller.role < Access.ADMIN:
        raise ApiError(ErrorCode.FORBIDDEN, "only its author or an admin may change it")
    return row
