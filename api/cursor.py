"""Where a page of a sorted list ends, as an opaque text.

Lists are sorted by (place, id), so the pair of the last row says exactly where to go on: rows that
come in between neither push others out nor make any appear twice. The text names the list and its
sorting: a cursor of another list, or of the same one sorted otherwise, is refused.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

from api.errors import ApiError, ErrorCode

# The numbers that a list may be sorted by.
ANY_PLACE = range(-(2**63) + 1, 2**63)
TIMES_MS = range(253_402_300_800_000)  # Up to the end of the year 9999.


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page; `place` is the number that the list is sorted by."""

    list_name: str
    place: int
    row_id: str

    def encode(self) -> str:
        """A text for `meta.next_cursor`."""
        plain = f"{self.list_name}/{self.place}/{self.row_id}".encode()
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def decode_cursor(text: str | None, list_name: str, places: range = TIMES_MS) -> Cursor | None:
    """Read a cursor of this list, whose rows are at `places`; None for none.

    Raises:
        ApiError: VALIDATION_ERROR.
    """
    if text is None:
        return None
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        name, place, row_id = plain.decode("ascii").split("/")
        cursor = Cursor(name, int(place), str(UUID(row_id)))
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if cursor.list_name != list_name or cursor.place not in places:
        raise _bad_cursor()
    return cursor


def _bad_cursor() -> ApiError:
    return ApiError(
        ErrorCode.VALIDATION_ERROR,
        "the query is invalid",
        {"cursor": "is not a cursor of this list; leave it out to start at its beginning"},
    )
