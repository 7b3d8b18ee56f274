"""Changed rules: what they do to a settings document, and how a wrong one is told."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.period import BadPeriodError, period_ms
from cli.rule_changes import (
    BadChangeError,
    changed_document,
    changed_types,
    differences,
    settings_of,
)
from schemas.detection_settings import DEFAULTS

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS + 5


def changed(*changes: str, own: Any = None, preset: str | None = None) -> dict[str, Any]:
    """The changed section `insights` of a document."""
    section: dict[str, Any] = changed_document({"insights": own or {}}, changes, preset)["insights"]
    return section


def test_a_change_is_merged_over_what_the_project_says() -> None:
    """Other settings stay, and the document that was given is not touched."""
    own = {"rage_click": {"radius_px": 40}, "hold_ms": 0}
    found = changed("rage_click.min_clicks=3", "insights.u_turn.enabled=false", own=own)
    assert found == {
        "rage_click": {"radius_px": 40, "min_clicks": 3},
        "u_turn": {"enabled": False},
        "hold_ms": 0,
    }
    assert own == {"rage_click": {"radius_px": 40}, "hold_ms": 0}


def test_a_preset_leaves_what_the_project_says() -> None:
    """Its values count where nothing else is said."""
    found = changed("rage_click.min_clicks=4", own={"rage_click": {"radius_px": 77}},
                    preset="posthog")  # fmt: skip
    params = settings_of({"insights": found}).params["rage_click"].default
    assert (params.min_clicks, params.radius_px, params.time_window_ms) == (4, 77, 1_000)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rage_click.min_clicks", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("rage_klick.min_clicks=3", "there is no detector rage_klick; there are: rage_click"),
        ("rage_click.clicks=3", "rage_click has enabled, min_clicks"),
        ("rage_clicks=3", "unknown key; there are: rage_click"),
        ("rage_click=3", "give its parameters one by one, such as rage_click.min_clicks"),
        ('rage_click={"min_clicks":3}', "give rage_click.min_clicks=3"),
        (
            'u_turn={"enabled":false,"min_time_away_ms":300}',
            "give u_turn.enabled=false, u_turn.min_time_away_ms=300",
        ),
        ("rage_click.min_clicks=1", "whole number from 2"),
        ("rage_click.min_clicks=many", "whole number"),
        ("rage_click.min_clicks=3.5", "whole number"),
        ("rage_click.radius_px=501", "from 1 to 500"),
        ("dead_click.observation_window_ms=99", "from 100 to 60000"),
        ("rage_click.enabled=perhaps", "enabled"),
        ("max_episode_ms=-1", "max_episode_ms"),
        ("hold_ms=1000", "looked at as a whole"),
        ("insights.hold_ms=1000", "looked at as a whole"),
        ("preset=best", "must be one of"),
        ('exclusions=["nothing"]', "nothing"),
    ],
)
def test_a_wrong_change_is_told_in_words(change: str, said: str) -> None:
    """Unknown keys are told with those there are, values with their bounds."""
    with pytest.raises(BadChangeError, match="--set") as told:
        changed(change)
    assert said in str(told.value)


def test_wrong_settings_of_the_project_are_not_held_against_a_change() -> None:
    """Only what the change itself brings is refused."""
    own = {"rage_click": {"min_clicks": 1}, "no_such": 1}
    assert changed("u_turn.max_time_away_ms=5000", own=own)["u_turn"]
    assert changed_document({"insights": [1]}, ["max_episode_ms=900"], None)["insights"] == {
        "max_episode_ms": 900
    }


def test_nothing_and_unknown_presets_are_refused() -> None:
    """A backtest without a change would compare nothing."""
    for changes, preset in (((), None), ((), "best")):
        with pytest.raises(BadChangeError):
            changed_document({}, changes, preset)


@pytest.mark.parametrize(
    ("changes", "types"),
    [
        (["rage_click.min_clicks=3"], {"rage_click"}),
        (["rage_click.min_clicks=5"], set()),
        (["max_episode_ms=30000"], {"rage_click", "thrashed_cursor"}),
        (['ignore_selectors=["#x"]'], {"rage_click", "dead_click", "error_click"}),
        (['rage_click.exclude_labels=["more"]'], {"rage_click"}),
        (['paths=[{"path": "/a", "u_turn": {"enabled": false}}]'], {"u_turn"}),
        (['exclusions=["canvas"]'], {"rage_click", "dead_click", "thrashed_cursor"}),
        (['exclusions=["browser_noise"]'], {"error_click"}),
        (["preset=posthog"], set(DEFAULTS)),
    ],
)
def test_only_detectors_that_a_change_can_matter_to_are_run(
    changes: list[str], types: set[str]
) -> None:
    """The others would find the same twice."""
    old, new = settings_of({}), settings_of(changed_document({}, changes, None))
    assert changed_types(old, new) == types
    assert bool(differences(old, new)) == (changes != ["rage_click.min_clicks=5"])


def test_differences_are_named_by_key() -> None:
    """Old and new value; a value that follows another is there, too."""
    new = settings_of(changed_document({}, ["slow_page.lcp_threshold_ms=2500"], None))
    assert differences(settings_of({}), new) == {
        "slow_page.lcp_threshold_ms": (3_000, 2_500),
        "slow_page.load_threshold_ms": (3_000, 2_500),
    }


@pytest.mark.parametrize(
    ("begin", "end", "period"),
    [
        ("1d", "now", (NOW_MS - DAY_MS, NOW_MS)),
        ("2d", "1d", (NOW_MS - 2 * DAY_MS, NOW_MS - DAY_MS)),
        ("1970-01-02", "1970-01-03T12:00Z", (DAY_MS, 2 * DAY_MS + DAY_MS // 2)),
    ],
)
def test_periods_are_read(begin: str, end: str, period: tuple[int, int]) -> None:
    """So long ago, days and date-times, in UTC."""
    assert period_ms(begin, end, NOW_MS) == period


@pytest.mark.parametrize(
    ("begin", "end"), [("soon", "now"), ("1d", "2d"), ("1d", "1d"), ("1d", "later")]
)
def test_bad_periods_are_refused(begin: str, end: str) -> None:
    """Naming the option, and what is taken."""
    with pytest.raises(BadPeriodError, match="--"):
        period_ms(begin, end, NOW_MS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "rage_click.min_clicks=1"], "whole number from 2"),
        (["--preset", "best"], "there is no preset best"),
        ([], "nothing is changed"),
        (["--set", "max_episode_ms=900", "--from", "soon"], "--from soon"),
    ],
)
def test_wrong_calls_are_told_before_any_server_is_asked(arguments: list[str], said: str) -> None:
    """One line and exit code 1."""
    result = CliRunner().invoke(app, ["backtest", *arguments], env={"NO_COLOR": "1"})
    assert result.exit_code == 1
    assert said in result.output
