"""What handlers of the account side find by the path of a request."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from api.errors import ApiError, ErrorCode
from connectors.database import DatabaseRow


def id_of(request: web.Request, name: str) -> str:
    """An id of the path in its canonical form.

    Raises:
        ApiError: NOT_FOUND if it is no UUID: then nothing has it.
    """
    try:
        return str(UUID(request.match_info[name]))
    except ValueError:
        raise not_found() from None


def existing(row: DatabaseRow | None) -> DatabaseRow:
    """The row.

    Raises:
        ApiError: NOT_FOUND if there is none.
    """
    if row is None:
        raise not_found()
    return row


def not_found() -> ApiError:
    """There is nothing of this id where the caller may look."""
    return ApiError(ErrorCode.NOT_FOUND, "there is nothing of this id")
