"""The tables of docs/detectors.md, made of the code: `python -m tests.detector_tables` writes them.

Each stands between `<!-- name:begin -->` and `<!-- name:end -->`; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from flows.core.detectors.dead_rules import ROWS
from flows.core.detectors.exclusions import all_exclusions
from schemas.detection_settings import (
    DEFAULTS,
    EXCLUSIONS,
    HOLD_MS,
    MAX_EPISODE_MS,
    PRESET_EXCLUSIONS,
    PRESETS,
    STEPPER_LABELS,
    Bounds,
    DetectionSettings,
    bounds_of,
)

DOCUMENT = Path(__file__).parents[1] / "docs" / "detectors.md"


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _number(key: str, default: int, bounds: Bounds) -> str:
    unit = f" {bounds.unit}" if bounds.unit else ""
    between = f"{bounds.low:,} to {bounds.high:,}"
    return _row(f"`{key}`", f"{default:,}{unit}", between, bounds.says)


def parameters_of(name: str) -> str:
    """Numbers of one detector."""
    lines = [_row("Key", "Default", "Bounds", "Meaning"), "|---|---|---|---|"]
    default = DEFAULTS[name]
    for key, bounds in bounds_of(type(default)).items():
        lines.append(_number(f"{name}.{key}", getattr(default, key), bounds))
    return "\n".join(lines)


def general() -> str:
    """Keys of no one detector."""
    default = DetectionSettings()
    return "\n".join(
        (
            _row("Key", "Default", "Bounds", "Meaning"),
            "|---|---|---|---|",
            _number("hold_ms", default.hold_ms, HOLD_MS),
            _number("max_episode_ms", default.max_episode_ms, MAX_EPISODE_MS),
        )
    )


def exclusions() -> str:
    """Each exclusion with the types it is for."""
    types: dict[str, list[str]] = {name: [] for name in EXCLUSIONS}
    says: dict[str, str] = {}
    for kind, group in all_exclusions(frozenset()).items():
        for each in group:
            types[each.name].append(kind)
            says[each.name] = each.says
    lines = [_row("Name", "Of", "Reason"), "|---|---|---|"]
    lines += [_row(f"`{name}`", ", ".join(types[name]), says[name]) for name in EXCLUSIONS]
    return "\n".join(lines)


def presets() -> str:
    """What each preset sets, and its exclusions."""
    lines = [_row("Preset", "Values", "Exclusions"), "|---|---|---|"]
    for name, params in PRESETS.items():
        values = [
            f"`{kind}.{key}` {getattr(each, key):,}"
            for kind, each in params.items()
            for key in bounds_of(type(each))
            if getattr(each, key) != getattr(DEFAULTS[kind], key)
        ]
        chosen = PRESET_EXCLUSIONS[name]
        names = [f"`{each}`" for each in EXCLUSIONS if each in chosen]
        lines.append(
            _row(
                f"`{name}`",
                ", ".join(values) or "the defaults",
                "all" if len(names) == len(EXCLUSIONS) else ", ".join(names),
            )
        )
    return "\n".join(lines)


def answers() -> str:
    """Which events answer a click."""
    lines = [_row("Expected of the click", "Answered by", "Reason if dead"), "|---|---|---|"]
    known: frozenset[str] = frozenset()
    for name, says in (
        ("navigate", "to go somewhere: a link"),
        ("mutate", "to change something: looks clickable otherwise"),
        ("handle", "to be handled: a button, a box, a click attribute"),
        ("handle_here", "to be handled: a link within the page"),
    ):
        row = ROWS[name]
        more = ", ".join(sorted(row.answers - known))
        lines.append(_row(says, f"the row before and {more}" if known else more, row.reason))
        known = row.answers
    return "\n".join(lines)


def tables() -> Mapping[str, str]:
    """All tables by name."""
    labels = ", ".join(f"`{label}`" for label in STEPPER_LABELS)
    return {
        **{name: parameters_of(name) for name in DEFAULTS},
        "general": general(),
        "exclusions": exclusions(),
        "presets": presets(),
        "answers": answers(),
        "labels": labels,
    }


def filled(text: str) -> str:
    """The document with its tables made anew."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        assert pattern.search(text), name
        text = pattern.sub(f"{begin}\n{table}\n{end}".replace("\\", r"\\"), text)
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
