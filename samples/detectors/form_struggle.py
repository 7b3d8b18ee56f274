"""form_struggle: a visitor whom one form refuses again and again.

Three refusals on one page, each within a minute of the one before the last, make one insight. It
is told when a minute passed without another, or when the visitor goes to another page.
"""

from __future__ import annotations

import msgspec

from flows.core.found import Found
from flows.core.session_event import SessionEvent

ERRORS_MIN = 3
WINDOW_MS = 60_000
KEPT_MAX = 50


class Struggle(msgspec.Struct, frozen=True, array_like=True):
    """The refusals on one page, oldest first; `count` are those of a struggle that is on."""

    page_key: str
    url: str
    path: str
    errors: tuple[tuple[int, str], ...] = ()  # Time and event id; at most KEPT_MAX.
    count: int = 0  # 0: fewer than ERRORS_MIN so far.
    last_at_ms: int = 0


class FormStruggle:
    """Refusals are `form_error` events; which field it was does not matter."""

    insight_type = "form_struggle"
    rule_version = 1
    severity = "medium"
    kinds = frozenset({"form_error", "page_view"})
    state_type = Struggle
    parameters = {"errors_min": ERRORS_MIN, "window_ms": WINDOW_MS}  # noqa: RUF012

    def on_event(
        self, state: Struggle | None, event: SessionEvent, now_ms: int
    ) -> tuple[Struggle | None, list[Found]]:
        """A refusal on the same page goes on; another page ends what was."""
        found: list[Found] = []
        if state is not None and state.page_key != event.page.key:
            found, state = self._found(state), None
        if event.kind != "form_error":
            return state, found
        if state is None:
            state = Struggle(event.page.key, event.page.url, event.page.path)
        errors = state.errors
        if not state.count:
            errors = tuple(error for error in errors if error[0] >= now_ms - WINDOW_MS)
        errors = (*errors, (now_ms, event.event_id))
        count = state.count + 1 if state.count else len(errors) * (len(errors) >= ERRORS_MIN)
        state = msgspec.structs.replace(
            state, errors=errors[:KEPT_MAX], count=count, last_at_ms=now_ms
        )
        return state, found

    def on_time(self, state: Struggle, now_ms: int) -> tuple[None, list[Found]]:
        """A minute without a refusal: it is over."""
        return None, self._found(state)

    def wake_at_ms(self, state: Struggle) -> int:
        """A minute after the last refusal."""
        return state.last_at_ms + WINDOW_MS + 1

    def _found(self, state: Struggle) -> list[Found]:
        if not state.count:
            return []
        began_ms, anchor = state.errors[0]
        return [
            Found(
                anchor_event_id=anchor,
                at_ms=began_ms,
                ended_at_ms=state.last_at_ms,
                url=state.url,
                path=state.path,
                details={
                    "error_count": state.count,
                    "duration_ms": state.last_at_ms - began_ms,
                },
                related_event_ids=tuple(event_id for _, event_id in state.errors),
            )
        ]
