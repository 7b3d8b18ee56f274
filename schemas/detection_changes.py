"""Single changes to what a project has set about its detectors, for trying them.

In: a section `insights` and a key below it, as `rage_click.min_clicks`, with its new value. Out:
the section with it, or what is wrong with the change. What is wrong with the section already is not
held against a change. Shared by the command and the API, which write changes differently. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.detection_settings import DEFAULTS, TOP_KEYS, bounds_of, parse_detection

CHANGES_MAX = 100
_NOT_OVER_HISTORY = frozenset({"hold_ms"})


class ChangeError(ValueError):
    """A change names nothing that can be set, or a value that it cannot have; the text says why."""


def changed_section(section: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The section with one change; `key` may begin with `insights.`.

    Raises:
        ChangeError: there is no such key, or it cannot have this value.
    """
    name, _, parameter = key.removeprefix("insights.").partition(".")
    if name in _NOT_OVER_HISTORY:
        raise ChangeError(
            "how long events wait for earlier ones does not show in sessions looked at as a whole; "
            "gosight_sessions_late_events_total counts late ones"
        )
    changed = dict(section)
    if parameter and name in DEFAULTS:
        own = section.get(name)
        changed[name] = {**(own if isinstance(own, Mapping) else {}), parameter: value}
    elif parameter:
        raise ChangeError(f"there is no detector {name}; {_known()}")
    elif name in DEFAULTS:
        raise ChangeError(f"give {_one_by_one(name, value)}")
    elif name in TOP_KEYS:
        changed[name] = value
    else:
        raise ChangeError(f"unknown key; {_known()}")
    known_faults = set(_problems_of(section))
    fresh = [fault for fault in _problems_of(changed) if fault not in known_faults]
    if fresh:
        raise ChangeError(_helped(fresh[0]))
    return changed


def _problems_of(section: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    parse_detection(section, problems)
    return problems


def _one_by_one(name: str, value: Any) -> str:
    """How a detector's parameters are changed: those that were meant, or else its first one."""
    meant = value if isinstance(value, Mapping) else {}
    if not meant:
        first = next(iter(bounds_of(type(DEFAULTS[name]))))
        return f"its parameters one by one, such as {name}.{first}"
    return ", ".join(f"{name}.{key}={msgspec.json.encode(meant[key]).decode()}" for key in meant)


def _known() -> str:
    return f"there are: {', '.join((*DEFAULTS, *TOP_KEYS))}"


def _helped(fault: str) -> str:
    """A fault, with what there is instead if a parameter is unknown."""
    where, _, what = fault.partition(": ")
    name = where.removeprefix("insights.").partition(".")[0]
    if what == "unknown key" and name in DEFAULTS:
        return f"{fault}; {name} has {', '.join(('enabled', *bounds_of(type(DEFAULTS[name]))))}"
    return fault
