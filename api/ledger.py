"""The ledger of a project: what became of every event, and whether it adds up.

In: booked counts by minute, outcome and reason, and a recount of the rows that are stored. Out: one
entry a minute and their sum. `balanced` says that received = stored + duplicate + rejected +
dropped; `recounted` is the number of rows found in the table of events, and `matches_rows` says
that these and the `erased` ones equal `stored`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.answers import time_text
from api.services import Row
from schemas.reasons import Outcome


@dataclass(slots=True)
class LedgerEntry:
    """Events of one minute, or of a whole period."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    recounted: int = 0
    erased: int = 0

    @property
    def unaccounted(self) -> int:
        """Events received of which nothing further is booked; 0 in a balanced ledger."""
        decided = self.stored + self.duplicate
        decided += sum(self.rejected.values()) + sum(self.dropped.values())
        return self.received - decided

    @property
    def is_sound(self) -> bool:
        """Everything is accounted for, and the rows that were booked as stored are there."""
        return self.unaccounted == 0 and self.matches_rows

    @property
    def matches_rows(self) -> bool:
        """As many rows are there as were stored and not erased since."""
        return self.recounted + self.erased == self.stored

    def add(self, outcome: str, reason: str, events: int) -> None:
        """Book events."""
        match Outcome(outcome):
            case Outcome.RECEIVED:
                self.received += events
            case Outcome.STORED:
                self.stored += events
            case Outcome.DUPLICATE:
                self.duplicate += events
            case Outcome.REJECTED:
                self.rejected[reason] = self.rejected.get(reason, 0) + events
            case Outcome.DROPPED:
                self.dropped[reason] = self.dropped.get(reason, 0) + events
            case Outcome.ERASED:
                self.erased += events

    def document(self) -> dict[str, Any]:
        """As answers show it."""
        return {
            "received": self.received,
            "stored": self.stored,
            "duplicate": self.duplicate,
            "rejected": sum(self.rejected.values()),
            "rejected_by_reason": dict(sorted(self.rejected.items())),
            "dropped": sum(self.dropped.values()),
            "dropped_by_reason": dict(sorted(self.dropped.items())),
            "unaccounted": self.unaccounted,
            "balanced": self.unaccounted == 0,
            "recounted": self.recounted,
            "erased": self.erased,
            "matches_rows": self.matches_rows,
        }


def build_ledger(
    booked: Iterable[Row], recounted: Iterable[Row]
) -> tuple[Sequence[tuple[int, LedgerEntry]], LedgerEntry]:
    """Entries by minute (start in ms, oldest first), and their sum."""
    minutes: dict[int, LedgerEntry] = {}
    total = LedgerEntry()
    for row in booked:
        entry = minutes.setdefault(row["minute_ms"], LedgerEntry())
        for book in (entry, total):
            book.add(row["outcome"], row["reason"], row["events"])
    for row in recounted:
        minutes.setdefault(row["minute_ms"], LedgerEntry()).recounted += row["stored"]
        total.recounted += row["stored"]
    return sorted(minutes.items()), total


def minute_documents(minutes: Sequence[tuple[int, LedgerEntry]]) -> list[dict[str, Any]]:
    """Entries by minute as answers show them."""
    return [{"minute": time_text(at_ms), **entry.document()} for at_ms, entry in minutes]
