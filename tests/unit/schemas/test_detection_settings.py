"""What a project may set about its detectors, and what is said of bad values."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.detection_settings import (
    DEFAULTS,
    EXCLUSIONS,
    ByPath,
    DetectionError,
    DetectionSettings,
    RageClickParams,
    bounds_of,
    parse_detection,
)
from schemas.project_settings import parse_settings, settings_problems


def parse(section: dict[str, Any]) -> tuple[DetectionSettings, list[str]]:
    """The settings and the problems."""
    problems: list[str] = []
    return parse_detection(section, problems), problems


def test_an_empty_section_is_the_defaults() -> None:
    """Nothing set, nothing wrong."""
    settings, problems = parse({})
    assert problems == []
    assert settings == DetectionSettings()
    assert settings.exclusions == frozenset(EXCLUSIONS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_number_has_bounds(name: str) -> None:
    """Both bounds are taken, what is beyond is refused and the default counts."""
    kind = type(DEFAULTS[name])
    for key, bounds in bounds_of(kind).items():
        for value, is_good in (
            (bounds.low, True), (bounds.high, True), (float(bounds.low), True),
            (bounds.low - 1, False), (bounds.high + 1, False), (bounds.low + 0.5, False),
            ("9", False), (True, False), (None, False), (float("nan"), False),
        ):  # fmt: skip
            settings, problems = parse({name: {key: value}})
            expected = int(value) if is_good else getattr(DEFAULTS[name], key)  # type: ignore[call-overload]
            assert getattr(settings.params[name].default, key) == expected
            assert [problem.partition(":")[0] for problem in problems] == (
                [] if is_good else [f"insights.{name}.{key}"]
            )
        with pytest.raises(DetectionError, match=key):
            kind(**{key: bounds.high + 1})


def test_good_values_count_beside_bad_ones() -> None:
    """Each bad one is named, none is lost."""
    settings, problems = parse(
        {
            "preset": "nobody",
            "rage_click": {"min_clicks": 1, "radius_px": 40, "speed": 1},
            "dead_click": 5,
            "dead": {},
            "hold_ms": -1,
            "exclusions": ["labels", "nothing"],
            "paths": [
                {"path": "/a", "u_turn": {"enabled": False}},
                {"path": "x"},
                7,
                {"path": "/", "z": 1},
            ],
        }
    )
    assert settings.params["rage_click"].default == RageClickParams(radius_px=40)
    assert not settings.params["u_turn"].of("/a").enabled
    assert settings.exclusions == frozenset(EXCLUSIONS) - {"labels"}
    assert settings.hold_ms == 6_000
    assert sorted(problem.partition(":")[0] for problem in problems) == [
        "insights.dead",
        "insights.dead_click",
        "insights.exclusions",
        "insights.hold_ms",
        "insights.paths[1].path[0]",
        "insights.paths[2]",
        "insights.paths[3].z",
        "insights.preset",
        "insights.rage_click.min_clicks",
        "insights.rage_click.speed",
    ]


def test_presets_are_base_values() -> None:
    """What is set beside them wins."""
    settings, problems = parse({"preset": "posthog", "rage_click": {"radius_px": 60}})
    assert problems == []
    assert settings.params["rage_click"].default == RageClickParams(
        min_clicks=3, time_window_ms=1_000, radius_px=60
    )
    assert parse({"preset": "datadog"})[0].params["rage_click"].default.radius_px == 100


def test_the_first_pattern_that_fits_counts() -> None:
    """Others of the same detector are not mixed in; other detectors keep their own."""
    settings, _ = parse(
        {
            "rage_click": {"radius_px": 60},
            "paths": [
                {"path": "/shop/*", "rage_click": {"min_clicks": 3}},
                {"path": "/*", "rage_click": {"min_clicks": 9}},
            ],
        }
    )
    by_path = settings.params["rage_click"]
    assert by_path.of("/shop/a") == RageClickParams(min_clicks=3, radius_px=60)
    assert by_path.of("/about").min_clicks == 9
    assert settings.params["u_turn"].overrides == ()


def test_known_pages_are_bounded() -> None:
    """However many paths a site has."""
    by_path = ByPath(RageClickParams(), (("/x/*", RageClickParams(min_clicks=3)),))
    assert all(by_path.of(f"/x/{i}").min_clicks == 3 for i in range(5_000))


def test_without_exclusions_the_rules_are_the_bare_ones() -> None:
    """What refines a rule is off, too, but where it is set."""
    settings, problems = parse(
        {
            "exclusions": False,
            "slow_page": {"collect_ms": 5_000},
            "paths": [{"path": "/a", "thrashed_cursor": {"skip_lead_in": True}}],
        }
    )
    assert problems == []
    assert not settings.params["slow_page"].of("/").late_vitals
    assert settings.params["slow_page"].of("/").enabled
    assert not settings.params["thrashed_cursor"].of("/").skip_lead_in
    assert settings.params["thrashed_cursor"].of("/a").skip_lead_in
    assert parse({"exclusions": ["canvas"]})[0].params["slow_page"].of("/").late_vitals


def test_exclusions_can_be_switched_off() -> None:
    """All of them, or by name."""
    assert parse({"exclusions": False})[0].exclusions == frozenset()
    assert "canvas" not in parse({"exclusions": ["canvas"]})[0].exclusions
    assert parse({"exclusions": 3})[1] != []


def test_the_load_limit_follows_the_lcp() -> None:
    """Unless it is set itself."""
    both = parse({"slow_page": {"lcp_threshold_ms": 2_500}})[0].params["slow_page"].default
    assert both.load_threshold_ms == 2_500
    own = parse({"slow_page": {"lcp_threshold_ms": 2_500, "load_threshold_ms": 9_000}})[0]
    assert own.params["slow_page"].default.load_threshold_ms == 9_000
    bad, problems = parse({"slow_page": {"lcp_threshold_ms": 2_500, "load_threshold_ms": 1}})
    assert bad.params["slow_page"].default.load_threshold_ms == 2_500
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("whole", "own", "load_ms"),
    [
        ({}, {"lcp_threshold_ms": 2_000}, 2_000),
        ({"lcp_threshold_ms": 6_000}, {"lcp_threshold_ms": 2_000}, 2_000),
        ({"load_threshold_ms": 6_000}, {"lcp_threshold_ms": 2_000}, 6_000),
        ({"load_threshold_ms": 6_000}, {"load_threshold_ms": 5_000}, 5_000),
        ({"lcp_threshold_ms": 6_000}, {"ttfb_threshold_ms": 500}, 6_000),
    ],
)
def test_the_load_limit_of_a_path_follows_its_lcp_if_none_is_set(
    whole: dict[str, int], own: dict[str, int], load_ms: int
) -> None:
    """Neither there nor for all pages."""
    settings, _ = parse({"slow_page": whole, "paths": [{"path": "/shop/*", "slow_page": own}]})
    assert settings.params["slow_page"].of("/shop/x").load_threshold_ms == load_ms


def test_a_pattern_says_what_those_of_privacy_say() -> None:
    """`*` is any text, `?` one character, all else itself."""
    rage = {"min_clicks": 3}
    paths = [{"path": "/a[1]/?", "rage_click": rage}, {"path": "/b/*/c", "rage_click": rage}]
    by_path = parse({"paths": paths})[0].params["rage_click"]
    counts = {path: by_path.of(path).min_clicks for path in ("/a[1]/x", "/a1/x", "/a[1]/xy")}
    assert counts == {"/a[1]/x": 3, "/a1/x": 5, "/a[1]/xy": 5}
    assert by_path.of("/b/x/y/c").min_clicks == 3


def test_who_saves_a_document_is_told_of_all_that_is_wrong() -> None:
    """Of the detectors' section too, which the gateway itself does not refuse."""
    for zone in ("Europe/Pariss", "right/UTC", 5, ["UTC"], None):
        document = {
            "privacy": {"level": 9},
            "insights": {"hold_ms": -1},
            "currency": "euro",
            "timezone": zone,
        }
        assert [problem.partition(":")[0] for problem in settings_problems(document)] == [
            "privacy.level",
            "insights.hold_ms",
            "currency",
            "timezone",
        ]
    assert settings_problems({"timezone": "Europe/Paris"}) == []
    assert parse_settings({"insights": {"hold_ms": -1}}).document["insights"] == {"hold_ms": -1}
    assert settings_problems({"insights": {"preset": "posthog"}, "currency": "eur"}) == []
