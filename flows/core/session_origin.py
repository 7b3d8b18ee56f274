"""Who and what a session came with: the first known value of each of some columns.

Most sessions say all of it with their first event. `Origin`s are kept in the order of their events,
and each but the first only as long as it says something that no earlier one says; what an earlier
one says is blank in it. So they are a function of the set of events, and at most one a column.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flows.core.event_facts import UNKNOWN_DEVICE_TYPE
from flows.core.session_event import Place, SessionEvent

_FIRST_COLUMN = 3


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one event says; empty means unknown. The channel of the first event alone counts."""

    at_ms: int
    event_id: str
    channel_type: str = ""
    anonymous_id: str = ""
    browser: str = ""
    os: str = ""
    device_type: str = ""
    country: str = ""
    country_code: str = ""
    city: str = ""


Origins = tuple[Origin, ...]


def origin_of(event: SessionEvent, place: Place) -> Origin:
    """What an event says, and the request that it came with."""
    visitor, device = event.visitor, event.device
    device_type = device.device_type
    if device_type == UNKNOWN_DEVICE_TYPE and not (device.browser or device.os):
        device_type = ""  # Of an event that a server sent.
    return Origin(
        event.at_ms,
        event.event_id,
        visitor.channel_type,
        visitor.anonymous_id,
        device.browser,
        device.os,
        device_type,
        place.country,
        place.country_code,
        place.city,
    )


def add_origins(known: Origins, new: Iterable[Origin]) -> Origins:
    """These as well, in any order."""
    for origin in new:
        if not known or _order(origin) < _order(known[-1]) or _is_news(known, origin):
            known = _normal((*known, origin))
    return known


def first_values(origins: Origins) -> Origin:
    """The first known value of each column, under the first event's name."""
    if len(origins) == 1:
        return origins[0]
    columns = zip(*map(msgspec.structs.astuple, origins), strict=True)
    return Origin(*(next(filter(None, values), values[0]) for values in columns))


def _is_news(known: Origins, later: Origin) -> bool:
    """Whether a later origin says something that none of these says."""
    said = first_values(known)
    return bool(
        (later.anonymous_id and not said.anonymous_id)
        or (later.browser and not said.browser)
        or (later.os and not said.os)
        or (later.device_type and not said.device_type)
        or (later.country and not said.country)
        or (later.country_code and not said.country_code)
        or (later.city and not said.city)
    )


def _normal(origins: Origins) -> Origins:
    kept: list[Origin] = []
    said: list[bool] = []
    for origin in sorted(origins, key=_order):
        values = list(msgspec.structs.astuple(origin))
        if not kept:
            kept.append(origin)
            said = [bool(value) for value in values]
            continue
        values[_FIRST_COLUMN - 1] = ""  # The channel.
        for column in range(_FIRST_COLUMN, len(values)):
            if said[column]:
                values[column] = ""
            elif values[column]:
                said[column] = True
        if any(values[_FIRST_COLUMN:]):
            kept.append(Origin(*values))
    return tuple(kept)


def _order(origin: Origin) -> tuple[int, str]:
    return origin.at_ms, origin.event_id
