"""Reading the time range of a report."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.ledger_handler import whole_minutes
from api.period import DAYS_MAX, Period, parse_period

NOW_MS = int(datetime(2026, 3, 29, 10, 30, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000


def ms(text: str) -> int:
    """Milliseconds of an ISO date-time."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_default_is_today_and_the_six_days_before() -> None:
    """Without parameters a report covers seven whole days, today included."""
    period = parse_period(None, None, "UTC", NOW_MS)
    assert period == Period(ms("2026-03-23T00:00Z"), ms("2026-03-30T00:00Z"), "UTC")


def test_days_follow_the_time_zone_over_a_clock_change() -> None:
    """On the day the clocks go forward, a day of Paris has 23 hours."""
    period = parse_period("2026-03-29", "2026-03-29", "Europe/Paris", NOW_MS)
    assert period.start_ms == ms("2026-03-28T23:00Z")
    assert period.end_ms - period.start_ms == 23 * 3_600_000


def test_an_end_date_is_inclusive_and_an_end_time_is_not() -> None:
    """A date as end means its whole day, a date-time means that moment."""
    assert parse_period("2026-03-01", "2026-03-02", "UTC", NOW_MS).end_ms == ms("2026-03-03T00:00Z")
    exact = parse_period("2026-03-01", "2026-03-02T12:00:00Z", "UTC", NOW_MS)
    assert exact.end_ms == ms("2026-03-02T12:00Z")


def test_a_time_without_zone_is_of_the_given_zone() -> None:
    """A date-time that names no offset is read in the report's time zone."""
    period = parse_period("2026-01-10T09:00:00", "2026-01-10T10:00:00", "Asia/Tokyo", NOW_MS)
    assert period.start_ms == ms("2026-01-10T00:00Z")


def test_every_fault_is_named_at_once() -> None:
    """Bad dates and a bad zone are reported together, by parameter."""
    with pytest.raises(ApiError) as caught:
        parse_period("yesterday", "2026-13-01", "Mars/Olympus", NOW_MS)
    assert set(caught.value.details) == {"start_date", "end_date", "timezone"}


@pytest.mark.parametrize(
    "timezone",
    ["../../etc/passwd", "", "\0", "a" * 500, "Europe", "right/UTC", "posix/UTC", "localtime"],
)
def test_odd_zone_names_are_refused(timezone: str) -> None:
    """Whatever is no zone's name is a fault of the request, never of ours; what only the system's
    folder calls a zone is none to the database.
    """
    with pytest.raises(ApiError):
        parse_period(None, None, timezone, NOW_MS)


@pytest.mark.parametrize(
    ("start", "end"), [("2026-03-02", "2026-03-01"), ("2024-01-01", "2026-01-01")]
)
def test_reversed_and_too_long_ranges_are_refused(start: str, end: str) -> None:
    """The start comes first, and a range has at most 400 days."""
    with pytest.raises(ApiError) as caught:
        parse_period(start, end, "UTC", NOW_MS)
    assert "start_date" in caught.value.details


@given(text=st.text(max_size=40))
def test_any_text_gives_a_period_or_a_fault(text: str) -> None:
    """No text of a date makes the parser fail in another way."""
    with suppress(ApiError):
        period = parse_period(text, None, "UTC", NOW_MS)
        assert 0 < period.end_ms - period.start_ms <= DAYS_MAX * DAY_MS


def test_the_period_before_is_as_long_and_adjoins() -> None:
    """Changes are measured against the equally long span before."""
    period = Period(1_000, 4_000, "UTC")
    assert period.before() == Period(-2_000, 1_000, "UTC")


def test_a_ledger_covers_whole_minutes() -> None:
    """A range inside a minute is widened to that minute on both sides."""
    assert whole_minutes(Period(60_001, 119_000, "UTC")) == Period(60_000, 120_000, "UTC")
    assert whole_minutes(Period(60_000, 120_000, "UTC")) == Period(60_000, 120_000, "UTC")


def test_an_end_before_all_calendars_is_a_fault() -> None:
    """The default start would lie before the first year there is."""
    with pytest.raises(ApiError) as raised:
        parse_period(None, "0001-01-03", "UTC", NOW_MS)
    assert "end_date" in raised.value.details
