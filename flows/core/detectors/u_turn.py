"""U-turn: a page is left quickly, back to where the visitor came from.

In: page views. Out: one finding at the return: A, B, A with `min_time_away_ms` to
`max_time_away_ms` between the view of B and the return. A view of the page that is being looked at
changes nothing, so a reload does not hide the return. After a finding the history is the returning
view alone. Source: detectors.md, section 6.

Only the last two visits can matter; they are kept until the session is over, since there is no
time after which a return would be no return.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent
from schemas.detection_settings import ByPath, UTurnParams


class Visit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first view of a page that was visited."""

    event_id: str
    at_ms: int
    key: str
    url: str
    path: str


class UTurnState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one session: the page being looked at and the one before."""

    last: Visit
    before: Visit | None = None


class UTurn:
    """See the module."""

    insight_type = "u_turn"
    rule_version = 1
    kinds = frozenset({"page_view"})
    state_type = UTurnState

    def __init__(self, params: ByPath[UTurnParams] | None = None, *, explain: bool = False) -> None:
        self._params = params or ByPath(UTurnParams())
        self._explain = explain

    def on_event(
        self, state: UTurnState | None, event: SessionEvent, now_ms: int
    ) -> tuple[UTurnState | None, Sequence[Finding | Verdict]]:
        """Take one page view."""
        page = event.page
        visit = Visit(event.event_id, event.at_ms, page.key, page.url, page.path)
        if state is None:
            return UTurnState(visit), ()
        left, before = state.last, state.before
        if left.key == page.key:
            return state, ()
        if before is None or before.key != page.key:
            return UTurnState(visit, left), ()
        params = self._params.of(left.path)
        away_ms = visit.at_ms - left.at_ms
        is_turn = params.min_time_away_ms <= away_ms <= params.max_time_away_ms
        made: list[Finding | Verdict] = []
        if is_turn and params.enabled:
            made.append(self._finding(before, left, visit))
        if self._explain:
            made.append(_verdict(before, left, visit, params))
        return UTurnState(visit) if is_turn and params.enabled else UTurnState(visit, left), made

    def on_time(
        self, state: UTurnState, now_ms: int
    ) -> tuple[UTurnState | None, Sequence[Finding | Verdict]]:
        """Time alone decides nothing."""
        return state, ()

    def wake_at_ms(self, state: UTurnState) -> int | None:
        """Never."""
        return None

    def provisional(self, state: UTurnState) -> Sequence[Finding]:
        """Nothing: a return is a point."""
        return ()

    def _finding(self, before: Visit, left: Visit, back: Visit) -> Finding:
        return Finding(
            insight_type=self.insight_type,
            rule_version=self.rule_version,
            severity="low",
            anchor_event_id=back.event_id,
            at_ms=back.at_ms,
            ended_at_ms=back.at_ms,
            url=left.url,
            path=left.path,
            x=None,
            y=None,
            target_selector=None,
            details={
                "from_url": before.url,
                "to_url": left.url,
                "return_url": back.url,
                "time_away_ms": back.at_ms - left.at_ms,
            },
            related_event_ids=(before.event_id, left.event_id, back.event_id),
        )


def _verdict(before: Visit, left: Visit, back: Visit, params: UTurnParams) -> Verdict:
    away_ms = back.at_ms - left.at_ms
    outcome, reason = "fired", "quick_return"
    if not params.enabled:
        outcome, reason = "not_judged", "disabled"
    elif away_ms > params.max_time_away_ms:
        outcome, reason = "not_fired", "away_too_long"
    elif away_ms < params.min_time_away_ms:
        outcome, reason = "not_fired", "away_too_short"
    limit_ms = params.min_time_away_ms if reason == "away_too_short" else params.max_time_away_ms
    return Verdict(
        "u_turn", back.event_id, outcome, reason,
        {"time_away_ms": away_ms}, {"time_away_ms": limit_ms},
        (before.event_id, left.event_id, back.event_id),
    )  # fmt: skip
