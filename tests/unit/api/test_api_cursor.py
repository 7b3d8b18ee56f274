"""The place where a page of events ends."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursor import EventCursor, decode_cursor
from api.errors import ApiError


@given(at_ms=st.integers(0, 253_402_300_799_999), event_id=st.uuids())
def test_a_cursor_survives_the_way_out_and_back(at_ms: int, event_id: UUID) -> None:
    """What is encoded is decoded to the same place."""
    cursor = EventCursor(at_ms, str(event_id))
    assert decode_cursor(cursor.encode()) == cursor


@pytest.mark.parametrize("text", ["", "!", "AAAA", "MTIz", "LTEuMDAw", "é", "a" * 1000])
def test_a_made_up_cursor_is_refused(text: str) -> None:
    """Anything that this list did not give out is a fault of the parameter."""
    with pytest.raises(ApiError) as caught:
        decode_cursor(text)
    assert set(caught.value.details) == {"cursor"}


@given(text=st.text(max_size=60))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """No text makes the decoder fail in another way."""
    with suppress(ApiError):
        assert decode_cursor(text).timestamp_ms >= 0
