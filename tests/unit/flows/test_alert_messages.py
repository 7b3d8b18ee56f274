"""Messages as people and programs get them, compared with files that people have read.

After a wanted change: remove the file, run the test once, and read what it wrote.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.core.alert_messages import (
    TEXT_LENGTH_MAX,
    DisabledChannel,
    Message,
    disabled_content,
    disabled_text,
    duration_text,
    sparkline,
    telegram_text,
    value_text,
    webhook_content,
    window_text,
)
from schemas.alert_delivery import Kind
from schemas.v1.alerts_pb2 import AlertTransition, PathCount
from tests.alert_transitions import at, make_rule, make_transition

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "alerts"
DASHBOARD = "https://gosight.example.com"
EVIL = '</b><a href="tg://x">&<script>"\'\n🚨 <b>Fake</b>\u202e\x00'


def message(
    kind: Kind = Kind.FIRED,
    transition: AlertTransition | None = None,
    *,
    dashboard_url: str = DASHBOARD,
    **rule: Any,
) -> Message:
    """A message about a firing at 10:01."""
    made = transition or make_transition("fired", at("10:01"), group={"path": "/cart"})
    return Message(
        kind,
        made,
        make_rule(**rule),
        made.alert_id,
        "Shop",
        dashboard_url,
        made.at_ms + 20_000,
    )


def evil() -> AlertTransition:
    """A transition with everything that visitors can write at its worst."""
    made = make_transition("fired", at("10:01"), group={"path": EVIL}, rule_name=EVIL)
    made.filters["path"] = EVIL
    made.sample_session_ids[0] = EVIL
    made.top_paths.append(PathCount(path=EVIL, count=2))
    return made


CASES: dict[str, Message] = {
    "fired": message(),
    "fired-critical": message(
        transition=make_transition("fired", at("10:01"), value=22.0, severity="critical"),
        runbook_url="https://wiki.example.com/rage?a=1&b=2",
    ),
    "fired-late": Message(
        Kind.FIRED, make_transition("fired", at("10:01"), is_late=True), make_rule(), "row", "Shop",
        DASHBOARD, at("10:55"),
    ),
    "fired-without-dashboard": message(dashboard_url=""),
    "fired-evil": message(transition=evil()),
    "still-firing": message(
        Kind.STILL_FIRING, make_transition("still_firing", at("10:17"), at("10:01"), value=31.0)
    ),
    "resolved": message(
        Kind.RESOLVED, make_transition("resolved", at("12:06"), at("10:01"), value=3.0)
    ),
    "resolved-without-value": message(
        Kind.RESOLVED, make_transition("resolved", at("10:09"), at("10:01"), value=None)
    ),
    "absence": message(
        transition=make_transition(
            "fired", at("10:10"), condition_type="absence", metric="pageviews", operator="",
            threshold=0.0, value=0.0, severity="critical", window_ms=600_000,
        )
    ),
    "anomaly": message(
        transition=make_transition(
            "fired", at("10:01"), condition_type="anomaly", operator="", threshold=15.93, value=16.0
        )
    ),
    "error-rate": message(
        transition=make_transition(
            "fired", at("10:01"), metric="error_rate", threshold=5.0, value=7.25
        )
    ),
    "slow-lcp": message(
        transition=make_transition(
            "fired", at("10:01"), metric="avg_lcp", threshold=4000.0, value=4210.4,
            filters={"path": "/checkout*"}, window_ms=3_600_000,
        )
    ),
    "test": message(Kind.TEST),
}  # fmt: skip
OFF = DisabledChannel(
    "webhook", "hooks.example.com:443", 20, at("08:00"), "answered 500", "rule", "Rage <b>"
)


def golden(name: str, text: str) -> None:
    """Equal to the file of this name, which is written if there is none."""
    path = GOLDEN / name
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{name} was written: read it, then run again")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_telegram_texts_are_as_read(name: str) -> None:
    """Each text is the one of its file."""
    golden(f"{name}.telegram.html", telegram_text(CASES[name]) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_webhook_bodies_are_as_read(name: str) -> None:
    """Each document is the one of its file, and is JSON."""
    content = webhook_content(CASES[name])
    golden(f"{name}.webhook.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def test_notices_of_channels_are_as_read() -> None:
    """What the others hear when one is switched off."""
    golden("channel-disabled.telegram.html", disabled_text(OFF) + "\n")
    golden("channel-disabled.webhook.json", json.dumps(disabled_content(OFF), indent=2) + "\n")


_TAG = re.compile(r"</?[a-z]+[^>]*>")
_WRITTEN = re.compile(r'</?(?:b|code)>|<a href="https://[^"<>]*">|</a>')


def assert_well_formed(text: str) -> None:
    """Only tags of ours, each closed, none within another of its kind."""
    open_tags: list[str] = []
    for tag in _TAG.findall(text):
        assert _WRITTEN.fullmatch(tag), tag
        name = re.sub(r"[</>]|\s.*", "", tag.partition(" ")[0])
        if tag.startswith("</"):
            assert open_tags.pop() == name
        else:
            open_tags.append(name)
    assert open_tags == []
    assert "<" not in _TAG.sub("", text)


ANY_TEXT = st.text(max_size=400)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=8), st.booleans())
def test_no_text_of_a_visitor_becomes_markup(
    name: str, path: str, wanted: str, paths: list[str], has_dashboard: bool
) -> None:
    """Whatever it is: tags are ours, lines are ours, and Telegram takes the length."""
    made = make_transition("fired", at("10:01"), group={"path": path}, rule_name=name)
    made.filters["path"] = wanted
    made.sample_session_ids.extend(paths)
    made.top_paths.extend(PathCount(path=text, count=1) for text in paths)
    text = telegram_text(message(transition=made, dashboard_url=DASHBOARD if has_dashboard else ""))
    assert_well_formed(text)
    assert len(text.encode("utf-16-le")) // 2 <= TEXT_LENGTH_MAX
    lines = text.splitlines()
    assert sum(line.startswith("📍") for line in lines) <= 1
    assert len(lines) < 30
    json.dumps(webhook_content(message(transition=made)))


def test_what_matters_least_is_left_out_first() -> None:
    """A text that is too long loses filters, sessions and paths, never its figures or group."""
    made = make_transition("fired", at("10:01"), group={"path": "&" * 500}, rule_name="&" * 255)
    for key in ("path", "browser", "country"):
        made.filters[key] = "&" * 500
    made.top_paths.extend(PathCount(path="&" * 500, count=1) for _ in range(5))
    text = telegram_text(message(transition=made))
    assert len(text) <= TEXT_LENGTH_MAX
    assert "📍" in text
    assert "View in Dashboard" in text
    assert "🔎" not in text
    assert html.unescape(text).count("&") >= 398


def test_long_paths_are_cut_at_200() -> None:
    """With a sign that something is missing."""
    made = make_transition("fired", at("10:01"), group={"path": "/" + "a" * 500})
    line = next(
        line for line in telegram_text(message(transition=made)).splitlines() if "📍" in line
    )
    assert line == "📍 <b>Path:</b> /" + "a" * 198 + "…"


def test_no_text_of_a_visitor_begins_a_line() -> None:
    """Nor with the separators of lines and paragraphs that Unicode has."""
    path = "/a\u2028📈 Value: 0\u2029✅ all is well\x85\x0b\x0c\x1c"
    lines = telegram_text(
        message(transition=make_transition("fired", at("10:01"), group={"path": path}))
    ).splitlines()
    assert [line for line in lines if "📍" in line] == [
        "📍 <b>Path:</b> /a 📈 Value: 0 ✅ all is well"
    ]


def test_values_have_units() -> None:
    """Counts whole, shares with one decimal, times in milliseconds, money with two."""
    assert value_text("rage_clicks", 11.0) == "11"
    assert value_text("rage_clicks", 15.93) == "15.93"
    assert value_text("error_rate", 7.25) == "7.2%"
    assert value_text("avg_lcp", 4210.4) == "4210 ms"
    assert value_text("revenue", 12.5) == "12.50"
    assert value_text("errors", float("nan")) == "none"
    assert (window_text(300_000), window_text(3_600_000), window_text(5_400_000)) == (
        "5m", "1h", "90m",
    )  # fmt: skip


def test_times_and_courses_are_readable() -> None:
    """Durations in two units at most, courses from zero to the largest."""
    texts = [duration_text(value * 1000) for value in (-1, 8, 480, 7200, 7500, 90_000, 273_600)]
    assert texts == ["0 s", "8 s", "8 min", "2 h", "2 h 5 min", "1 d 1 h", "3 d 4 h"]
    assert sparkline([0, 1, 2, 4]) == "▁▃▅█"
    assert sparkline([5, 5]) == "██"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
    assert sparkline([1, float("nan"), -1]) == "█ ▁"
