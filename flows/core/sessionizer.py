"""Sessions: the events of one session as totals, and totals as a row.

In: batches of events that are new, in any order. Out: `SessionTotals`, a function of the set of
events (each field is a count, a smallest or largest by `(event time, event id)`, or a union), and
rows of the table `sessions`. Source of all columns: sessions.md, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from flows.core.engaged_time import SLOT_MS, add_slots
from flows.core.enrich import path_of
from flows.core.event_facts import UNKNOWN_DEVICE_TYPE
from flows.core.experience import (
    ABANDONED,
    InsightCounts,
    emotion_of,
    experience_score,
    issues_json,
    issues_of,
)
from flows.core.money import minor_units
from flows.core.session_event import (
    Depth,
    Ended,
    Goal,
    Page,
    SessionBatch,
    SessionEvent,
    Started,
    sorted_events,
)
from flows.core.session_origin import (
    add_origins,
    first_values,
    origin_of,
)
from flows.core.session_row import SessionRow
from flows.core.session_totals import Abandoned, Seen, SessionTotals, Start, View
from schemas.event_types import EVENT_KINDS

COUNT_MAX = 2**32 - 1
SUM_MAX = 2**63 - 1
CURRENCIES_MAX = 200  # There are some 180; whoever makes up others must not fill memory.

_PAGE_VIEW, _CLICK, _ERROR, _OTHER = 1, 2, 4, 8
_UNCOUNTED, _ACTIVE = 16, 32
_LOOKED_AT = {"page_view": _PAGE_VIEW, "click": _CLICK, "js_error": _ERROR}
_LOOKED_AT |= {"unhandled_rejection": _ERROR}
_LOOKED_AT |= dict.fromkeys(("scroll", "scroll_milestone", "page_exit"), _OTHER)
_LOOKED_AT |= dict.fromkeys(("goal", "purchase", "session_start", "session_end"), _OTHER)
_LOOKED_AT |= {ABANDONED: _OTHER}
# Source: sessions.md, section 3.
_ACTIVE_CATEGORIES = {"scroll", "input", "form", "media", "clipboard", "selection", "revenue"}
_ACTIVE_KINDS = {"page_view", "page_visible", "click", "dblclick", "context_menu", "mouse_move"}
_ACTIVE_KINDS |= {"custom_event"}
_TRAITS: dict[str, int] = {
    kind.name: _LOOKED_AT.get(kind.name, 0)
    | (_UNCOUNTED if kind.category in {"replay", "insight"} else 0)
    | (_ACTIVE if kind.category in _ACTIVE_CATEGORIES or kind.name in _ACTIVE_KINDS else 0)
    for kind in EVENT_KINDS
}
_in_order = attrgetter("at_ms", "event_id")


def add_batch(
    totals: SessionTotals | None, batch: SessionBatch, events: Sequence[SessionEvent]
) -> SessionTotals:
    """The totals with these events, of which none was added before; at least one must come first.

    `events` are those of the batch that are new, in any order.
    """
    assert events or totals is not None, "a session begins with an event"
    if not events:
        assert totals is not None
        return totals
    ordered = sorted_events(events)
    first, last = ordered[0], ordered[-1]
    views = clicks = errors = uncounted = depth = 0
    slots: set[int] = set()
    first_view = last_view = visitor = device = None
    is_known = False
    traits_of = _TRAITS.get
    sources: list[SessionEvent] = []
    others: list[SessionEvent] = []
    for event in ordered:
        if event.visitor is not visitor or event.device is not device:
            visitor, device = event.visitor, event.device
            sources.append(event)
            is_known = is_known or visitor.user_id != ""
        traits = traits_of(event.kind, 0)
        if traits & _ACTIVE:
            slots.add(event.at_ms // SLOT_MS)
        if traits & _PAGE_VIEW:
            views += 1
            first_view = first_view or event
            last_view = event
        elif traits & _CLICK:
            clicks += 1
        elif traits & _ERROR:
            errors += 1
        elif traits & _OTHER:
            if event.body.__class__ is Depth:
                depth = max(depth, event.body.percent)
            else:
                others.append(event)
        elif traits & _UNCOUNTED:
            uncounted += 1
    counted = len(ordered) - uncounted
    view, leaving, user = (
        (None, None, None) if totals is None else (totals.first_view, totals.last_view, totals.user)
    )
    if first_view is not None and last_view is not None:
        view, leaving = _views(view, leaving, first_view, last_view)
    if is_known:
        user = _user(user, ordered)
    reason = last.body.reason if isinstance(last.body, Ended) else ""
    ending = Seen(last.at_ms, last.event_id, reason)
    origins = [origin_of(event, batch.place) for event in sources]
    if totals is None:
        totals = SessionTotals(
            batch.project_id,
            batch.session_id,
            *(counted, views, clicks, errors, 0, depth),
            add_origins((), origins),
            ending,
            add_slots(None, slots),
            None if view else first.page,
            view,
            leaving,
            None,
            user,
        )
    else:
        is_first = _in_order(first) < _in_order(totals.origins[0])
        page = first.page if is_first else totals.first_page
        totals = SessionTotals(
            totals.project_id,
            totals.session_id,
            totals.event_count + counted,
            totals.page_count + views,
            totals.click_count + clicks,
            totals.error_count + errors,
            totals.goal_count,
            max(totals.max_scroll_depth, depth),
            add_origins(totals.origins, origins),
            max(totals.last, ending, key=_in_order),
            add_slots(totals.engaged, slots),
            None if view else page,
            view,
            leaving,
            totals.start,
            user,
            totals.conversion,
            totals.currency,
            totals.revenue,
            totals.abandoned,
        )
    for event in others:
        totals = _with_other(totals, event)
    return totals


def _views(
    first: View | None, last: View | None, first_event: SessionEvent, last_event: SessionEvent
) -> tuple[View, View | None]:
    """The first view and the last other one, with the first and last page_view of a batch."""
    entry = View(first_event.at_ms, first_event.event_id, first_event.page)
    leaving = View(last_event.at_ms, last_event.event_id, last_event.page)
    if first is not None:
        entry = min(first, entry, key=_in_order)
        leaving = max(last or first, leaving, key=_in_order)
    return entry, None if entry.event_id == leaving.event_id else leaving


def _user(known: Seen | None, ordered: Sequence[SessionEvent]) -> Seen | None:
    """The last user told of, with the events of a batch of which one tells of one."""
    event = next(event for event in reversed(ordered) if event.visitor.user_id)
    found = Seen(event.at_ms, event.event_id, event.visitor.user_id)
    return found if known is None else max(known, found, key=_in_order)


def _with_other(totals: SessionTotals, event: SessionEvent) -> SessionTotals:
    """The totals with a session_start, goal, purchase or form left; others change nothing here."""
    body, kind = event.body, event.kind
    if body is None and kind in ("goal", "purchase"):
        body = Goal("purchase" if kind == "purchase" else "")
    if kind == ABANDONED:
        known = totals.abandoned or Abandoned(0, _in_order(event))
        abandoned = Abandoned(known.count + 1, min(known.first, _in_order(event)))
        return msgspec.structs.replace(totals, abandoned=abandoned)
    if isinstance(body, Started):
        start = Start(event.at_ms, event.event_id, body)
        if totals.start is None or _in_order(start) < _in_order(totals.start):
            return msgspec.structs.replace(totals, start=start)
    elif isinstance(body, Goal):
        reached = Seen(event.at_ms, event.event_id, body.name)
        totals = msgspec.structs.replace(totals, conversion=_first(totals.conversion, reached))
        if event.kind == "goal":
            return msgspec.structs.replace(totals, goal_count=totals.goal_count + 1)
        return _with_purchase(totals, event, body)
    return totals


def _with_purchase(totals: SessionTotals, event: SessionEvent, body: Goal) -> SessionTotals:
    currency = body.currency.strip().upper()
    amount = minor_units(body.value, currency)
    if not amount:
        return totals
    sums = dict(totals.revenue)
    total = int(sums.get(currency, 0)) + amount
    sums[currency] = total if abs(total) <= SUM_MAX else str(total)
    # The alphabetically first are kept, so that which ones does not depend on the order.
    return msgspec.structs.replace(
        totals,
        currency=_first(totals.currency, Seen(event.at_ms, event.event_id, currency)),
        revenue=tuple(sorted(sums.items())[:CURRENCIES_MAX]),
    )


def _first(known: Seen | None, new: Seen) -> Seen:
    return new if known is None else min(known, new, key=_in_order)


def session_row(
    totals: SessionTotals,
    found: InsightCounts,
    *,
    revision: int,
    is_closed: bool,
    currency: str = "",
    retain_days: int = 0,
) -> SessionRow:
    """The row as it stands; score, issues, emotion and end are those of a closed session.

    `currency` is the project's: revenue in others is then left out. Without it, it is that of the
    first purchase. Amounts of several currencies are never added.
    """
    origin = first_values(totals.origins)
    view = totals.first_view.page if totals.first_view is not None else None
    entry_url, entry_path, exit_url, exit_path = _entry_and_exit(totals)
    declared = totals.start.declared if totals.start is not None else Started()
    utm = _campaign(declared, view)
    is_foreign = view is not None and view.referrer_domain != ""
    counts = {name: found.count(name) for name in ("rage_click", "dead_click", "error_click")}
    conversion = totals.conversion
    currency = currency or (totals.currency.text if totals.currency is not None else "")
    revenue = int(dict(totals.revenue).get(currency, 0))
    error_count = min(totals.error_count, COUNT_MAX)
    row = SessionRow(
        session_id=totals.session_id,
        project_id=totals.project_id,
        started_at_ms=totals.started_at_ms,
        ended_at_ms=totals.ended_at_ms,
        revision=revision,
        is_closed=is_closed,
        user_id=totals.user.text if totals.user is not None else "",
        anonymous_id=origin.anonymous_id,
        duration_ms=totals.ended_at_ms - totals.started_at_ms,
        entry_url=entry_url,
        entry_path=entry_path,
        exit_url=exit_url,
        exit_path=exit_path,
        page_count=min(totals.page_count, COUNT_MAX),
        event_count=min(totals.event_count, COUNT_MAX),
        click_count=min(totals.click_count, COUNT_MAX),
        error_count=error_count,
        max_scroll_depth=min(totals.max_scroll_depth, 100),
        has_error=error_count > 0,
        has_rage_click=counts["rage_click"] > 0,
        has_dead_click=counts["dead_click"] > 0,
        is_bounce=totals.page_count == 1,
        utm_source=utm[0].lower(),
        utm_medium=utm[1].lower(),
        utm_campaign=utm[2],
        utm_term=utm[3],
        utm_content=utm[4],
        browser=origin.browser,
        os=origin.os,
        device_type=origin.device_type or UNKNOWN_DEVICE_TYPE,
        country=origin.country,
        country_code=origin.country_code,
        city=origin.city,
        channel_type=origin.channel_type or "web",
        referrer=view.referrer if view is not None and is_foreign else "",
        referrer_domain=declared.referrer_domain or (view.referrer_domain if view else ""),
        converted=conversion is not None,
        conversion_event=conversion.text if conversion is not None else "",
        goals_completed=min(totals.goal_count, COUNT_MAX),
        revenue_minor=max(-SUM_MAX, min(revenue, SUM_MAX)),
        currency=currency if totals.revenue else "",
        rage_click_count=counts["rage_click"],
        dead_click_count=counts["dead_click"],
        error_click_count=counts["error_click"],
        engaged_ms=totals.engaged.engaged_ms if totals.engaged is not None else 0,
        retain_days=retain_days,
    )
    return _judged(row, totals, found) if is_closed else row


def _judged(row: SessionRow, totals: SessionTotals, found: InsightCounts) -> SessionRow:
    """The row of a session that is over: how it ended, went and felt."""
    if totals.abandoned is not None:
        found = found.with_events(ABANDONED, totals.abandoned.count, totals.abandoned.first)
    issues = issues_of(found, row.error_count)
    conversion = totals.conversion
    emotion = emotion_of(found, None if conversion is None else conversion.event_id)
    return msgspec.structs.replace(
        row,
        end_reason=totals.last.text or "timeout",
        experience_score=experience_score(issues),
        issues=issues_json(issues),
        emotion=emotion.label,
        emotion_confidence=emotion.confidence,
        emotion_event_id=emotion.event_id,
    )


def _entry_and_exit(totals: SessionTotals) -> tuple[str, str, str, str]:
    if totals.first_view is not None:
        entry = totals.first_view.page
        leaving = (totals.last_view or totals.first_view).page
        return entry.url, entry.path, leaving.url, leaving.path
    url = totals.start.declared.entry_url if totals.start is not None else ""
    path = path_of(url)
    if not url and totals.first_page is not None:
        url, path = totals.first_page.url, totals.first_page.path
    return url, path, url, path


def _campaign(declared: Started, view: Page | None) -> tuple[str, ...]:
    """What session_start declares if it declares any of it, else the first page_view's."""
    values: tuple[str, ...] = declared.utm
    if not any(values) and view is not None:
        values = (
            view.utm_source,
            view.utm_medium,
            view.utm_campaign,
            view.utm_term,
            view.utm_content,
        )
    return tuple(value.strip() for value in values)
