"""Thrashed cursor: the pointer is swept to and fro, fast and for seconds.

In: mouse moves, each with some positions. Out: one finding an episode, when it is over. An episode
opens when the steps of the last `window_ms` are enough positions, last long enough, turn often
enough and go fast enough; it goes on until there is no turn for `quiet_ms`, a pause, another page,
or the cap. It reaches from its first step to its last turn; with `skip_lead_in` the steps before a
stretch of `quiet_ms` without a turn are of what was before. Source: detectors.md, section 5.

Positions are looked at one by one only where they could matter: as long as the pointer has not
moved for `min_duration_ms` without a pause, what came is just kept (most movements end before). The
result is the same. Lengths are counted in whole thousandths of a pixel, so that sums
do not depend on the order of adding.

A position that is told to be earlier than the one before counts as simultaneous. State is bounded:
kept steps are those of the window, at most `STEPS_MAX`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flows.core.detectors.thrash_run import (
    Episode,
    Moved,
    Positions,
    Run,
    RunRules,
    follow,
    total_px,
)
from flows.core.insight import RELATED_MAX, Finding, Verdict
from flows.core.session_event import Moves, PackedMoves, SessionEvent
from schemas.detection_settings import ByPath, ThrashedCursorParams

KEPT_MAX = 64  # Mouse moves that are kept unseen.


class ThrashState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one session: the pointer since its last pause, on one page.

    `kept` are mouse moves that were not looked at yet; `run` what was found in those before.
    """

    key: str
    url: str
    path: str
    began_ms: int
    last_ms: int
    wake_at_ms: int
    kept: tuple[Moved, ...] = ()
    run: Run | None = None


class ThrashedCursor:
    """See the module."""

    insight_type = "thrashed_cursor"
    rule_version = 1
    kinds = frozenset({"mouse_move"})
    state_type = ThrashState

    def __init__(
        self,
        params: ByPath[ThrashedCursorParams] | None = None,
        *,
        max_episode_ms: int = 60_000,
        explain: bool = False,
    ) -> None:
        self._params = params or ByPath(ThrashedCursorParams())
        self._max_episode_ms = max_episode_ms
        self._explain = explain
        self._gap_ms = max(each.max_gap_ms for each in self._params.all)
        self._least_ms = min(each.min_duration_ms for each in self._params.all)

    def on_event(
        self, state: ThrashState | None, event: SessionEvent, now_ms: int
    ) -> tuple[ThrashState | None, Sequence[Finding | Verdict]]:
        """Take the positions of one mouse move."""
        moves, page, at_ms = event.body, event.page, event.at_ms
        params = self._params.of(page.path)
        if not params.enabled:
            if state is None or state.key == page.key:
                return state, ()
            return None, self._ended(state)
        positions: Positions | bytes
        if isinstance(moves, PackedMoves):
            positions, first_ms, last_ms = moves.payload, moves.first_ms, moves.last_ms
        elif isinstance(moves, Moves) and moves.positions:
            positions = moves.positions
            first_ms, last_ms = positions[0][2], positions[-1][2]
        else:
            return state, ()
        first_ms += at_ms
        last_ms += at_ms
        made: Sequence[Finding | Verdict] = ()
        if state is not None and (
            first_ms - state.last_ms > params.max_gap_ms or state.key != page.key
        ):
            made = self._ended(state)
            state = None
        url = "" if state is None or state.url == page.url else page.url
        moved = (event.event_id, at_ms, positions, url)
        if state is None:
            state = ThrashState(
                page.key, page.url, page.path, first_ms, last_ms, last_ms + params.max_gap_ms,
                (moved,),
            )  # fmt: skip
        else:
            last_ms = max(last_ms, state.last_ms)
            state = ThrashState(
                state.key, state.url, state.path, state.began_ms, last_ms,
                last_ms + params.max_gap_ms, (*state.kept, moved), state.run,
            )  # fmt: skip
        is_open = state.run is not None and state.run.episode is not None
        is_short = last_ms - state.began_ms < params.min_duration_ms
        if is_short and not is_open and len(state.kept) < KEPT_MAX:
            return state, made
        return self._followed(state, params, made)

    def on_time(
        self, state: ThrashState, now_ms: int
    ) -> tuple[ThrashState | None, Sequence[Finding | Verdict]]:
        """The pointer has rested for longer than a pause: what was open is over."""
        if state.wake_at_ms > now_ms:
            return state, ()
        return None, self._ended(state)

    def wake_at_ms(self, state: ThrashState) -> int | None:
        """When the pointer has rested long enough."""
        return state.wake_at_ms

    def decides(self, state: ThrashState) -> bool:
        """Whether an episode is open: moves alone are only forgotten."""
        return state.run is not None and state.run.episode is not None

    def needed(self, events: Sequence[SessionEvent], last_ms: int) -> Sequence[SessionEvent]:
        """Moves without a pause that last long enough, or may go on."""
        needed: list[SessionEvent] = []
        moves: list[SessionEvent] = []
        began_ms = ended_ms = 0
        for event in events:
            body = event.body
            if isinstance(body, PackedMoves):
                first_ms, end_ms = body.first_ms, body.last_ms
            elif isinstance(body, Moves) and body.positions:
                first_ms, end_ms = body.positions[0][2], body.positions[-1][2]
            else:
                continue
            at_ms = event.at_ms
            if at_ms + first_ms - ended_ms > self._gap_ms:
                if ended_ms - began_ms >= self._least_ms:
                    needed += moves
                moves = []
                began_ms = at_ms + first_ms
            moves.append(event)
            ended_ms = max(ended_ms, at_ms + end_ms)
        if ended_ms - began_ms >= self._least_ms or ended_ms + self._gap_ms > last_ms:
            needed += moves
        return needed

    def provisional(self, state: ThrashState) -> Sequence[Finding]:
        """The episode that is open, as it is."""
        if state.run is None or state.run.episode is None:
            return ()
        return (self._finding(state, state.run.episode),)

    def _rules(self, params: ThrashedCursorParams) -> RunRules:
        return RunRules(params, self._max_episode_ms, self._explain)

    def _followed(
        self, state: ThrashState, params: ThrashedCursorParams, made: Sequence[Finding | Verdict]
    ) -> tuple[ThrashState, Sequence[Finding | Verdict]]:
        """The state with all that was kept looked at."""
        run, ended, missed = follow(state.run, state.kept, self._rules(params))
        if ended or missed:
            made = [*made]
            for episode in ended:
                made.append(self._finding(state, episode))
                if self._explain:
                    made.append(self._verdict(episode.event_id, episode, params))
            made.extend(self._missed(each, params) for each in missed)
        # What began before a pause within these moves is gone.
        return (
            msgspec.structs.replace(state, kept=(), run=run, began_ms=run.began_ms),
            made,
        )

    def _ended(self, state: ThrashState) -> Sequence[Finding | Verdict]:
        """What is found when the pointer rests or changes the page."""
        params = self._params.of(state.path)
        made: Sequence[Finding | Verdict] = ()
        if self._explain and state.kept:
            state, made = self._followed(state, params, made)
        run = state.run
        if run is None:
            return made
        if run.episode is not None:
            made = [*made, self._finding(state, run.episode)]
            if self._explain:
                made.append(self._verdict(run.episode.event_id, run.episode, params))
        elif self._explain and run.best is not None:
            made = [*made, self._missed((run.best_event_id, run.best), params)]
        return made

    def _finding(self, state: ThrashState, episode: Episode) -> Finding:
        duration_ms = episode.turned_ms - episode.began_ms
        left, top, right, bottom = episode.bounds
        distance_px = total_px(episode.length_mpx)
        return Finding(
            insight_type=self.insight_type,
            rule_version=self.rule_version,
            severity="medium",
            anchor_event_id=episode.event_id,
            at_ms=episode.began_ms,
            ended_at_ms=episode.turned_ms,
            url=episode.events[0][2] or state.url,
            path=state.path,
            x=(left + right + 1) // 2,
            y=(top + bottom + 1) // 2,
            target_selector=None,
            details={
                "duration_ms": duration_ms,
                "distance_px": distance_px,
                "direction_changes": episode.turn_count,
                "velocity_px_s": _velocity(episode.length_mpx, duration_ms),
                "area_bounds": {
                    "top": top,
                    "left": left,
                    "width": right - left,
                    "height": bottom - top,
                },
            },
            related_event_ids=tuple(
                each[0] for each in episode.events if each[1] <= episode.turned_ms
            )[:RELATED_MAX],
            ordinal=episode.ordinal,
        )

    def _verdict(self, event_id: str, episode: Episode, params: ThrashedCursorParams) -> Verdict:
        duration_ms = episode.turned_ms - episode.began_ms
        return Verdict(
            self.insight_type, event_id, "fired", "thrashed",
            {
                "duration_ms": duration_ms,
                "direction_changes": episode.turn_count,
                "velocity_px_s": _velocity(episode.length_mpx, duration_ms),
            },
            _limits(params), tuple(each[0] for each in episode.events)[:RELATED_MAX],
        )  # fmt: skip

    def _missed(
        self, best: tuple[str, tuple[int, int, int, int]], params: ThrashedCursorParams
    ) -> Verdict:
        event_id, (positions, duration_ms, turns, length_mpx) = best
        limits = {**_limits(params), "positions": params.min_positions}
        measured = {
            "duration_ms": duration_ms,
            "direction_changes": turns,
            "velocity_px_s": _velocity(length_mpx, duration_ms),
            "positions": positions,
        }
        reason = next(
            (f"too_few_{name}" if name in ("positions", "direction_changes") else f"{name}_too_low"
             for name in measured if measured[name] < limits[name]),
            "not_at_once",
        )  # fmt: skip
        return Verdict(self.insight_type, event_id, "not_fired", reason, measured, limits)


def _velocity(length_mpx: int, duration_ms: int) -> int:
    """Pixels a second, rounded; thousandths of pixels a millisecond are the same."""
    return (2 * length_mpx + duration_ms) // (2 * duration_ms) if duration_ms else 0


def _limits(params: ThrashedCursorParams) -> dict[str, int]:
    return {
        "duration_ms": params.min_duration_ms,
        "direction_changes": params.min_direction_changes,
        "velocity_px_s": params.min_velocity,
    }
