"""A small chart of values over time, as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
WIDTH = 60
HEIGHT = 6


def text_chart(
    values: Sequence[float | None], bound: float | None, width: int = WIDTH, height: int = HEIGHT
) -> list[str]:
    """Lines from top to bottom, each `width` characters behind a label; the largest of each column.

    The row that holds the bound has dashes where no bar is. Columns without any value are empty.
    """
    if not values:
        return []
    width = min(width, len(values))
    columns = [
        _largest(values[_place(n, values, width) : _place(n + 1, values, width)])
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
        label = f"{bound:g}" if has_bound else f"{top:g}" if row == height - 1 else ""
        lines.append(f"{label:>8} {'┤' if label else '│'}{cells}")
    return lines


def _place(column: int, values: Sequence[float | None], width: int) -> int:
    return column * len(values) // width


def _largest(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return max(found) if found else None


def _cell(value: float | None, low: float, step: float, has_bound: bool) -> str:
    eighths = 0 if value is None else round(8 * (value - low) / step)
    cell = _EIGHTHS[min(max(eighths, 0), 8)]
    return "─" if cell == " " and has_bound else cell
