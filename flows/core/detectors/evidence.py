"""What exclusions know of the events around an insight, and what an exclusion is.

In: events of one session. Out: `Evidence`, a short copy that can be kept with the state. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from flows.core.detectors.targets import (
    KnownTargets,
    is_disabled,
    is_slider,
    labels_of,
    link_of,
    looks_interactive,
)
from flows.core.insight import Finding
from flows.core.session_event import (
    Click,
    Ended,
    Mutation,
    PageError,
    SessionEvent,
    Target,
    Vitals,
)

# An error this soon after a click may be the click's.
NEAR_CLICK_MS = 1_000
MESSAGE_CHARS = 200
LABEL_CHARS = 64
SLIDER, DISABLED = "slider", "disabled"
# Longer than any wait of an exclusion; of longer bursts of clicks the end decides.
REMEMBERED_MS = 12_000


class Evidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event. `view_id` names the page's view. Of a click, `tag` is that of its target, or
    `SLIDER` or `DISABLED`, and `labels` are what that is called. `note` depends on the kind:

    click: where its link points; dom_mutation: the click and what happened, in words; page_load:
    the time to the first byte; session_end: its reason; an error: what it says, if no click was
    near.
    """

    kind: str
    at_ms: int
    event_id: str
    view_id: str
    path: str
    note: str = ""
    selector: str = ""
    tag: str = ""
    x: int | None = None
    y: int | None = None
    is_control: bool = False
    labels: tuple[str, ...] = ()


Seen = Sequence[Evidence]


@dataclass(frozen=True)
class Exclusion:
    """One reason, by the name of `schemas.detection_settings.EXCLUSIONS`.

    `says` is what users read of it. `skips` tells whether the detector is not to see clicks on a
    target, with `unless_observed` those alone of which the page did not report what they changed;
    `hides` so of any event; `covers` whether this is the reason of what was found, as far as is
    known: what comes later may make it the reason, but never unmake it. `takes` are the kinds of
    its evidence, each with how long before a finding (or a hidden event) it may matter; see
    `exclusion_judge`. Where `waits` agrees, a finding may be covered until `wait_ms` after its
    time.
    """

    name: str
    says: str
    skips: Callable[[Target], bool] | None = None
    unless_observed: bool = False
    hides: Callable[[SessionEvent, Seen], bool] | None = None
    covers: Callable[[Finding, Seen], bool] | None = None
    takes: Mapping[str, int] = field(default_factory=dict)
    wait_ms: int = 0
    waits: Callable[[Finding], bool] | None = None


def since_then(*kinds: str) -> dict[str, int]:
    """Evidence that matters only from the time of the finding on."""
    return dict.fromkeys(kinds, 0)


def _facts_of(target: Target) -> tuple[str, str, str, bool, tuple[str, ...]]:
    """Link, selector, tag, whether it is a control, and labels."""
    tag = DISABLED if is_disabled(target) else SLIDER if is_slider(target) else target.tag.lower()
    return (
        link_of(target) or "",
        target.selector,
        tag,
        looks_interactive(target),
        tuple(sorted([each for each in labels_of(target) if len(each) <= LABEL_CHARS])),
    )


_facts = KnownTargets(_facts_of)


def evidence_of(event: SessionEvent, seen: Seen) -> Evidence:
    """What is to be known of an event, given what was seen before."""
    body, view_id, path = event.body, event.visitor.page_view_id, event.page.path
    if isinstance(body, Click):
        link, selector, tag, is_control, labels = _facts.of(body.target)
        return Evidence(
            event.kind,
            event.at_ms,
            event.event_id,
            view_id,
            path,
            link,
            selector,
            tag,
            body.x,
            body.y,
            is_control,
            labels,
        )
    note = ""
    if isinstance(body, Mutation):
        note = " ".join((body.click_event_id or "-", *body.kinds))
    elif isinstance(body, Vitals):
        note = "" if body.ttfb is None else str(body.ttfb)
    elif isinstance(body, Ended):
        note = body.reason
    elif isinstance(body, PageError):
        is_near = any(
            each.kind == "click" and event.at_ms - each.at_ms <= NEAR_CLICK_MS for each in seen
        )
        note = "" if is_near else error_note(body.error_type, body.message)
    return Evidence(event.kind, event.at_ms, event.event_id, view_id, path, note)


def error_note(error_type: str, message: str) -> str:
    """What tells errors apart."""
    return f"{error_type}: {message[:MESSAGE_CHARS]}"


def anchor_of(finding: Finding, seen: Seen) -> Evidence | None:
    """The event that an insight is anchored to, if it is known."""
    return next((each for each in seen if each.event_id == finding.anchor_event_id), None)


def clicks_of(finding: Finding, seen: Seen) -> list[Evidence]:
    """The clicks that an insight is made of, as far as they are known."""
    ids = set(finding.related_event_ids)
    return [each for each in seen if each.kind == "click" and each.event_id in ids]
