"""Adding up a ledger."""

from __future__ import annotations

import pytest

from api.ledger import build_ledger, minute_documents

MINUTE = 60_000


def booked(minute: int, outcome: str, events: int, reason: str = "") -> dict[str, object]:
    """A row as the query gives it."""
    return {"minute_ms": minute * MINUTE, "outcome": outcome, "reason": reason, "events": events}


def test_a_balanced_ledger_with_matching_rows() -> None:
    """Received equals the sum of all outcomes, and the rows that are stored were counted again."""
    rows = [
        booked(1, "received", 10),
        booked(1, "stored", 6),
        booked(1, "duplicate", 1),
        booked(1, "rejected", 2, "too_old"),
        booked(1, "dropped", 1, "suppressed"),
        booked(2, "received", 3),
        booked(2, "stored", 3),
    ]
    recount = [{"minute_ms": MINUTE, "stored": 6}, {"minute_ms": 2 * MINUTE, "stored": 3}]
    minutes, total = build_ledger(rows, recount)
    document = total.document()
    assert [at for at, _ in minutes] == [MINUTE, 2 * MINUTE]
    assert document["balanced"] is True
    assert document["matches_rows"] is True
    assert document["rejected_by_reason"] == {"too_old": 2}
    assert document["dropped_by_reason"] == {"suppressed": 1}
    assert (document["received"], document["stored"], document["recounted"]) == (13, 9, 9)


def test_an_event_without_outcome_shows() -> None:
    """One event received and never decided makes the minute and the total unbalanced."""
    minutes, total = build_ledger([booked(1, "received", 2), booked(1, "stored", 1)], [])
    assert minute_documents(minutes)[0]["unaccounted"] == 1
    assert total.document()["balanced"] is False


def test_a_lost_row_shows() -> None:
    """A row that was booked as stored but is not there makes the recount differ."""
    rows = [booked(1, "received", 2), booked(1, "stored", 2)]
    _, total = build_ledger(rows, [{"minute_ms": MINUTE, "stored": 1}])
    assert total.document()["balanced"] is True
    assert total.document()["matches_rows"] is False


def test_rows_that_nobody_booked_show() -> None:
    """Rows in a minute without bookings are an entry of their own."""
    minutes, _ = build_ledger([], [{"minute_ms": MINUTE, "stored": 4}])
    assert minute_documents(minutes)[0]["matches_rows"] is False


def test_an_unknown_outcome_is_a_bug() -> None:
    """Outcomes are a closed list: another one is not silently left out."""
    with pytest.raises(ValueError, match="lost"):
        build_ledger([booked(1, "lost", 1)], [])
