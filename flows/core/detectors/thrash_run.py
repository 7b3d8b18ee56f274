"""The pointer's way, position by position: steps, turns, and the episodes that they make.

In: mouse moves in the order they happened. Out: the way since the last pause, the episodes that
ended, and, if asked, how close to one the others came. Five rules, numbered as in detectors.md,
section 5. Pure; the one loop over positions of the whole project, hence its plain style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import msgspec

from flows.core.insight import RELATED_MAX
from flows.core.session_bodies import positions_of
from schemas.detection_settings import ThrashedCursorParams

# The window holds 100 steps of 50 ms, the pace of the browser script; others may be faster.
STEPS_MAX = 500
LONG_AGO_MS = -(2**62)

# x, y and milliseconds after the event's time.
Positions = tuple[tuple[int, int, int], ...]
# An event, its time, its positions (as they were sent, or opened), and its URL, empty if that is
# the one of the first move.
Moved = tuple[str, int, Positions | bytes, str]
# An event, the time of its first position, and its URL as above.
Named = tuple[str, int, str]
# Start, end, square of its length, whether it is a turn, x and y of its start.
Step = tuple[int, int, int, bool, int, int]
Bounds = tuple[int, int, int, int]  # Left, top, right, bottom.
# Of the steps in the window: positions, duration, turns, length in thousandths of a pixel.
Closeness = tuple[int, int, int, int]


class Episode(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An episode up to its last turn, and what came after (`tail_...`), which counts at a turn."""

    began_ms: int
    turned_ms: int
    turn_count: int
    length_mpx: int
    bounds: Bounds
    tail_mpx: int
    tail: Bounds | None
    events: tuple[Named, ...]  # The first one is that of its first position.
    ordinal: int = 0  # How many episodes before it began in the same event.

    @property
    def event_id(self) -> str:
        """The event of its first position."""
        return self.events[0][0]


class Run(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The way since the last pause: the last point kept, and the steps of the window before it."""

    began_ms: int
    x: int
    y: int
    at_ms: int
    dx: int
    dy: int
    steps: tuple[Step, ...]
    turn_count: int  # Among these steps.
    events: tuple[Named, ...]
    episode: Episode | None = None
    best_event_id: str = ""
    best: Closeness | None = None
    last: tuple[str, int] = ("", 0)  # The event in which the last episode began, its ordinal.


@dataclass(frozen=True)
class RunRules:
    """What makes an episode, and whether to tell how close others came."""

    params: ThrashedCursorParams
    max_episode_ms: int
    explain: bool


def total_px(length_mpx: int) -> int:
    """Pixels, rounded."""
    return (length_mpx + 500) // 1_000


def length_mpx(square: int) -> int:
    """A length in thousandths of a pixel, rounded, of its square."""
    return int(sqrt(square) * 1_000 + 0.5)


def follow(
    run: Run | None, moved: Sequence[Moved], rules: RunRules
) -> tuple[Run, list[Episode], list[tuple[str, Closeness]]]:
    """The way after these moves (at least one), the episodes over by then, and near misses."""
    params = rules.params
    max_gap_ms, quiet_ms = params.max_gap_ms, params.quiet_ms
    min_square, min_turns = params.min_step_px**2, params.min_direction_changes
    max_episode_ms = rules.max_episode_ms
    # To explain, a run that turned half as often is worth a look, too.
    worth_turns = (min_turns + 1) // 2 if rules.explain else min_turns
    ended: list[Episode] = []
    missed: list[tuple[str, Closeness]] = []
    x0 = y0 = dx = dy = began_ms = turn_count = 0
    at_ms = LONG_AGO_MS
    steps: list[Step] = []
    events: list[Named] = []
    episode: _Open | None = None
    best: tuple[str, Closeness] | None = None
    last = ("", 0)
    if run is not None:
        began_ms, x0, y0, at_ms, dx, dy = (
            run.began_ms, run.x, run.y, run.at_ms, run.dx, run.dy
        )  # fmt: skip
        steps, events = list(run.steps), list(run.events)
        if run.episode is not None:
            episode = _Open(run.episode)
        if run.best is not None:
            best = (run.best_event_id, run.best)
        turn_count, last = run.turn_count, run.last
    for event_id, event_ms, sent, url in moved:
        positions = positions_of(sent) if isinstance(sent, bytes) else sent
        event = (event_id, event_ms + positions[0][2], url)
        events.append(event)
        if episode is not None:
            episode.events.append(event)
        for x, y, after_ms in positions:
            now_ms = event_ms + after_ms
            if now_ms < at_ms:
                now_ms = at_ms
            if now_ms - at_ms > max_gap_ms or (  # 1 and the ends of 5
                episode is not None
                and (
                    now_ms - episode.turned_ms > quiet_ms
                    or now_ms - episode.began_ms > max_episode_ms
                )
            ):
                if episode is not None:
                    ended.append(episode.closed())
                elif best is not None:
                    missed.append(best)
                episode = best = None
                steps, events, turn_count = [], [event], 0
                x0, y0, dx, dy = x, y, 0, 0
                at_ms = began_ms = now_ms
                continue
            mx, my = x - x0, y - y0
            square = mx * mx + my * my
            if square < min_square:  # 2
                at_ms = now_ms
                continue
            is_turn = mx * dx + my * dy < 0  # 3
            if episode is None:
                steps.append((at_ms, now_ms, square, is_turn, x0, y0))
                if is_turn:
                    turn_count += 1
                if turn_count >= worth_turns or len(steps) > STEPS_MAX:
                    turn_count -= _drop_old(steps, now_ms - params.window_ms)
                    if len(steps) > STEPS_MAX:
                        turn_count -= _drop(steps, len(steps) - STEPS_MAX)
                    sweep = _without_lead_in(steps, quiet_ms) if params.skip_lead_in else steps
                    if _opens(sweep, now_ms, params):  # 4
                        episode = _opened(sweep, events, (x, y), last)
                        last = (episode.events[0][0], episode.ordinal)
                        steps, turn_count = [], 0
                    elif rules.explain and turn_count >= worth_turns:
                        best = _closer(best, sweep, events, now_ms, params)
            else:
                episode.add(now_ms, length_mpx(square), is_turn, x, y)  # 5
            x0, y0, dx, dy, at_ms = x, y, mx, my, now_ms
    if episode is None:
        turn_count -= _drop_old(steps, at_ms - params.window_ms)
    first_ms = steps[0][0] if steps else at_ms
    while len(events) > 1 and events[1][1] <= first_ms:
        del events[0]
    best_id, closest = ("", None) if best is None else best
    left = Run(
        began_ms, x0, y0, at_ms, dx, dy, tuple(steps), turn_count, tuple(events),
        None if episode is None else episode.closed(), best_id, closest, last,
    )  # fmt: skip
    return left, ended, missed


class _Open:
    """An open episode while it grows."""

    def __init__(self, episode: Episode) -> None:
        self.began_ms = episode.began_ms
        self.turned_ms = episode.turned_ms
        self.turn_count = episode.turn_count
        self.length_mpx = episode.length_mpx
        self.bounds = episode.bounds
        self.tail_mpx = episode.tail_mpx
        self.tail = episode.tail
        self.events = list(episode.events)
        self.ordinal = episode.ordinal

    def add(self, now_ms: int, length: int, is_turn: bool, x: int, y: int) -> None:
        """Take a step that ends here."""
        self.tail_mpx += length
        self.tail = _around(self.tail or self.bounds, x, y)
        if is_turn:
            self.turn_count += 1
            self.turned_ms = now_ms
            self.length_mpx += self.tail_mpx
            self.bounds = self.tail
            self.tail_mpx, self.tail = 0, None

    def closed(self) -> Episode:
        """As it is now."""
        return Episode(
            self.began_ms, self.turned_ms, self.turn_count, self.length_mpx,
            self.bounds, self.tail_mpx, self.tail, tuple(self.events[:RELATED_MAX]), self.ordinal,
        )  # fmt: skip


def _drop_old(steps: list[Step], first_ms: int) -> int:
    """Drop the steps that start before; how many turns are among them."""
    place = 0
    while place < len(steps) and steps[place][0] < first_ms:
        place += 1
    return _drop(steps, place)


def _drop(steps: list[Step], count: int) -> int:
    """Drop the first steps; how many turns are among them."""
    turns = sum([step[3] for step in steps[:count]])
    del steps[:count]
    return turns


def _without_lead_in(steps: list[Step], quiet_ms: int) -> list[Step]:
    """The steps since one before the first turn that others followed, none later than `quiet_ms`.

    That is how an episode ends: after so long without a turn the pointer does something else.
    """
    first, turned_ms = len(steps), 0
    for place in range(len(steps) - 1, -1, -1):
        if steps[place][3]:
            if first < len(steps) and turned_ms - steps[place][1] > quiet_ms:
                break
            first, turned_ms = place, steps[place][1]
    return steps[max(0, first - 1) :]


def _opens(steps: Sequence[Step], now_ms: int, params: ThrashedCursorParams) -> bool:
    """Whether the steps kept are an episode; the oldest one's turn does not count."""
    if not steps or len(steps) + 1 < params.min_positions:
        return False
    duration_ms = now_ms - steps[0][0]
    if duration_ms < params.min_duration_ms:
        return False
    if sum([step[3] for step in steps[1:]]) < params.min_direction_changes:
        return False
    # Thousandths of a pixel in a millisecond are pixels in a second.
    return sum([length_mpx(step[2]) for step in steps]) >= params.min_velocity * duration_ms


def _opened(
    steps: Sequence[Step], events: Sequence[Named], end: tuple[int, int], before: tuple[str, int]
) -> _Open:
    """The episode that these steps are; `before` is the event of the one before, its ordinal."""
    points = [(step[4], step[5]) for step in steps] + [end]
    last = max(place for place, step in enumerate(steps) if step[3])
    began_ms = steps[0][0]
    first = max(place for place, each in enumerate(events) if place == 0 or each[1] <= began_ms)
    event_id, ordinal = before
    inside, after = points[: last + 2], points[last + 2 :]
    bounds = (
        min(x for x, _ in inside),
        min(y for _, y in inside),
        max(x for x, _ in inside),
        max(y for _, y in inside),
    )
    tail: Bounds | None = None
    for x, y in after:
        tail = _around(tail or bounds, x, y)
    return _Open(
        Episode(
            began_ms=began_ms,
            turned_ms=steps[last][1],
            turn_count=sum([step[3] for step in steps[1:]]),
            length_mpx=sum([length_mpx(step[2]) for step in steps[: last + 1]]),
            bounds=bounds,
            tail_mpx=sum([length_mpx(step[2]) for step in steps[last + 1 :]]),
            tail=tail,
            events=tuple(events[first:]),
            ordinal=ordinal + 1 if events[first][0] == event_id else 0,
        )
    )


def _around(bounds: Bounds, x: int, y: int) -> Bounds:
    left, top, right, bottom = bounds
    return min(left, x), min(top, y), max(right, x), max(bottom, y)


def _closer(
    best: tuple[str, Closeness] | None,
    steps: Sequence[Step],
    events: Sequence[Named],
    now_ms: int,
    params: ThrashedCursorParams,
) -> tuple[str, Closeness]:
    """The steps of the window now, or those that met more of the conditions before."""
    measured = (
        len(steps) + 1,
        now_ms - steps[0][0],
        sum([step[3] for step in steps[1:]]),
        sum([length_mpx(step[2]) for step in steps]),
    )
    event_id = next((each[0] for each in reversed(events) if each[1] <= steps[0][0]), events[0][0])
    if best is None or _met(measured, params) > _met(best[1], params):
        return event_id, measured
    return best


def _met(closeness: Closeness, params: ThrashedCursorParams) -> tuple[int, int]:
    positions, duration_ms, turns, length_mpx = closeness
    met = (
        positions >= params.min_positions,
        duration_ms >= params.min_duration_ms,
        turns >= params.min_direction_changes,
        length_mpx >= params.min_velocity * max(duration_ms, 1),
    )
    return sum(met), turns
