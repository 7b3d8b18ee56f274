"""The settings document of a project, checked and with its defaults filled in.

In: the JSON document of `projects.settings`, which holds only what differs from the defaults; its
keys are in camelCase. Out: `ProjectSettings` for the gateway and the flows, and the document that
browsers get from `GET /v1/config`. Pure. Source: api.md, section 5; privacy.md, sections 1 and 2;
replay.md, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from schemas.detection_settings import parse_detection
from schemas.patterns import CUSTOM_PATTERNS_MAX, PatternError, compile_custom
from schemas.privacy import IP_METHODS
from schemas.records import (
    CATEGORY_DEFAULTS,
    EVENT_RETENTION_DAYS,
    RETENTION_DAYS_MAX,
    PrivacyPolicy,
    ProjectSettings,
)
from schemas.settings_checks import (
    Problems,
    check_currency,
    check_flag,
    check_globs,
    check_number,
    check_section,
    check_texts,
    check_time_zone,
)

# What each level adds to the switches below it; a switch in the document wins over its level.
LEVEL_PRESETS: Mapping[int, Mapping[str, bool]] = MappingProxyType(
    {
        1: {},
        2: {"anonymizeIp": True, "scrubEmail": True, "scrubPhone": True},
        3: {"anonymizeIp": True, "scrubEmail": True, "scrubPhone": True, "maskAllText": True},
    }
)
# Switches that browsers are told about.
CLIENT_FLAGS: Mapping[str, bool] = MappingProxyType(
    {
        "maskAllInputs": True,
        "maskAllText": False,
        "anonymizeIp": False,
        "maskRequestBodies": True,
        "maskResponseBodies": True,
        "respectDnt": False,
        "respectGpc": True,
        "requireConsent": False,
    }
)
# Switches of the server alone.
SERVER_FLAGS: Mapping[str, bool] = MappingProxyType(
    dict.fromkeys(("scrubEmail", "scrubPhone", "scrubIpv4", "scrubDob", "scrubTraits"), False)
)
CLIENT_LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "maskInputTypes": ("password", "email", "tel"),
        "maskSelectors": (),
        "blockSelectors": (),
        "ignoreSelectors": (),
        "blockUrls": (),
        "allowUrls": (),
        "maskRegex": (),
        "excludeFromStorage": (),
    }
)
SAMPLING_DEFAULTS: Mapping[str, float] = MappingProxyType(
    {"sessionSampleRate": 100, "replaySampleRate": 100}
)
REPLAY_MODES = ("all", "trigger")
TRIGGER_FLAGS: Mapping[str, bool] = MappingProxyType(
    {"onError": True, "onRageClick": True, "onDeadClick": False}
)
RETAINED = frozenset({"events", "sessions", "insights", "errors", "replay"})
# Checked where they are used, and carried along here.
OTHER_SECTIONS = frozenset(
    {"insights", "replayOptions", "maxReplayDuration", "timezone", "currency", "notify"}
)
SECTIONS = frozenset({"events", "privacy", "sampling", "replay", "retention"}) | OTHER_SECTIONS
DOCUMENT_BYTES_MAX = 64 * 1024
LIST_ITEMS_MAX = 200
SECONDS_MAX = 3_600


class SettingsError(ValueError):
    """The document has bad keys; `problems` holds one line for each, `path: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def parse_settings(document: Mapping[str, Any]) -> ProjectSettings:
    """The settings with all defaults.

    Raises:
        SettingsError: names every unknown key and every value out of range, not only the first.
    """
    problems: Problems = []
    _refuse_unknown(document, SECTIONS, "", problems)
    is_on = _parse_events(check_section(document, "events", problems), problems)
    privacy = _parse_privacy(check_section(document, "privacy", problems), problems)
    _check_sampling(check_section(document, "sampling", problems), problems)
    records_replay = _check_replay(check_section(document, "replay", problems), problems)
    retain_days = _parse_retention(check_section(document, "retention", problems), problems)
    if problems:
        raise SettingsError(problems)
    disabled = {name for name, value in is_on.items() if not value}
    if not records_replay:
        disabled.add("replay")
    return ProjectSettings(
        disabled_categories=frozenset(disabled),
        privacy=privacy,
        retain_days=retain_days,
        document=dict(document),
    )


def settings_problems(document: Mapping[str, Any]) -> list[str]:
    """All that is wrong with a document that someone wants to save, a line each.

    More than `parse_settings` refuses: what a document says of detectors, money or days must
    not stop the gateway, which does not need it (`schemas.detection_settings`).
    """
    if len(msgspec.json.encode(document)) > DOCUMENT_BYTES_MAX:
        return [f"settings: must not be over {DOCUMENT_BYTES_MAX} bytes"]
    problems: Problems = []
    try:
        parse_settings(document)
    except SettingsError as error:
        problems.extend(error.problems)
    parse_detection(check_section(document, "insights", problems), problems)
    check_currency(document, problems)
    check_time_zone(document, problems)
    return problems


def public_config(settings: ProjectSettings) -> dict[str, Any]:
    """What a browser may know of the settings: events, privacy, sampling and replay."""
    document = settings.document
    privacy = document.get("privacy", {})
    replay = document.get("replay", {})
    flags = {**CLIENT_FLAGS, **_preset_flags(privacy.get("level", 1))}
    return {
        "events": {name: name not in settings.disabled_categories for name in CATEGORY_DEFAULTS},
        "privacy": {
            "level": settings.privacy.level,
            **{name: privacy.get(name, flags[name]) for name in CLIENT_FLAGS},
            "anonymizeIp": settings.privacy.ip_method != "full",
            **{name: list(privacy.get(name, default)) for name, default in CLIENT_LISTS.items()},
        },
        "sampling": {**SAMPLING_DEFAULTS, **document.get("sampling", {})},
        "replay": {
            "enabled": "replay" not in settings.disabled_categories,
            "mode": replay.get("mode", "all"),
            "triggers": {
                **TRIGGER_FLAGS,
                "onCustomEvent": [],
                **replay.get("triggers", {}),
            },
            "bufferSeconds": replay.get("bufferSeconds", 30),
            "recordAfterSeconds": replay.get("recordAfterSeconds", 60),
            "includeUrls": list(replay.get("includeUrls", ())),
            "excludeUrls": list(replay.get("excludeUrls", ())),
        },
    }


def _preset_flags(level: int) -> Mapping[str, bool]:
    return LEVEL_PRESETS[level]


def _refuse_unknown(
    section: Mapping[str, Any], known: frozenset[str], path: str, problems: Problems
) -> None:
    problems.extend(f"{path}{key}: unknown key" for key in section if key not in known)


def _parse_events(section: Mapping[str, Any], problems: Problems) -> dict[str, bool]:
    _refuse_unknown(section, frozenset(CATEGORY_DEFAULTS), "events.", problems)
    return {
        name: check_flag(section, name, default, "events.", problems)
        for name, default in CATEGORY_DEFAULTS.items()
    }


def _parse_privacy(section: Mapping[str, Any], problems: Problems) -> PrivacyPolicy:
    path = "privacy."
    known = {"level", "ip", *CLIENT_FLAGS, *SERVER_FLAGS, *CLIENT_LISTS}
    _refuse_unknown(section, frozenset(known), path, problems)
    level = section.get("level", 1)
    if type(level) is not int or level not in LEVEL_PRESETS:
        problems.append("privacy.level: must be 1, 2 or 3")
        level = 1
    defaults = {**CLIENT_FLAGS, **SERVER_FLAGS, **_preset_flags(level)}
    flags = {
        name: check_flag(section, name, default, path, problems)
        for name, default in defaults.items()
    }
    lists = {
        name: (check_globs if name.endswith("Urls") else check_texts)(
            section, name, default, LIST_ITEMS_MAX, path, problems
        )
        for name, default in CLIENT_LISTS.items()
    }
    _check_patterns(lists["maskRegex"], problems)
    return PrivacyPolicy(
        level=level,
        ip_method=_parse_ip_method(section, flags["anonymizeIp"], problems),
        scrub_email=flags["scrubEmail"],
        scrub_phone=flags["scrubPhone"],
        scrub_ipv4=flags["scrubIpv4"],
        scrub_dob=flags["scrubDob"],
        scrub_traits=flags["scrubTraits"],
        custom_patterns=lists["maskRegex"],
        block_urls=lists["blockUrls"],
        allow_urls=lists["allowUrls"],
        exclude_from_storage=frozenset(lists["excludeFromStorage"]),
        respect_dnt=flags["respectDnt"],
        respect_gpc=flags["respectGpc"],
    )


def _parse_ip_method(section: Mapping[str, Any], is_anonymous: bool, problems: Problems) -> str:
    ip = check_section(section, "ip", problems, "privacy.")
    _refuse_unknown(ip, frozenset({"method"}), "privacy.ip.", problems)
    method = ip.get("method", "truncate" if is_anonymous else "full")
    if method not in IP_METHODS:
        problems.append(f"privacy.ip.method: must be one of {', '.join(IP_METHODS)}")
    elif method == "full" and section.get("anonymizeIp") is True:
        return "truncate"  # Two switches that disagree: the stricter one counts.
    return str(method)


def _check_patterns(expressions: tuple[str, ...], problems: Problems) -> None:
    if len(expressions) > CUSTOM_PATTERNS_MAX:
        problems.append(f"privacy.maskRegex: at most {CUSTOM_PATTERNS_MAX} expressions")
    for index, expression in enumerate(expressions):
        try:
            compile_custom(expression)
        except PatternError as error:
            problems.append(f"privacy.maskRegex[{index}]: {error}")


def _check_sampling(section: Mapping[str, Any], problems: Problems) -> None:
    _refuse_unknown(section, frozenset(SAMPLING_DEFAULTS), "sampling.", problems)
    for name, default in SAMPLING_DEFAULTS.items():
        check_number(section, name, default, (0, 100), "sampling.", problems)


def _check_replay(section: Mapping[str, Any], problems: Problems) -> bool:
    path = "replay."
    known = {"enabled", "mode", "triggers", "bufferSeconds", "recordAfterSeconds"}
    _refuse_unknown(section, frozenset(known | {"includeUrls", "excludeUrls"}), path, problems)
    if section.get("mode", "all") not in REPLAY_MODES:
        problems.append(f"replay.mode: must be one of {', '.join(REPLAY_MODES)}")
    for name in ("bufferSeconds", "recordAfterSeconds"):
        check_number(section, name, 1, (1, SECONDS_MAX), path, problems)
    for name in ("includeUrls", "excludeUrls"):
        check_globs(section, name, (), LIST_ITEMS_MAX, path, problems)
    triggers = check_section(section, "triggers", problems, path)
    known_triggers = frozenset({*TRIGGER_FLAGS, "onCustomEvent"})
    _refuse_unknown(triggers, known_triggers, "replay.triggers.", problems)
    for name, default in TRIGGER_FLAGS.items():
        check_flag(triggers, name, default, "replay.triggers.", problems)
    check_texts(triggers, "onCustomEvent", (), LIST_ITEMS_MAX, "replay.triggers.", problems)
    return check_flag(section, "enabled", True, path, problems)


def _parse_retention(section: Mapping[str, Any], problems: Problems) -> int:
    _refuse_unknown(section, RETAINED, "retention.", problems)
    for name, value in section.items():
        if name in RETAINED and (type(value) is not int or not 1 <= value <= RETENTION_DAYS_MAX):
            problems.append(f"retention.{name}: must be a whole number of days, 1 to 730")
    days = section.get("events", EVENT_RETENTION_DAYS)
    return days if type(days) is int else EVENT_RETENTION_DAYS
