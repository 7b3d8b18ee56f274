"""What a project may set about its detectors: the section `insights` of its settings document.

In: that section, which holds only what differs from the defaults. Out: `DetectionSettings`, plain
values with all defaults filled in. A bad value never costs the good ones: the default counts
instead, and `problems` names it. The bounds stand once, at the field they are for; documents and
checks are made of them. Pure. Source: detectors.md, section 1.4; mission-map.md, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from schemas.privacy import path_matches
from schemas.settings_checks import Problems, check_flag, check_globs, check_section, check_texts

PATHS_MAX = 100
LIST_ITEMS_MAX = 200
KNOWN_PAGES_MAX = 1_024


class DetectionError(ValueError):
    """A parameter is out of its bounds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a whole number, both included, and what it says to a reader."""

    low: int
    high: int
    unit: str
    says: str


def _number(default: int, low: int, high: int, unit: str, says: str) -> Any:
    return field(default=default, metadata={"bounds": Bounds(low, high, unit, says)})


# Source of the bounds: detectors.md, section 1.4 (counts from 2, times 100 to 60,000 ms, radius 1
# to 500 px). Counts end where the state of a detector does.
def _count(default: int, says: str, high: int = 100) -> Any:
    return _number(default, 2, high, "", says)


def _time_ms(default: int, says: str) -> Any:
    return _number(default, 100, 60_000, "ms", says)


def _pixels(default: int, says: str) -> Any:
    return _number(default, 1, 500, "px", says)


def _refinement() -> Any:
    """What goes beyond the bare rule; off with `"exclusions": false`, unless it is set itself."""
    return field(default=True, metadata={"refines": True})


@dataclass(frozen=True)
class Params:
    """Of one detector on one page. `enabled` is false where it must not look."""

    enabled: bool = True

    def __post_init__(self) -> None:
        for name, bounds in bounds_of(type(self)).items():
            value = getattr(self, name)
            if type(value) is not int or not bounds.low <= value <= bounds.high:
                raise DetectionError(f"{name}: {must_be(bounds)}")


@dataclass(frozen=True)
class RageClickParams(Params):
    """Of the burst of clicks. Source: detectors.md, section 2."""

    min_clicks: int = _count(5, "clicks that make a burst")
    time_window_ms: int = _time_ms(2_000, "within which they come, and after which a burst is over")
    radius_px: int = _pixels(50, "around their centre, within which they lie")


@dataclass(frozen=True)
class DeadClickParams(Params):
    """Of the click without an answer. Source: detectors.md, section 3."""

    observation_window_ms: int = _time_ms(1_000, "within which the page must answer")
    rearm_ms: int = _time_ms(2_000, "within which a further one on the element is the same one")


@dataclass(frozen=True)
class ErrorClickParams(Params):
    """Of the click that an error follows. Source: detectors.md, section 4."""

    error_window_ms: int = _time_ms(1_000, "within which the error follows the click")
    rearm_ms: int = _time_ms(2_000, "within which the same error there is the same one")


@dataclass(frozen=True)
class ThrashedCursorParams(Params):
    """Of the pointer that is swept to and fro. Source: detectors.md, section 5; `skip_lead_in`:
    docs/detectors.md.
    """

    min_duration_ms: int = _time_ms(2_000, "how long it lasts at least")
    min_direction_changes: int = _count(10, "turns of more than 90 degrees")
    min_velocity: int = _number(500, 1, 100_000, "px/s", "mean speed along the way")
    window_ms: int = _time_ms(5_000, "within which all of this is reached")
    min_positions: int = _count(20, "positions at least")
    max_gap_ms: int = _time_ms(500, "a longer pause ends it")
    min_step_px: int = _pixels(3, "shorter moves are tremor")
    quiet_ms: int = _time_ms(1_000, "without a turn, after which it is over")
    skip_lead_in: bool = _refinement()


@dataclass(frozen=True)
class UTurnParams(Params):
    """Of the quick return. Source: detectors.md, section 6."""

    max_time_away_ms: int = _time_ms(10_000, "at most this long on the page between")
    min_time_away_ms: int = _time_ms(200, "at least; less is a redirect")


@dataclass(frozen=True)
class SlowPageParams(Params):
    """Of the slow page. Source: detectors.md, section 7; `late_vitals`: docs/detectors.md."""

    lcp_threshold_ms: int = _time_ms(3_000, "the largest content is painted later than this")
    ttfb_threshold_ms: int = _time_ms(800, "the first byte comes later than this")
    load_threshold_ms: int = _time_ms(3_000, "the page has loaded later than this")
    collect_ms: int = _time_ms(10_000, "after the first report, in which further ones count")
    late_vitals: bool = _refinement()


P = TypeVar("P", bound=Params)


def bare(params: P) -> P:
    """The same without what refines the rule."""
    names = [each.name for each in fields(params) if "refines" in each.metadata]
    return replace(params, **dict.fromkeys(names, False))


def bounds_of(kind: type[Params]) -> Mapping[str, Bounds]:
    """The numbers of a detector's parameters, by name, in their order."""
    return {
        each.name: each.metadata["bounds"] for each in fields(kind) if "bounds" in each.metadata
    }


def must_be(bounds: Bounds) -> str:
    """What is said of a value out of bounds."""
    return f"must be a whole number from {bounds.low} to {bounds.high}"


@dataclass(frozen=True)
class ByPath(Generic[P]):
    """Parameters for each page: those of the first pattern that fits its path, else `default`."""

    default: P
    overrides: tuple[tuple[str, P], ...] = ()
    _known: dict[str, P] = field(default_factory=dict, repr=False, compare=False)

    def of(self, path: str) -> P:
        """For a page's path, or its key."""
        if not self.overrides:
            return self.default
        found = self._known.get(path)
        if found is None:
            if len(self._known) >= KNOWN_PAGES_MAX:
                self._known.clear()
            found = next(
                (p for glob, p in self.overrides if path_matches(glob, path)), self.default
            )
            self._known[path] = found
        return found

    @property
    def all(self) -> tuple[P, ...]:
        """The default, and those of patterns."""
        return (self.default, *(params for _, params in self.overrides))

    @property
    def is_ever_enabled(self) -> bool:
        """Whether any page is looked at."""
        return any(params.enabled for params in self.all)


# The rules by which a project may begin. Values of other vendors are those that they publish or
# that their code shows. Source: mission-map.md, sections 4.1 and 4.2.
PRESETS: Mapping[str, Mapping[str, Params]] = MappingProxyType(
    {
        "gosight": {},
        "posthog": {
            "rage_click": RageClickParams(min_clicks=3, time_window_ms=1_000, radius_px=30),
            "dead_click": DeadClickParams(observation_window_ms=2_500, rearm_ms=1_000),
        },
        "datadog": {
            "rage_click": RageClickParams(min_clicks=3, time_window_ms=1_000, radius_px=100),
            "dead_click": DeadClickParams(observation_window_ms=100),
        },
    }
)
DEFAULTS: Mapping[str, Params] = MappingProxyType(
    {
        "rage_click": RageClickParams(),
        "dead_click": DeadClickParams(),
        "error_click": ErrorClickParams(),
        "thrashed_cursor": ThrashedCursorParams(),
        "u_turn": UTurnParams(),
        "slow_page": SlowPageParams(),
    }
)
# Reasons that keep an insight away although its rule holds; docs/detectors.md says what each means.
EXCLUSIONS: tuple[str, ...] = (
    "opt_out",
    "labels",
    "label_twin",
    "text_field",
    "canvas",
    "text_selection",
    "scrolled",
    "answered",
    "new_tab",
    "native_control",
    "clicked_again",
    "player_moved",
    "page_moved",
    "slow_navigation",
    "background_error",
    "browser_noise",
    "beside",
    "form_sent",
    "hidden_page",
)
# What the vendors leave out of theirs. Source: mission-map.md, section 4.4.
PRESET_EXCLUSIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "gosight": frozenset(EXCLUSIONS),
        "posthog": frozenset({"opt_out", "labels", "text_field"}),
        "datadog": frozenset({"text_field", "canvas", "text_selection", "scrolled"}),
    }
)
# Steppers and pagers are meant to be clicked fast. Source: detectors.md, section 1.4.
STEPPER_LABELS = (
    "+", "-", "\u2212", "\u2013", "<", ">", "\u00ab", "\u00bb", "\u2039", "\u203a",
    "next", "previous", "prev",
)  # fmt: skip
HOLD_MS = Bounds(0, 60_000, "ms", "how long an event waits for earlier ones; 0: not at all")
MAX_EPISODE_MS = Bounds(100, 60_000, "ms", "after which a burst or a thrash is reported and closed")
_LOAD = "load_threshold_ms"
TOP_KEYS = ("preset", "exclusions", "paths", "hold_ms", "max_episode_ms", "ignore_selectors")


@dataclass(frozen=True)
class DetectionSettings:
    """All that is set about the detectors of one project."""

    preset: str = "gosight"
    params: Mapping[str, ByPath[Any]] = field(
        default_factory=lambda: {name: ByPath(params) for name, params in DEFAULTS.items()}
    )
    exclusions: frozenset[str] = frozenset(EXCLUSIONS)
    stepper_labels: frozenset[str] = frozenset(STEPPER_LABELS)
    ignore_selectors: frozenset[str] = frozenset()
    hold_ms: int = 6_000
    max_episode_ms: int = 60_000


def merged_detection(whole: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A project's section over that of the installation: parameters one by one, all else whole.

    Source: detectors.md, section 1.4.
    """
    merged = {**whole, **own}
    for name in DEFAULTS:
        of_all, of_project = whole.get(name), own.get(name)
        if isinstance(of_all, Mapping) and isinstance(of_project, Mapping):
            merged[name] = {**of_all, **of_project}
    return merged


def parse_detection(section: Mapping[str, Any], problems: Problems) -> DetectionSettings:
    """The settings with all defaults; each bad key or value is added to `problems`."""
    path = "insights."
    for key in section:
        if key not in DEFAULTS and key not in TOP_KEYS:
            problems.append(f"{path}{key}: unknown key")
    preset = section.get("preset", "gosight")
    if not isinstance(preset, str) or preset not in PRESETS:
        problems.append(f"{path}preset: must be one of {', '.join(PRESETS)}")
        preset = "gosight"
    base: dict[str, Params] = {}
    is_bare = section.get("exclusions") is False
    for name, known_default in {**DEFAULTS, **PRESETS[preset]}.items():
        default = bare(known_default) if is_bare else known_default
        known = check_section(section, name, problems, path)
        also = ("exclude_labels",) if name == "rage_click" else ()
        base[name] = _params(known, default, f"{path}{name}.", problems, also)
    overrides = _overrides(section, base, problems)
    rage = check_section(section, "rage_click", [], path)
    labels = check_texts(
        rage, "exclude_labels", STEPPER_LABELS, LIST_ITEMS_MAX, f"{path}rage_click.", problems
    )
    ignored = check_texts(section, "ignore_selectors", (), LIST_ITEMS_MAX, path, problems)
    return DetectionSettings(
        preset=preset,
        params={name: ByPath(base[name], tuple(overrides[name])) for name in base},
        exclusions=_exclusions(section, PRESET_EXCLUSIONS[preset], problems),
        stepper_labels=frozenset(label.strip().lower() for label in labels),
        ignore_selectors=frozenset(ignored),
        hold_ms=_whole(section, "hold_ms", 6_000, HOLD_MS, path, problems),
        max_episode_ms=_whole(section, "max_episode_ms", 60_000, MAX_EPISODE_MS, path, problems),
    )


def _whole(
    section: Mapping[str, Any],
    name: str,
    default: int,
    bounds: Bounds,
    path: str,
    problems: Problems,
) -> int:
    if name not in section:
        return default
    value = _within(section[name], bounds)
    if value is None:
        problems.append(f"{path}{name}: {must_be(bounds)}")
        return default
    return value


def _within(value: Any, bounds: Bounds) -> int | None:
    """The number, if it is a whole one within the bounds."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of numbers.
    return value if type(value) is int and bounds.low <= value <= bounds.high else None


def _params(
    section: Mapping[str, Any],
    default: P,
    path: str,
    problems: Problems,
    also: tuple[str, ...] = (),
    *,
    has_own_load: bool = False,
) -> P:
    """The parameters of one detector: `default` with what the section says otherwise.

    `has_own_load` tells that the default's limit of the load was set, and is not that of the LCP.
    """
    numbers = bounds_of(type(default))
    flags = [each.name for each in fields(default) if each.name not in numbers]
    for key in section:
        if key not in numbers and key not in flags and key not in also:
            problems.append(f"{path}{key}: unknown key")
    values: dict[str, Any] = {
        name: _whole(section, name, getattr(default, name), bounds, path, problems)
        for name, bounds in numbers.items()
    }
    for name in flags:
        values[name] = check_flag(section, name, getattr(default, name), path, problems)
    if "lcp_threshold_ms" in section and not (has_own_load or _sets_load(section)):
        # Source: detectors.md, section 1.4: the limit of the load is that of the LCP if not set.
        values["load_threshold_ms"] = values["lcp_threshold_ms"]
    return replace(default, **values)


def _sets_load(section: Mapping[str, Any]) -> bool:
    bounds = bounds_of(SlowPageParams)[_LOAD]
    return _LOAD in section and _within(section[_LOAD], bounds) is not None


def _overrides(
    section: Mapping[str, Any], base: Mapping[str, Params], problems: Problems
) -> dict[str, list[tuple[str, Params]]]:
    """For each detector its (pattern, parameters), in order."""
    found: dict[str, list[tuple[str, Params]]] = {name: [] for name in base}
    entries = section.get("paths", [])
    has_own_load = _sets_load(check_section(section, "slow_page", [], "insights."))
    if not isinstance(entries, list | tuple) or len(entries) > PATHS_MAX:
        problems.append(f"insights.paths: must be a list of at most {PATHS_MAX} objects")
        return found
    for index, entry in enumerate(entries):
        path = f"insights.paths[{index}]"
        if not isinstance(entry, Mapping) or not all(isinstance(key, str) for key in entry):
            problems.append(f"{path}: must be an object")
            continue
        before = len(problems)
        globs = check_globs({"path": [entry.get("path", "")]}, "path", (), 1, f"{path}.", problems)
        for key in entry:
            if key != "path" and key not in base:
                problems.append(f"{path}.{key}: unknown key")
        if not globs or (len(problems) > before and problems[before].startswith(f"{path}.path")):
            continue
        for name, default in base.items():
            if name in entry:
                own = check_section(entry, name, problems, f"{path}.")
                made = _params(own, default, f"{path}.{name}.", problems, has_own_load=has_own_load)
                found[name].append((globs[0], made))
    return found


def _exclusions(
    section: Mapping[str, Any], default: frozenset[str], problems: Problems
) -> frozenset[str]:
    """Those that are on: all of the preset, none, or all but the names listed."""
    value = section.get("exclusions", True)
    if isinstance(value, bool):
        return default if value else frozenset()
    off = check_texts(section, "exclusions", (), len(EXCLUSIONS), "insights.", problems)
    for name in off:
        if name not in EXCLUSIONS:
            problems.append(f"insights.exclusions: there is no {name!r}")
    return default - set(off)
