"""A small chart of values over time, as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LABEL = 8
WIDTH = 60
HEIGHT = 6


def text_chart(
    values: Sequence[float | None],
    bound: float | None,
    *,
    marked: Iterable[int] = (),
    is_low: bool = False,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> list[str]:
    """Lines from top to bottom, each `width` characters behind a label, down to the line of zero.

    A column shows the largest of its values, or the smallest with `is_low`; without any it is
    empty. The row that holds the bound has dashes where no bar is. Below zero there is a mark for
    each place in `marked`, if there are any.
    """
    if not values:
        return []
    width = min(width, len(values))
    columns = [
        _extreme(values[_place(n, values, width) : _place(n + 1, values, width)], is_low)
        for n in range(width)
    ]
    top = max([0.0, *(value for value in columns if value is not None)])
    if bound is not None:
        top = max(top, bound)
    top = top or 1.0
    lines = []
    for row in range(height - 1, -1, -1):
        low = top * row / height
        has_bound = bound is not None and low < bound <= top * (row + 1) / height
        cells = "".join(_cell(value, low, top / height, has_bound) for value in columns)
        label = bound if has_bound else top if row == height - 1 else None
        text = "" if label is None else f"{label:.6g}"
        lines.append(f"{text:>{_LABEL}} {'┤' if text else '│'}{cells}".rstrip())
    lines.append(f"{'0':>{_LABEL}} └{'─' * width}")
    found = {_column(place, len(values), width) for place in marked}
    if found:
        marks = "".join("▲" if n in found else " " for n in range(width))
        lines.append(f"{'':>{_LABEL}}  {marks}".rstrip())
    return lines


def _place(column: int, values: Sequence[float | None], width: int) -> int:
    return column * len(values) // width


def _column(place: int, count: int, width: int) -> int:
    """The column that a place is in: the other way round."""
    return -(-(place + 1) * width // count) - 1


def _extreme(values: Sequence[float | None], is_low: bool) -> float | None:
    found = [value for value in values if value is not None]
    return (min(found) if is_low else max(found)) if found else None


def _cell(value: float | None, low: float, step: float, has_bound: bool) -> str:
    eighths = 0 if value is None else round(8 * (value - low) / step)
    cell = _EIGHTHS[min(max(eighths, 0), 8)]
    return "─" if cell == " " and has_bound else cell
