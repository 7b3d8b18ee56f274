"""What is usual: the values of a rule's metric in windows before, and how far off one is.

In: the value of each whole window, aligned to multiples of its length. Out: median and scale of
those at this time of the day in the week before; of the 24 windows just before while there is no
such week. Source: alerting.md, section 4, and docs/alerts.md on steep peaks. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

DAY_MS = 86_400_000
DAYS = 7
DAYS_MIN = 5
WINDOWS_BEFORE = 24
SAMPLES_MIN = 12
# Makes the median deviation of a normal distribution its standard deviation.
MAD_SCALE = 1.4826
SCALE_SHARE_MIN = 0.1
SCALE_MIN = 1.0


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual: `middle` and one step of deviation, in the metric's unit."""

    middle: float
    scale: float

    def score(self, value: float) -> float:
        """How many steps off."""
        return (value - self.middle) / self.scale


def usual_of(samples: Sequence[float], samples_min: int = SAMPLES_MIN) -> Usual | None:
    """Median, and the deviation; None for too few samples."""
    if len(samples) < samples_min:
        return None
    middle = median(samples)
    deviation = MAD_SCALE * median(abs(value - middle) for value in samples)
    return Usual(middle, max(deviation, SCALE_SHARE_MIN * abs(middle), SCALE_MIN))


@dataclass
class Baseline:
    """Values of whole windows by their end in ms; those of the last week and a bit."""

    window_ms: int
    values: dict[int, float] = field(default_factory=dict)

    def is_aligned(self, at_ms: int) -> bool:
        """Whether a whole window ends here."""
        return at_ms % self.window_ms == 0

    def note(self, at_ms: int, value: float) -> None:
        """Remember the value of the window that ends at `at_ms`."""
        self.values[at_ms] = value
        oldest_ms = at_ms - DAYS * DAY_MS - 2 * self.window_ms
        while (first_ms := next(iter(self.values))) < oldest_ms:
            del self.values[first_ms]

    def usual(self, at_ms: int) -> tuple[Usual, ...]:
        """What is usual for a window that ends at `at_ms`; none while too little is known.

        There may be several: of this time of the day with its neighbours, or while that is not
        known of the windows just before; and of each window around this time alone. What is unusual
        is so by all of them, so that a steep daily peak, whose neighbours are low, is not.
        """
        days = [self._day(at_ms - day * DAY_MS) for day in range(1, DAYS + 1)]
        has_week = sum(map(bool, days)) >= DAYS_MIN
        if has_week:
            first = usual_of([value for day in days for value in day.values()])
        else:
            first = usual_of(self._just_before(at_ms))
            if first is None:
                return ()
        alone = (0,) if self.is_aligned(at_ms) else (0, 1)
        samples_min = DAYS_MIN if has_week else 1
        found = [usual_of([day[n] for day in days if n in day], samples_min) for n in alone]
        return tuple(one for one in (first, *found) if one is not None)

    def _day(self, at_ms: int) -> dict[int, float]:
        """The window of a day, and its neighbours by -1 and 1, as far as they are known."""
        middle_ms = at_ms // self.window_ms * self.window_ms
        ends = {n: middle_ms + n * self.window_ms for n in (-1, 0, 1)}
        return {n: self.values[end] for n, end in ends.items() if end in self.values}

    def _just_before(self, at_ms: int) -> list[float]:
        last_ms = (at_ms - self.window_ms) // self.window_ms * self.window_ms
        ends = (last_ms - n * self.window_ms for n in range(WINDOWS_BEFORE))
        return [self.values[end] for end in ends if end in self.values]

    def by_day(self) -> Mapping[int, list[tuple[int, float]]]:
        """The values by the day (since 1970) they are of, as they are stored."""
        found: dict[int, list[tuple[int, float]]] = {}
        for at_ms, value in self.values.items():
            found.setdefault(at_ms // DAY_MS, []).append((at_ms, value))
        return found
