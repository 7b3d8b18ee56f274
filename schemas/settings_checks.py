"""Checks of single values of a settings document. Pure.

Each returns the value, or the default where the value is absent or bad; what is bad is added to
`problems` as `path: what is wrong`, so that a person gets to see all of it at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from schemas.time_zones import is_time_zone

Problems = list[str]

ITEM_CHARS_MAX = 1_024
_CURRENCY = re.compile("[A-Z]{3}")


def check_section(
    document: Mapping[str, Any], name: str, problems: Problems, path: str = ""
) -> Mapping[str, Any]:
    """The object under this key; empty if there is none."""
    value = document.get(name, {})
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    problems.append(f"{path}{name}: must be an object")
    return {}


def check_flag(
    section: Mapping[str, Any], name: str, default: bool, path: str, problems: Problems
) -> bool:
    """A truth value."""
    value = section.get(name, default)
    if isinstance(value, bool):
        return value
    problems.append(f"{path}{name}: must be true or false")
    return default


def check_currency(document: Mapping[str, Any], problems: Problems) -> str:
    """The project's currency in capitals; empty if none is set. Source: ISO 4217."""
    value = document.get("currency", "")
    if isinstance(value, str):
        currency = value.strip().upper()
        if not currency or _CURRENCY.fullmatch(currency):
            return currency
    problems.append("currency: must be three letters, as EUR")
    return ""


def check_time_zone(document: Mapping[str, Any], problems: Problems) -> None:
    """The project's time zone, if one is set."""
    value = document.get("timezone", "")
    if value != "" and not (isinstance(value, str) and is_time_zone(value)):
        problems.append("timezone: must be the name of a time zone, such as Europe/Paris")


def check_number(
    section: Mapping[str, Any],
    name: str,
    default: float,
    bounds: tuple[float, float],
    path: str,
    problems: Problems,
) -> float:
    """A number within the bounds, both of them included."""
    value = section.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        low, high = bounds
        if low <= value <= high:
            return value
    problems.append(f"{path}{name}: must be a number from {bounds[0]:g} to {bounds[1]:g}")
    return default


def check_texts(
    section: Mapping[str, Any],
    name: str,
    default: tuple[str, ...],
    items_max: int,
    path: str,
    problems: Problems,
) -> tuple[str, ...]:
    """A list of texts, none of them empty or over-long."""
    value = section.get(name, default)
    if not isinstance(value, list | tuple) or len(value) > items_max:
        problems.append(f"{path}{name}: must be a list of at most {items_max} texts")
        return default
    for index, item in enumerate(value):
        if not isinstance(item, str) or not 0 < len(item) <= ITEM_CHARS_MAX:
            problems.append(f"{path}{name}[{index}]: must be a text of 1 to {ITEM_CHARS_MAX} chars")
            return default
    return tuple(value)


def check_globs(
    section: Mapping[str, Any],
    name: str,
    default: tuple[str, ...],
    items_max: int,
    path: str,
    problems: Problems,
) -> tuple[str, ...]:
    """A list of patterns of paths, each beginning with `/`, `*` or `?`."""
    globs = check_texts(section, name, default, items_max, path, problems)
    for index, glob in enumerate(globs):
        if glob[0] not in "/*?":
            # It could never match, which the one who wrote it would find out too late.
            problems.append(f"{path}{name}[{index}]: must begin with /, * or ?")
    return globs
