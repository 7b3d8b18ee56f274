"""The reasons that keep an insight away, each for the types of insight it is for.

In: names of those that are switched on. Out: for each type of insight its `Exclusion`s. What each
says to users is with it, and docs/detectors.md is made of it. Source: mission-map.md, section 4.4,
and detectors.md, section 1.4, where no other reason is given. Reasons that look at pages being
left and shown are in `page_exclusions`.
"""

from __future__ import annotations

from flows.core.detectors.evidence import (
    DISABLED,
    NEAR_CLICK_MS,
    SLIDER,
    Evidence,
    Exclusion,
    Seen,
    anchor_of,
    clicks_of,
    error_note,
    since_then,
)
from flows.core.detectors.page_exclusions import BESIDE, FORM_SENT, HIDDEN_PAGE, SLOW_NAVIGATION
from flows.core.detectors.targets import input_type, is_editable, labels_of, link_of
from flows.core.insight import Finding
from flows.core.session_event import Click, PageError, SessionEvent, Target

# Two events of one press: no person presses twice within this, and browsers send both at once.
TWIN_MS = 50
AFTER_MS = 500  # A selection or an answer is told soon after the press that made it.
ERROR_MEMORY_MS = 300_000
DRAWING_MS = 1_000
_CANVAS_TAG = "canvas"
IGNORED_CLASS = "gosight-ignore"  # Source: privacy.md, section 2.
# Until so long after a click a scroll is its doing. Source: mission-map.md, section 4.2, Sentry.
SCROLLS_MS = 300
# Who clicks faster than that does not look at each answer. Source: `rearm_ms`, detectors.md, 1.4.
HASTY_MS = 2_000
AGAIN_MS = 1_000  # Source: mission-map.md, section 4.4, PostHog and Sentry.
# Four of five clicks must be answered: the rest is for the end of a scale, and for markers lost.
ANSWERED, OF_CLICKS = 4, 5
PICKERS = frozenset({"file", "color", "radio", "range"})
PLAYER_MOVES = ("media_seek", "media_complete")
ERRORS = ("js_error", "unhandled_rejection", "form_error")
CHANGES = frozenset({"mutation", "dialog", "download"})
_ANSWERS = since_then(
    "click", "dom_mutation", "input_change", "media_play", "media_pause", "media_seek"
)
# What browsers report as errors although nothing failed.
NOISE = ("ResizeObserver loop",)


def _opt_out(*attributes: str) -> Exclusion:
    names = ("data-gosight-ignore", *attributes)

    def is_meant(target: Target) -> bool:
        values = target.attributes
        return IGNORED_CLASS in target.classes or any(
            values.get(name, "false").lower() != "false" for name in names
        )

    return Exclusion(
        "opt_out",
        "The site says so, by `data-gosight-ignore` or the class `gosight-ignore` on the element, "
        "by `data-gosight-no-rage` for rage clicks or by `data-gosight-no-dead` for dead clicks.",
        skips=is_meant,
    )


def _labels(labels: frozenset[str], *, asks_for_answers: bool) -> Exclusion:
    def is_meant(target: Target) -> bool:
        return not labels.isdisjoint(labels_of(target))

    def is_working(finding: Finding, seen: Seen) -> bool:
        clicks = clicks_of(finding, seen)
        meant = sum([not labels.isdisjoint(each.labels) for each in clicks])
        return 2 * meant > len(clicks) and any(_answered(finding, clicks, seen))

    return Exclusion(
        "labels",
        "Steppers and pagers are meant to be clicked fast. They are known by their text, name, "
        "`aria-label` or `title`, which must equal one of `rage_click.exclude_labels`. Where the "
        "page reports what clicks change, and with `answered`, one of the clicks must have changed "
        "something: who hammers on a pager that is dead is annoyed.",
        skips=is_meant,
        unless_observed=asks_for_answers,
        covers=is_working if asks_for_answers else None,
        takes=_ANSWERS if asks_for_answers else {},
    )


def _is_canvas(target: Target) -> bool:
    return target.tag.lower() == _CANVAS_TAG


_TEXT_FIELD = Exclusion(
    "text_field",
    "A click into a field or an editable text places the caret or selects a word; nothing else "
    "needs to happen.",
    skips=is_editable,
)
_CANVAS = Exclusion(
    "canvas",
    "Games and drawings answer by pixels, which nobody sees from outside; there, clicking and "
    "moving fast is the purpose. So is moving fast while a slider is dragged.",
    skips=_is_canvas,
)
_NATIVE_CONTROL = Exclusion(
    "native_control",
    "The browser itself answers: a file or colour dialog is no part of the page, and a click on "
    "the radio button that is chosen already, or on a slider, may change nothing.",
    skips=lambda target: input_type(target) in PICKERS,
)
_NEW_TAB = Exclusion(
    "new_tab",
    "A link that opens beside (`target=_blank`) leaves its own page as it was.",
    skips=lambda target: (
        link_of(target) is not None and target.attributes.get("target") == "_blank"
    ),
)


def _is_twin(event: SessionEvent, seen: Seen) -> bool:
    click = event.body
    if event.kind != "click" or not isinstance(click, Click):
        return False
    for each in reversed(seen):
        if event.at_ms - each.at_ms > TWIN_MS:
            return False
        if (
            each.kind == "click"
            and (each.x, each.y) == (click.x, click.y)
            and each.selector != click.target.selector
        ):
            return True
    return False


_LABEL_TWIN = Exclusion(
    "label_twin",
    "A press on a label gives two click events, its own and that of the field it is for: same "
    f"place, another element, at most {TWIN_MS} ms apart. They count as one.",
    hides=_is_twin,
    takes={"click": TWIN_MS},
)


def _is_selecting(finding: Finding, seen: Seen) -> bool:
    clicks = clicks_of(finding, seen)
    if 2 * sum([each.is_control for each in clicks]) > len(clicks):
        return False
    return any(
        (
            each.kind == "text_select"
            or (each.kind == "dom_mutation" and "selection" in each.note.split())
        )
        and finding.at_ms <= each.at_ms <= finding.ended_at_ms + AFTER_MS
        for each in seen
    )


_TEXT_SELECTION = Exclusion(
    "text_selection",
    "Double and triple clicks select text. Not where most clicks were on what looks like a "
    "control: there the selection is a by-product of hammering.",
    covers=_is_selecting,
    takes=since_then("click", "text_select", "dom_mutation"),
)


def _is_scrolled(finding: Finding, seen: Seen) -> bool:
    return any(
        each.kind == "scroll" and finding.at_ms < each.at_ms < finding.ended_at_ms for each in seen
    )


_SCROLLED = Exclusion(
    "scrolled",
    "The page was scrolled between the clicks, so they were meant for different things.",
    covers=_is_scrolled,
    takes=since_then("scroll"),
)


def _is_answered(finding: Finding, seen: Seen) -> bool:
    clicks = clicks_of(finding, seen)
    last_ms = finding.ended_at_ms + AFTER_MS
    if not clicks or any(
        each.kind in ERRORS and finding.at_ms <= each.at_ms <= last_ms for each in seen
    ):
        return False
    # Those on a control that has come to its end are one too many, and no more.
    active = [
        is_answered
        for click, is_answered in zip(clicks, _answered(finding, clicks, seen), strict=True)
        if click.tag != DISABLED
    ]
    is_most = 2 * len(active) > len(clicks)
    return is_most and OF_CLICKS * sum(active) >= ANSWERED * len(active)


def _answered(finding: Finding, clicks: Seen, seen: Seen) -> list[bool]:
    """Of each click whether it was answered before the next one."""
    ends = [each.at_ms for each in clicks[1:]] + [finding.ended_at_ms + AFTER_MS]
    return [
        any(_answers(each, click, end_ms) for each in seen)
        for click, end_ms in zip(clicks, ends, strict=True)
    ]


def _answers(each: Evidence, click: Evidence, end_ms: int) -> bool:
    """Whether this is the answer to a click, before the next one at `end_ms`."""
    if not click.at_ms <= each.at_ms <= end_ms:
        return False
    if each.kind == "dom_mutation":
        # A marker names its click and what happened; a caret or a selection is no answer.
        words = each.note.split()  # None of one that was sent without its payload.
        return words[:1] == [click.event_id] and not CHANGES.isdisjoint(words[1:])
    return each.kind == "input_change" or each.kind.startswith("media_")


_ANSWERED = Exclusion(
    "answered",
    "Each click did something: a control that works is used, fast. Four of five clicks must have "
    "changed the page (or a field, or played or paused) before the next one; clicks after the "
    "control was disabled do not count. Not if an error came in between: then what changed was not "
    "what was wanted.",
    covers=_is_answered,
    takes={**_ANSWERS, **since_then(*ERRORS)},
)


def _is_clicked_again(finding: Finding, seen: Seen) -> bool:
    dead = anchor_of(finding, seen)
    if dead is None:
        return False
    within_ms = HASTY_MS if dead.tag == DISABLED else AGAIN_MS
    before = [
        each
        for each in seen
        if each.kind == "click"
        and each.event_id != dead.event_id
        and each.selector == dead.selector
        and dead.at_ms - within_ms <= each.at_ms <= dead.at_ms
    ]
    return bool(before) and any(_answers(each, before[-1], dead.at_ms) for each in seen)


_CLICKED_AGAIN = Exclusion(
    "clicked_again",
    f"The click before it, on the same element at most {AGAIN_MS // 1_000} s earlier "
    f"({HASTY_MS // 1_000} s if that is disabled now), was answered: some people click everything "
    "twice, and a pager that came to its end is clicked once more.",
    covers=_is_clicked_again,
    takes=dict.fromkeys(_ANSWERS, HASTY_MS),
)


def _is_player_moved(finding: Finding, seen: Seen) -> bool:
    window_ms = finding.details["observation_window_ms"]
    return any(
        each.kind in PLAYER_MOVES and 0 <= each.at_ms - finding.at_ms <= window_ms for each in seen
    )


_PLAYER_MOVED = Exclusion(
    "player_moved",
    "A sound or video that jumps to another place, or to its end, has done what it was told.",
    covers=_is_player_moved,
    takes=since_then(*PLAYER_MOVES),
)


def _is_page_moved(finding: Finding, seen: Seen) -> bool:
    scrolls = [each.at_ms - finding.at_ms for each in seen if each.kind == "scroll"]
    return any(0 <= after_ms <= SCROLLS_MS for after_ms in scrolls) and not any(
        -SCROLLS_MS <= after_ms < 0 for after_ms in scrolls
    )


_PAGE_MOVED = Exclusion(
    "page_moved",
    f"The page was at rest and began to scroll at most {SCROLLS_MS} ms after the click: that is "
    "what such a button is for.",
    covers=_is_page_moved,
    takes={"scroll": SCROLLS_MS},
)


def _is_drawing(finding: Finding, seen: Seen) -> bool:
    first_ms, last_ms = finding.at_ms - DRAWING_MS, finding.ended_at_ms + DRAWING_MS
    return any(
        each.tag in (_CANVAS_TAG, SLIDER)
        and each.path == finding.path
        and first_ms <= each.at_ms <= last_ms
        for each in seen
    )


_DRAWING = Exclusion(
    _CANVAS.name,
    _CANVAS.says,
    covers=_is_drawing,
    takes={"click": DRAWING_MS},
)


def _is_noise(event: SessionEvent, seen: Seen) -> bool:
    return isinstance(event.body, PageError) and event.body.message.startswith(NOISE)


_BROWSER_NOISE = Exclusion(
    "browser_noise",
    f"Browsers report `{NOISE[0]} ...` as an error although nothing failed.",
    hides=_is_noise,
)


def _is_background(finding: Finding, seen: Seen) -> bool:
    note = error_note(finding.details["error_type"], finding.details["error_message"])
    return any(each.note == note and each.at_ms < finding.at_ms for each in seen)


_BACKGROUND_ERROR = Exclusion(
    "background_error",
    "The same error came before, within five minutes and with no click near it: a timer that "
    "fails again and again would otherwise be blamed on whatever is clicked.",
    covers=_is_background,
    takes={
        "click": NEAR_CLICK_MS,
        "js_error": ERROR_MEMORY_MS,
        "unhandled_rejection": ERROR_MEMORY_MS,
    },
)


def all_exclusions(
    labels: frozenset[str], *, asks_for_answers: bool = True
) -> dict[str, tuple[Exclusion, ...]]:
    """By type of insight; whether steppers must work is told by `asks_for_answers`."""
    return {
        "rage_click": (
            _opt_out("data-gosight-no-rage"),
            _labels(labels, asks_for_answers=asks_for_answers),
            _TEXT_FIELD,
            _CANVAS,
            _LABEL_TWIN,
            _TEXT_SELECTION,
            _SCROLLED,
            _ANSWERED,
        ),
        "dead_click": (
            _opt_out("data-gosight-no-dead"),
            _TEXT_FIELD,
            _CANVAS,
            _NATIVE_CONTROL,
            _NEW_TAB,
            _CLICKED_AGAIN,
            _PLAYER_MOVED,
            _PAGE_MOVED,
            SLOW_NAVIGATION,
        ),
        "error_click": (_opt_out(), _BROWSER_NOISE, _BACKGROUND_ERROR),
        "thrashed_cursor": (_DRAWING,),
        "u_turn": (BESIDE, FORM_SENT),
        "slow_page": (HIDDEN_PAGE,),
    }


def exclusions_for(
    insight_type: str, names: frozenset[str], labels: frozenset[str]
) -> tuple[Exclusion, ...]:
    """Those of one type of insight that are switched on."""
    found = all_exclusions(labels, asks_for_answers=_ANSWERED.name in names)[insight_type]
    return tuple(each for each in found if each.name in names)
