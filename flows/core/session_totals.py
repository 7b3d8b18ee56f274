"""What is remembered of the events of one session: all that its row is made of. Plain values."""

from __future__ import annotations

import msgspec

from flows.core.engaged_time import EngagedSlots
from flows.core.session_event import Page, Started
from flows.core.session_origin import Origins


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that an event said, and which one."""

    at_ms: int
    event_id: str
    text: str = ""


class View(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The page of a page_view."""

    at_ms: int
    event_id: str
    page: Page


class Start(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a session_start declared."""

    at_ms: int
    event_id: str
    declared: Started


class Abandoned(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Forms that were begun and left, and the first of these events."""

    count: int
    first: tuple[int, str]  # Its time and id.


class SessionTotals(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that a session's row is made of.

    `last` is the last event, with its reason if it is a session_end. `first_page` is that of the
    first event, until there is a page_view. `last_view` is None where that is the first one.
    `revenue` holds sums in minor units by currency, as text what does not fit into 64 bits.
    """

    project_id: str
    session_id: str
    event_count: int
    page_count: int
    click_count: int
    error_count: int
    goal_count: int
    max_scroll_depth: int
    origins: Origins
    last: Seen
    engaged: EngagedSlots | None = None
    first_page: Page | None = None
    first_view: View | None = None
    last_view: View | None = None
    start: Start | None = None
    user: Seen | None = None
    conversion: Seen | None = None
    currency: Seen | None = None
    revenue: tuple[tuple[str, int | str], ...] = ()
    abandoned: Abandoned | None = None

    @property
    def started_at_ms(self) -> int:
        """Time of the first event."""
        return self.origins[0].at_ms

    @property
    def ended_at_ms(self) -> int:
        """Time of the last event."""
        return self.last.at_ms
