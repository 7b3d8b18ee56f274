"""The settings document of a project: defaults, levels, and every fault named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.project_settings import SettingsError, parse_settings, public_config
from schemas.records import PrivacyPolicy, ProjectSettings


def test_empty_document_is_all_defaults() -> None:
    """The record's own defaults and the parser's are the same."""
    assert parse_settings({}) == ProjectSettings()


def test_levels_fill_switches_and_the_document_wins() -> None:
    """A level is only a preset."""
    assert parse_settings({"privacy": {"level": 1}}).privacy == PrivacyPolicy()
    level_2 = parse_settings({"privacy": {"level": 2}}).privacy
    assert (level_2.ip_method, level_2.scrub_email, level_2.scrub_phone) == ("truncate", True, True)
    mixed = parse_settings({"privacy": {"level": 3, "scrubPhone": False, "anonymizeIp": False}})
    assert (mixed.privacy.ip_method, mixed.privacy.scrub_phone) == ("full", False)
    assert mixed.privacy.scrub_email
    assert public_config(mixed)["privacy"]["maskAllText"] is True


@pytest.mark.parametrize(
    ("privacy", "method"),
    [
        ({}, "full"),
        ({"anonymizeIp": True}, "truncate"),
        ({"ip": {"method": "hash"}}, "hash"),
        ({"anonymizeIp": False, "ip": {"method": "remove"}}, "remove"),
        ({"anonymizeIp": True, "ip": {"method": "full"}}, "truncate"),
        ({"level": 2, "ip": {"method": "full"}}, "full"),
    ],
)
def test_method_for_addresses(privacy: dict[str, Any], method: str) -> None:
    """The method wins over the level; of two switches that disagree the stricter one."""
    parsed = parse_settings({"privacy": privacy})
    assert parsed.privacy.ip_method == method
    assert public_config(parsed)["privacy"]["anonymizeIp"] is (method != "full")


def test_categories_retention_and_lists_are_taken_over() -> None:
    """What the gateway needs is in the record, the rest in the document."""
    document = {
        "events": {"network": True, "mouse": False},
        "retention": {"events": 30},
        "privacy": {
            "blockUrls": ["/admin/*"],
            "maskRegex": ["ref-[0-9]+"],
            "excludeFromStorage": ["notes"],
            "respectDnt": True,
        },
        "insights": {"rage_click": {"min_clicks": 3}},
    }
    parsed = parse_settings(document)
    assert "mouse" in parsed.disabled_categories
    assert "network" not in parsed.disabled_categories
    assert parsed.retain_days == 30
    assert parsed.privacy.block_urls == ("/admin/*",)
    assert parsed.privacy.custom_patterns == ("ref-[0-9]+",)
    assert parsed.privacy.exclude_from_storage == {"notes"}
    assert parsed.privacy.respect_dnt
    assert parsed.document == document


@pytest.mark.parametrize(
    "document", [{"events": {"replay": False}}, {"replay": {"enabled": False}}]
)
def test_replay_is_off_by_either_switch(document: dict[str, Any]) -> None:
    """Both say the same to browsers and to the gateway."""
    parsed = parse_settings(document)
    assert "replay" in parsed.disabled_categories
    config = public_config(parsed)
    assert config["events"]["replay"] is config["replay"]["enabled"] is False


def test_every_fault_is_named_at_once() -> None:
    """A person gets the whole list, not the first line of it."""
    document: dict[str, Any] = {
        "evnts": {},
        "events": {"mouse": 1, "taps": True},
        "privacy": {
            "level": 4,
            "blockUrls": ["checkout"],
            "maskRegex": ["(a)\\1", "ok"],
            "ip": {"method": "sha1", "salt": "x"},
            "maskSelectors": "p",
            "excludeFromStorage": [""],
        },
        "sampling": {"sessionSampleRate": 101, "replaySampleRate": True},
        "retention": {"events": 731, "sessions": 0},
        "replay": {"mode": "some", "bufferSeconds": 0, "triggers": {"onError": "yes"}},
    }
    with pytest.raises(SettingsError) as caught:
        parse_settings(document)
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {
        "evnts",
        "events.mouse",
        "events.taps",
        "privacy.level",
        "privacy.blockUrls[0]",
        "privacy.maskRegex[0]",
        "privacy.ip.method",
        "privacy.ip.salt",
        "privacy.maskSelectors",
        "privacy.excludeFromStorage[0]",
        "sampling.sessionSampleRate",
        "sampling.replaySampleRate",
        "retention.events",
        "retention.sessions",
        "replay.mode",
        "replay.bufferSeconds",
        "replay.triggers.onError",
    }


def test_too_many_patterns_are_refused() -> None:
    """Twenty expressions are enough."""
    parse_settings({"privacy": {"maskRegex": ["a"] * 20}})
    with pytest.raises(SettingsError, match="at most 20"):
        parse_settings({"privacy": {"maskRegex": ["a"] * 21}})


def test_public_config_has_defaults_and_no_server_switches() -> None:
    """A browser learns what it must do, and not what the server does besides."""
    config = public_config(parse_settings({"privacy": {"scrubTraits": True}, "notify": {"x": 1}}))
    assert set(config) == {"events", "privacy", "sampling", "replay"}
    assert config["events"]["mouse"] is True
    assert config["events"]["network"] is False
    assert config["privacy"]["maskAllInputs"] is True
    assert config["privacy"]["maskInputTypes"] == ["password", "email", "tel"]
    assert not any(name.startswith("scrub") for name in config["privacy"])
    assert config["sampling"] == {"sessionSampleRate": 100, "replaySampleRate": 100}
    assert config["replay"]["triggers"]["onDeadClick"] is False
    assert msgspec.json.decode(msgspec.json.encode(config)) == config


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
SECTION_NAMES = st.sampled_from(["events", "privacy", "sampling", "replay", "retention", "x"])
KEYS = st.sampled_from(
    ["level", "ip", "method", "mouse", "maskRegex", "blockUrls", "events", "triggers", "mode"]
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(SECTION_NAMES, JSON | st.dictionaries(KEYS, JSON)))
def test_any_document_gives_settings_or_a_list_of_faults(document: dict[str, Any]) -> None:
    """No document fails in another way, and what was accepted can be shown."""
    try:
        parsed = parse_settings(document)
    except SettingsError as error:
        problems = error.problems
    else:
        problems = ("none",)
        assert public_config(parsed)["privacy"]["level"] in (1, 2, 3)
    assert problems
