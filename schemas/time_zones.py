"""Which texts name a time zone.

Names are those of the IANA database. A system's folder holds more (`right/UTC`, with leap seconds;
`localtime`, whatever that is there): ClickHouse does not know them, or means another one.
"""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

_OF_THE_SYSTEM = frozenset({"localtime"})


def is_time_zone(name: str) -> bool:
    """Whether reports can be made for the days of this zone."""
    return name in _known()


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones()) - _OF_THE_SYSTEM
