"""Where a page of events ends, as an opaque text.

Events are listed newest first by (time, id), so the pair of the last one seen says exactly where to
go on: what is stored meanwhile is neither skipped over nor makes anything appear twice.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

from api.errors import ApiError, ErrorCode

_TIME_MS_MAX = 253_402_300_799_999  # The end of the year 9999.


@dataclass(frozen=True, slots=True)
class EventCursor:
    """The last event of a page."""

    timestamp_ms: int
    event_id: str

    def encode(self) -> str:
        """A text for `meta.next_cursor`."""
        plain = f"{self.timestamp_ms}.{self.event_id}".encode()
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def decode_cursor(text: str) -> EventCursor:
    """Read a cursor that `EventCursor.encode` made.

    Raises:
        ApiError: VALIDATION_ERROR.
    """
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        at_ms, _, event_id = plain.decode("ascii").partition(".")
        cursor = EventCursor(int(at_ms), str(UUID(event_id)))
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if not 0 <= cursor.timestamp_ms <= _TIME_MS_MAX:
        raise _bad_cursor()
    return cursor


def _bad_cursor() -> ApiError:
    return ApiError(
        ErrorCode.VALIDATION_ERROR,
        "the query is invalid",
        {"cursor": "is not a cursor of this list; leave it out to start at the newest event"},
    )
