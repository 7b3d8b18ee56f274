"""Answers about stored events and what became of each. Source: api.md, section 6."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel

from api.reads.asking import Answer
from api.reads.overview_models import Period


class Event(Answer):
    """One stored event; `payload` and `custom` are what it carried."""

    event_id: str
    session_id: str
    user_id: str
    anonymous_id: str
    event_type: str
    timestamp: str
    received_at: str
    url: str
    path: str
    title: str
    browser: str
    os: str
    device_type: str
    country: str
    country_code: str
    city: str
    is_bot: bool
    payload: dict[str, Any]
    custom: dict[str, Any]


class Events(RootModel[list[Event]]):
    """A page of events, newest first."""


class LedgerEntry(Answer):
    """What became of events: each received one was stored, a duplicate, rejected or dropped.

    `erased` are those of the stored ones whose visitor was erased since. `balanced` says that
    nothing is unaccounted for, `matches_rows` that a recount of the stored rows gives the number
    of stored ones without those.
    """

    received: int
    stored: int
    duplicate: int
    rejected: int
    rejected_by_reason: dict[str, int]
    dropped: int
    dropped_by_reason: dict[str, int]
    unaccounted: int
    balanced: bool
    recounted: int
    erased: int
    matches_rows: bool


class LedgerMinute(LedgerEntry):
    """Of events that were received in one minute."""

    minute: str


class Ledger(Answer):
    """All minutes in which something was received, and their sum."""

    period: Period
    totals: LedgerEntry
    minutes: list[LedgerMinute]
