"""What a person expects of a click, and which events answer it; one rule for each preset.

In: the target of a click. Out: an `Expectation`, or the reason why the click is not judged. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flows.core.detectors.targets import (
    has_click_attribute,
    is_editable,
    is_outside,
    looks_interactive,
)
from flows.core.session_event import Click

# Source: the table of detectors.md, section 3. Each row holds the one before.
_NAVIGATE = ("page_view", "page_exit", "page_hidden", "dom_mutation")
_MUTATE = (
    *_NAVIGATE, "form_start", "form_submit", "form_error", "input_focus", "input_change",
    "media_play", "media_pause", "text_select",
)  # fmt: skip
_HANDLE = (
    *_MUTATE, "xhr_request", "fetch_request", "websocket_open", "custom_event", "identify",
    "js_error", "unhandled_rejection", "copy", "cut", "paste",
)  # fmt: skip
_HANDLE_HERE = (*_HANDLE, "scroll")


@dataclass(frozen=True)
class Expectation:
    """What is expected (navigate, mutate, handle) and what answers: kinds, and within how long.

    `within_ms` is a limit of its own for a kind; the observation window counts for all others.
    """

    expected: str
    reason: str
    answers: frozenset[str]
    within_ms: Mapping[str, int]

    def is_answered(self, kind: str, after_ms: int) -> bool:
        """Whether an event of this kind answers, so long after the click."""
        return kind in self.answers and after_ms <= self.within_ms.get(kind, after_ms)


def _row(expected: str, reason: str, kinds: tuple[str, ...], **within_ms: int) -> Expectation:
    return Expectation(expected, reason, frozenset(kinds), within_ms)


ROWS: Mapping[str, Expectation] = {
    "navigate": _row("navigate", "no_navigation", _NAVIGATE),
    "mutate": _row("mutate", "no_mutation", _MUTATE),
    "handle": _row("handle", "no_handler", _HANDLE),
    "handle_here": _row("handle", "no_handler", _HANDLE_HERE),
    # Source: mission-map.md, section 4.2: mutation in the whole window, the others in 100 ms.
    "posthog": _row(
        "mutate", "no_mutation", ("dom_mutation", "scroll", "text_select", "page_hidden"),
        scroll=100, text_select=100, page_hidden=100,
    ),
    "datadog": _row(
        "handle", "no_handler",
        ("dom_mutation", "xhr_request", "fetch_request", "websocket_open", "page_view",
         "page_exit", "input_change", "scroll"),
    ),
}  # fmt: skip
ANSWER_KINDS = frozenset().union(*(row.answers for row in ROWS.values()))

# A rule says by which row a click is judged, or why it is not: (row, "") or ("", reason).
DeadRule = Callable[[Click], tuple[str, str]]


def gosight_rule(click: Click) -> tuple[str, str]:
    """What looks interactive is judged by what it looks like. Source: detectors.md, section 3."""
    target = click.target
    if not looks_interactive(target):
        return "", "not_interactive"
    if is_outside(target) and target.tag.lower() == "a":
        return "", "answered_outside"
    row = _row_of(click)
    if row != "navigate" and click.dom_observed is False:
        return "", "not_observed"
    return row, ""


def _row_of(click: Click) -> str:
    target = click.target
    tag = target.tag.lower()
    if tag == "a" and target.href is not None:
        href = target.href.strip().lower()
        if href.startswith("#"):
            return "handle_here"
        return "handle" if href.startswith("javascript:") else "navigate"
    if tag in ("button", "input") or has_click_attribute(target):
        return "handle"
    return "mutate"


def posthog_rule(click: Click) -> tuple[str, str]:
    """Any element but the page itself and links. Source: mission-map.md, section 4.2."""
    if click.target.tag.lower() in ("html", "a"):
        return "", "not_judged_there"
    return ("", "not_observed") if click.dom_observed is False else ("posthog", "")


def datadog_rule(click: Click) -> tuple[str, str]:
    """Any element but fields, drawings and links. Source: mission-map.md, section 4.2."""
    target = click.target
    if is_editable(target) or target.tag.lower() in ("a", "canvas"):
        return "", "not_judged_there"
    return ("", "not_observed") if click.dom_observed is False else ("datadog", "")
