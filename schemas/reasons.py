"""Closed lists of why an event was refused or left out, and where.

A new reason is a change of the public contract: clients, the ledger and dashboards name them.
Source: events.md, section 6 (reject reasons); `poison` and `undecodable` are added for records
that a later stage cannot read.
"""

from __future__ import annotations

from enum import StrEnum


class RejectReason(StrEnum):
    """Why one event did not get in. Rejected events stay readable in the dead-letter topic."""

    MISSING_FIELD = "missing_field"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    BAD_TIMESTAMP = "bad_timestamp"
    TOO_OLD = "too_old"
    BAD_PAYLOAD = "bad_payload"
    TOO_LARGE = "too_large"
    RAW_VALUE = "raw_value"
    BLOCKED_URL = "blocked_url"
    TYPE_DISABLED = "type_disabled"
    OPTED_OUT = "opted_out"
    UNDECODABLE = "undecodable"  # A record of a topic that is not the message it should be.
    POISON = "poison"  # A record that made a later stage fail.


# What these reasons keep out must not lie around in the dead-letter topic either.
WITHHELD_REASONS = frozenset(
    {RejectReason.RAW_VALUE, RejectReason.BLOCKED_URL, RejectReason.OPTED_OUT}
)


class DropReason(StrEnum):
    """Why an accepted event was left out on purpose."""

    SUPPRESSED = "suppressed"  # Its visitor was erased.


class Stage(StrEnum):
    """Where an event was refused."""

    GATEWAY = "gateway"
    STORAGE = "storage"
    SESSIONS = "sessions"
    INSIGHTS = "insights"
    REPLAY = "replay"
    ALERTS = "alerts"


class Outcome(StrEnum):
    """Rows of the ledger: received = stored + duplicate + rejected + dropped."""

    RECEIVED = "received"
    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    DROPPED = "dropped"
    ERASED = "erased"  # Of those stored: their rows are gone since. No further fate of an event.
