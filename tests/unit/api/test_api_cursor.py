"""The place where a page of a list ends."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursor import ANY_PLACE, Cursor, decode_cursor
from api.errors import ApiError

ID = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.uuids())
def test_a_cursor_survives_the_way_out_and_back(place: int, row_id: UUID) -> None:
    """Whatever number a list is sorted by, negative ones too."""
    cursor = Cursor("sessions-started_at-desc", place, str(row_id))
    assert decode_cursor(cursor.encode(), "sessions-started_at-desc", ANY_PLACE) == cursor


@pytest.mark.parametrize("text", ["", "!", "AAAA", "MTIz", "LTEuMDAw", "é", "a" * 1000])
def test_a_made_up_cursor_is_refused(text: str) -> None:
    """Anything that this list did not give out is a fault of the parameter."""
    with pytest.raises(ApiError) as caught:
        decode_cursor(text, "events")
    assert set(caught.value.details) == {"cursor"}


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    """Never anything but a validation error."""
    with pytest.raises(ApiError):
        decode_cursor(text, "sessions", ANY_PLACE)


def test_a_cursor_of_another_list_is_refused() -> None:
    """A place means nothing in a list that is sorted otherwise."""
    text = Cursor("timeline", 5, ID).encode()
    with pytest.raises(ApiError):
        decode_cursor(text, "insights")
    assert decode_cursor(None, "timeline") is None


@pytest.mark.parametrize("place", [-1, 253_402_300_800_000, 2**63])
def test_a_time_that_no_row_can_have_is_refused(place: int) -> None:
    """What would not fit a column is a fault of the parameter, and none of the store."""
    with pytest.raises(ApiError):
        decode_cursor(Cursor("timeline", place, ID).encode(), "timeline")
