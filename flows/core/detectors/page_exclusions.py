"""Exclusions that look at pages being shown, hidden and left; see `exclusions`."""

from __future__ import annotations

from urllib.parse import urlsplit

from flows.core.detectors.evidence import Evidence, Exclusion, Seen, anchor_of, since_then
from flows.core.insight import Finding

NAVIGATION_WAIT_MS = 10_000  # Who waits longer has been told by the browser that it failed.
NAVIGATION_START_MS = 1_000  # From the click to the request, as far as it can be told.
SAME_TIME_MS = 50
PAGES_MEMORY_MS = 90_000  # The longest time away, 60 s, with room for the visit before.
HIDDEN_EXIT_MS = 1_000  # A page that is left is hidden at about the same time.


def _is_link(finding: Finding) -> bool:
    return bool(finding.details["expected"] == "navigate")


def _is_slow_navigation(finding: Finding, seen: Seen) -> bool:
    click = anchor_of(finding, seen)
    if click is None or not _is_link(finding):
        return False
    end_ms = click.at_ms + NAVIGATION_WAIT_MS
    after = [each for each in seen if click.at_ms < each.at_ms <= end_ms]
    for each in after:
        if each.kind == "click" and each.selector != click.selector:
            end_ms = each.at_ms
            break
    left = [
        each
        for each in after
        if each.at_ms < end_ms
        and each.kind in ("page_exit", "session_end")
        and each.view_id == click.view_id
    ]
    link = urlsplit(click.note)
    if link.netloc and link.netloc != urlsplit(finding.url).netloc:
        return any(each.note == "navigation" for each in left)
    view = next(
        (each for each in after if each.kind == "page_view" and each.view_id != click.view_id), None
    )
    if view is None or view.at_ms > end_ms:
        return False
    if view.path.rstrip("/") == _path_of_link(finding.path, link.path).rstrip("/"):
        return True  # Also if it was opened beside, with a key held down.
    return bool(left) and any(
        each.kind == "page_load"
        and each.view_id == view.view_id
        and each.note != ""
        and view.at_ms - int(each.note) <= click.at_ms + NAVIGATION_START_MS
        for each in seen
    )


def _path_of_link(base: str, path: str) -> str:
    """A link's path on its page; relative ones begin at the folder."""
    if not path:
        return base
    return path if path.startswith("/") else f"{base.rpartition('/')[0]}/{path}"


SLOW_NAVIGATION = Exclusion(
    "slow_navigation",
    f"The link works, only slowly, and the browser shows that it is loading: within "
    f"{NAVIGATION_WAIT_MS // 1_000} s, without a click elsewhere, the page that it points to is "
    "shown, or this one is left for a page that was asked for at the time of the click (a "
    "redirect), or for another site.",
    covers=_is_slow_navigation,
    takes=since_then("click", "page_view", "page_exit", "page_load", "session_end"),
    wait_ms=NAVIGATION_WAIT_MS,
    waits=_is_link,
)


def _is_beside(finding: Finding, seen: Seen) -> bool:
    left_id, back_ms = finding.related_event_ids[1], finding.at_ms
    left_ms = back_ms - finding.details["time_away_ms"]
    left_view = next((each.view_id for each in seen if each.event_id == left_id), "")
    path = urlsplit(finding.details["from_url"]).path
    # The view that was looked at last: a reload has a view of its own.
    views = [
        each.view_id
        for each in seen
        if each.path == path
        and each.at_ms < left_ms
        and each.view_id != left_view
        and each.kind != "page_exit"
    ]
    if not views or not views[-1]:
        return False
    own: list[Evidence] = [each for each in seen if each.view_id == views[-1]]
    if any(each.kind == "page_exit" and each.at_ms <= left_ms + SAME_TIME_MS for each in own):
        return False
    return any(
        (each.kind == "page_hidden" and each.at_ms <= left_ms + SAME_TIME_MS)
        or (each.kind != "page_view" and left_ms < each.at_ms <= back_ms)
        for each in own
    )


_PAGES = dict.fromkeys(("page_view", "page_exit", "page_hidden", "page_visible"), PAGES_MEMORY_MS)

BESIDE = Exclusion(
    "beside",
    "The other page was opened in a tab of its own, so nobody turned back: the page before was "
    "not left, but hidden when the other one was viewed, or it told of itself afterwards.",
    covers=_is_beside,
    takes=_PAGES,
)


def _is_form_sent(finding: Finding, seen: Seen) -> bool:
    left_ms = finding.at_ms - finding.details["time_away_ms"]
    forms = [
        each.kind
        for each in seen
        if each.kind in ("form_submit", "form_error") and left_ms <= each.at_ms <= finding.at_ms
    ]
    return bool(forms) and forms[-1] == "form_submit"


FORM_SENT = Exclusion(
    "form_sent",
    "A form was sent on the page between, and the site led back: signing in, saving, choosing. "
    "Not if the form was refused.",
    covers=_is_form_sent,
    takes=dict.fromkeys(("form_submit", "form_error"), PAGES_MEMORY_MS),
)


def _is_hidden(finding: Finding, seen: Seen) -> bool:
    view = anchor_of(finding, seen)
    if view is None or not view.view_id:
        return False
    own = [each for each in seen if each.view_id == view.view_id and each.kind != "page_view"]
    if not own:
        return False
    first = own[0]
    if first.kind == "page_visible":
        return True  # It was opened in the background.
    # Times of metrics count from the request, which was about the first byte's time earlier.
    reached_ms = view.at_ms + finding.details["load_time_ms"] - (finding.details["ttfb"] or 0)
    return (
        first.kind == "page_hidden"
        and first.at_ms < reached_ms
        and not any(
            each.kind == "page_exit" and abs(each.at_ms - first.at_ms) <= HIDDEN_EXIT_MS
            for each in own
        )
    )


HIDDEN_PAGE = Exclusion(
    "hidden_page",
    "The page was in the background while it loaded: browsers slow such pages down, and nobody "
    "waited for it.",
    covers=_is_hidden,
    takes=_PAGES,
)
