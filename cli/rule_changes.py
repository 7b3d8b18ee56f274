"""Changed rules of a project, for trying them: `--set rage_click.min_clicks=3 --preset posthog`.

In: a project's settings document and the changes. Out: the document with them, or what is wrong
with a change, in words. What is wrong with the project's own settings is not held against a change.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flows.core.detectors.exclusions import exclusions_for
from schemas.detection_changes import CHANGES_MAX, ChangeError, changed_section
from schemas.detection_settings import (
    DEFAULTS,
    PRESETS,
    DetectionSettings,
    parse_detection,
)

# Settings of all detectors together -> the types that they can change. What exclusions can change
# is asked of them.
_SHARED: Mapping[str, frozenset[str]] = {
    "preset": frozenset({"rage_click", "dead_click"}),
    "exclusions": frozenset(),
    "stepper_labels": frozenset({"rage_click"}),
    "ignore_selectors": frozenset({"rage_click", "dead_click", "error_click"}),
    "max_episode_ms": frozenset({"rage_click", "thrashed_cursor"}),
}


class BadChangeError(ValueError):
    """A change names nothing that can be set, or a value that it cannot have."""


def changed_document(
    document: Mapping[str, Any], changes: Sequence[str], preset: str | None
) -> dict[str, Any]:
    """The settings document with changes of the form KEY=VALUE, in order; the preset goes first.

    A preset's values count where the project or a change says nothing else.

    Raises:
        BadChangeError: a change is not of that form, or its key or value is refused.
    """
    if not changes and preset is None:
        raise BadChangeError("nothing is changed; give --set KEY=VALUE or --preset NAME")
    if len(changes) > CHANGES_MAX:
        raise BadChangeError(f"more than {CHANGES_MAX} changes")
    if preset is not None and preset not in PRESETS:
        raise BadChangeError(f"there is no preset {preset}; there are: {', '.join(PRESETS)}")
    changed = copy.deepcopy(dict(document))
    own = changed.get("insights")
    section: dict[str, Any] = own if isinstance(own, dict) else {}
    if preset is not None:
        section["preset"] = preset
    for change in changes:
        section = _changed(section, change)
    changed["insights"] = section
    return changed


def settings_of(document: Mapping[str, Any]) -> DetectionSettings:
    """The detection settings of a settings document; what is wrong there counts as not set."""
    section = document.get("insights")
    return parse_detection(section if isinstance(section, Mapping) else {}, [])


def changed_types(old: DetectionSettings, new: DetectionSettings) -> frozenset[str]:
    """The insight types that the two settings can find differently."""
    changed = {
        name
        for name in DEFAULTS
        if old.params[name] != new.params[name] or _exclusions(name, old) != _exclusions(name, new)
    }
    for name, types in _SHARED.items():
        if getattr(old, name) != getattr(new, name):
            changed |= types
    return frozenset(changed)


def _exclusions(insight_type: str, settings: DetectionSettings) -> list[str]:
    found = exclusions_for(insight_type, settings.exclusions, settings.stepper_labels)
    return [exclusion.name for exclusion in found]


def differences(old: DetectionSettings, new: DetectionSettings) -> dict[str, tuple[Any, Any]]:
    """What differs, by key: (old value, new value)."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in DEFAULTS:
        before = msgspec.to_builtins(old.params[name].default)
        after = msgspec.to_builtins(new.params[name].default)
        for key, value in before.items():
            if value != after[key]:
                found[f"{name}.{key}"] = (value, after[key])
        if old.params[name].overrides != new.params[name].overrides:
            found[f"paths: {name}"] = ("as set", "changed")
    for name in (*_SHARED, "hold_ms"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found[name] = (_plain(before), _plain(after))
    return found


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


def _changed(section: Mapping[str, Any], change: str) -> dict[str, Any]:
    key, is_pair, text = change.partition("=")
    key = key.strip()
    if not is_pair or not key:
        raise BadChangeError(f"--set {change}: give KEY=VALUE, such as rage_click.min_clicks=3")
    try:
        return changed_section(section, key, _value(text.strip()))
    except ChangeError as error:
        raise BadChangeError(f"--set {change}: {error}") from None


def _value(text: str) -> Any:
    """A JSON value, or else the text itself."""
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text
