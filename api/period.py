"""Which time a report is about: `start_date`, `end_date`, `timezone`.

In: texts of the query. Out: a `Period` in milliseconds UTC, start inclusive, end exclusive. A date
means the whole day in the given zone, so an end date is inclusive; a date-time is that moment, and
as an end it is exclusive. Default: today and the six days before. Source: api.md, section 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from api.errors import ApiError, ErrorCode
from schemas.time_zones import is_time_zone

DEFAULT_DAYS = 7
DEFAULT_ZONE = "UTC"
DAYS_MAX = 400
DAY_MS = 86_400_000
_DATE_LENGTH = len("2026-01-31")


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time: `start_ms` inclusive, `end_ms` exclusive; days follow `timezone` (IANA)."""

    start_ms: int
    end_ms: int
    timezone: str

    def before(self) -> Period:
        """The equally long span that ends where this one starts."""
        return Period(2 * self.start_ms - self.end_ms, self.start_ms, self.timezone)


def parse_period(
    start_date: str | None, end_date: str | None, timezone: str, now_ms: int
) -> Period:
    """Read the three parameters.

    Raises:
        ApiError: VALIDATION_ERROR naming each parameter at fault.
    """
    faults: dict[str, str] = {}
    zone = _zone(timezone, faults)
    today = datetime.fromtimestamp(now_ms / 1000, tz=zone).date()
    end = _moment(end_date, zone, "end_date", faults, is_end=True)
    if end is None:
        end = _midnight(today + timedelta(days=1), zone)
    start = _moment(start_date, zone, "start_date", faults, is_end=False)
    if start is None:
        # A midnight whatever the zone's clock changes: count days back, not hours.
        try:
            last_day = (end - timedelta(microseconds=1)).astimezone(zone).date()
            start = _midnight(last_day - timedelta(days=DEFAULT_DAYS - 1), zone)
        except OverflowError:
            faults["end_date"] = "is too early"
            start = end
    if not faults:
        if start >= end:
            faults["start_date"] = "must be before end_date"
        elif end - start > timedelta(days=DAYS_MAX):
            faults["start_date"] = f"the range must not exceed {DAYS_MAX} days"
    if faults:
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the time range is invalid", faults)
    return Period(_ms(start), _ms(end), timezone)


def _zone(timezone: str, faults: dict[str, str]) -> ZoneInfo:
    if is_time_zone(timezone):
        return ZoneInfo(timezone)
    faults["timezone"] = "is not the name of a time zone, such as Europe/Paris"
    return ZoneInfo("UTC")


def _moment(
    text: str | None, zone: ZoneInfo, field: str, faults: dict[str, str], *, is_end: bool
) -> datetime | None:
    if text is None:
        return None
    try:
        if len(text) == _DATE_LENGTH:
            day = date.fromisoformat(text)
            return _midnight(day + timedelta(days=1) if is_end else day, zone)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        faults[field] = "is neither a date (2026-01-31) nor a date-time (2026-01-31T12:00:00Z)"
        return None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
