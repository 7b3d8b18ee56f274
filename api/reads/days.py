"""Every day of a period in its time zone, also those on which nothing happened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from api.period import Period


def days_of_period(period: Period) -> list[date]:
    """The days that the period touches, oldest first; at most 401."""
    zone = ZoneInfo(period.timezone)
    first = datetime.fromtimestamp(period.start_ms / 1000, zone).date()
    last = datetime.fromtimestamp((period.end_ms - 1) / 1000, zone).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def filled(period: Period, by_day: Mapping[date, Any], name: str = "value") -> list[dict[str, Any]]:
    """One entry a day: its date and a number, 0 where there is none."""
    return [{"date": day.isoformat(), name: by_day.get(day, 0)} for day in days_of_period(period)]
