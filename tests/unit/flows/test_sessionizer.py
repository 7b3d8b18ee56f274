"""Sessions: the worked examples, what each column is, and that order does not matter."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.core.experience import InsightCounts
from flows.core.money import minor_units
from flows.core.session_event import (
    Body,
    Depth,
    Device,
    Ended,
    Goal,
    Page,
    Place,
    SessionEvent,
    Started,
    Visitor,
)
from flows.core.session_row import SessionRow
from flows.core.sessionizer import (
    COUNT_MAX,
    CURRENCIES_MAX,
    SUM_MAX,
    SessionTotals,
    add_batch,
    session_row,
)
from tests.unit.flows.session_events import START_MS, batch, event, page


def totals_of(*batches: Sequence[SessionEvent]) -> SessionTotals:
    """Totals after these batches."""
    totals: SessionTotals | None = None
    for events in batches:
        totals = add_batch(totals, batch(events), events)
    assert totals is not None
    return totals


def row_of(*batches: Sequence[SessionEvent], is_closed: bool = False) -> SessionRow:
    """The row after these batches, without insights."""
    return session_row(totals_of(*batches), InsightCounts(), revision=1, is_closed=is_closed)


def fields(row: SessionRow, *names: str) -> tuple[object, ...]:
    """Some columns."""
    return tuple(getattr(row, name) for name in names)


A = [
    event(1, "page_view", 0, "/"),
    event(2, "click", 12, "/"),
    event(3, "page_view", 40, "/pricing"),
    event(4, "page_exit", 95, "/pricing", Depth(30, 55_000)),
]


def test_example_a_pages_clicks_and_both_ends() -> None:
    """Example A: two pages, one click, 95 s."""
    row = row_of(A)
    assert fields(row, "duration_ms", "page_count", "click_count", "event_count") == (
        95_000,
        2,
        1,
        4,
    )
    assert fields(row, "entry_path", "exit_path", "is_bounce") == ("/", "/pricing", False)
    assert row.entry_url == "https://shop.example/"


def test_example_b_one_page_is_a_bounce() -> None:
    """Example B: one page, scrolled to 80 %."""
    events = [
        event(1, "page_view", 0, "/blog"),
        event(2, "scroll", 50, "/blog", Depth(80)),
        event(3, "page_exit", 70, "/blog", Depth(60)),
    ]
    found = fields(row_of(events), "page_count", "is_bounce", "max_scroll_depth", "exit_path")
    assert found == (1, True, 80, "/blog")


def test_example_c_order_does_not_matter() -> None:
    """Example C: A backwards, one event a batch. (Repetitions never reach the totals.)"""
    assert totals_of(*([one] for one in reversed(A))) == totals_of(A)


def test_examples_d_and_e_a_long_pause_is_one_session_with_its_id() -> None:
    """Examples D and E: the id decides, and what came before the pause still counts."""
    first = [event(1, "page_view", 0)]
    assert row_of(first, [event(2, "click", 1800)]).duration_ms == 1_800_000
    late = row_of(first, [event(2, "click", 2000)])
    assert fields(late, "duration_ms", "engaged_ms") == (2_000_000, 10_000)


def test_example_f_no_page_view_is_no_bounce() -> None:
    """Example F: a server's event alone; the entry is the event's page."""
    row = row_of([event(1, "custom_event", 5, "/api")])
    assert fields(row, "page_count", "is_bounce", "entry_path", "exit_path") == (
        0,
        False,
        "/api",
        "/api",
    )


def test_example_g_campaign_goal_and_revenue() -> None:
    """Example G: first touch in lower case, the first goal's name, revenue in cents."""
    row = row_of(
        [
            event(1, "page_view", 0, "/?utm_source=News"),
            event(2, "goal", 100, "/", Goal("signup")),
            event(3, "purchase", 200, "/", Goal("purchase", 49.00, "usd", "o-1")),
        ]
    )
    assert fields(row, "utm_source", "converted", "conversion_event") == ("news", True, "signup")
    assert fields(row, "goals_completed", "revenue_minor", "currency") == (1, 4_900, "USD")
    assert row.is_bounce


def test_a_goal_without_a_payload_is_reached_as_any_other() -> None:
    """It has no name and no worth."""
    row = row_of([event(1, "goal", 1), event(2, "purchase", 2)])
    assert fields(row, "converted", "conversion_event", "goals_completed", "revenue_minor") == (
        True, "", 1, 0,
    )  # fmt: skip
    assert row_of([event(2, "purchase", 2)]).conversion_event == "purchase"


def test_a_sum_of_any_size_does_not_depend_on_the_order() -> None:
    """It is told within 64 bits; what is taken back counts whatever came between."""
    paid = [
        event(i, "purchase", i, "/", Goal("purchase", amount, "KWD"))
        for i, amount in enumerate([1e13] * 1_000 + [-1e13] * 999)
    ]
    assert row_of(paid).revenue_minor == row_of(paid[::-1]).revenue_minor == 10**16
    assert row_of(paid[:1_000]).revenue_minor == 2**63 - 1
    assert row_of(paid[1_000:]).revenue_minor == 1 - 2**63
    totals = totals_of(paid[:1_000])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(totals), type=SessionTotals) == totals


def test_forms_that_were_left_count_in_the_score_and_the_label() -> None:
    """5 points each and 10 at most; the first one is the label's evidence."""
    events = [event(i, "form_abandon", 100 - i) for i in range(1, 4)]
    row = row_of(events, is_closed=True)
    assert (row.experience_score, row.emotion, row.emotion_confidence) == (90, "confused", 0.6)
    assert row.emotion_event_id == events[-1].event_id
    assert msgspec.json.decode(row.issues) == [
        {"type": "form_abandon", "count": 3, "penalty": 10, "insight_ids": []}
    ]


def test_what_a_server_sends_does_not_say_which_device_a_visitor_has() -> None:
    """The first event that knows counts; if none does, it is a desktop."""
    server = event(1, "custom_event", 0, device=Device("", "", "desktop"))
    phone = event(2, "page_view", 1, device=Device("Safari", "iOS", "mobile"))
    assert row_of([server, phone]).device_type == "mobile"
    assert row_of([server]).device_type == "desktop"


def test_engaged_example() -> None:
    """Section 3: active at 1, 2, 7, 12 and 61 s are four slots."""
    events = [event(i, "click", at_s) for i, at_s in enumerate((1, 2, 7, 12, 61))]
    passive = ("page_hidden", "page_exit", "web_vitals", "xhr_request", "js_error", "session_end")
    events += [event(10 + i, kind, 100 + 10 * i) for i, kind in enumerate(passive)]
    assert row_of(events).engaged_ms == 20_000


def test_one_click_is_a_slot_of_engagement_and_no_duration() -> None:
    """Engaged time is whole slots: docs/analysts.md says that it may exceed the duration."""
    row = row_of([event(1, "click", 12, "/")])
    assert fields(row, "duration_ms", "engaged_ms") == (0, 5_000)


def test_engaged_time_is_bounded_whatever_came_first() -> None:
    """Slots of more than a day after the first do not count, in any order; state stays small."""
    hour = 3_600
    events = [event(i, "click", i * hour) for i in range(200)]
    there, back = totals_of(*([e] for e in events)), totals_of(*([e] for e in events[::-1]))
    assert there == back
    assert there.engaged is not None
    assert there.engaged.engaged_ms == 24 * 5_000
    assert len(there.engaged.bits) <= 2_160


@pytest.mark.parametrize(
    ("start", "entry", "source", "domain"),
    [
        (Started(), "/b", "query", "google.com"),
        (Started("https://shop.example/a"), "/b", "query", "google.com"),
        (Started("", ("Declared", "", "", "", "")), "/b", "declared", "google.com"),
        (Started("", ("", "", "", "", ""), "bing.com"), "/b", "query", "bing.com"),
    ],
)
def test_what_session_start_declares_wins_where_it_declares_something(
    start: Started, entry: str, source: str, domain: str
) -> None:
    """Campaign and referrer of session_start, else of the first page_view; pages of page_views."""
    landing = page("/b?utm_source=query", "https://www.google.com/search")
    row = row_of([event(1, "session_start", 0, "/a", start), event(2, "page_view", 1, landing)])
    assert fields(row, "entry_path", "utm_source", "referrer_domain") == (entry, source, domain)
    assert row.referrer == "https://www.google.com/search"


def test_session_start_gives_the_entry_of_a_session_without_pages() -> None:
    """Its declared address, not the page of the first event."""
    start = Started("https://shop.example/landing?x=1")
    row = row_of([event(1, "click", 0, "/other"), event(2, "session_start", 1, "/other", start)])
    assert fields(row, "entry_url", "entry_path") == (start.entry_url, "/landing")


def test_own_site_is_no_referrer() -> None:
    """A reload or a link within the site brings nobody."""
    landing = page("/b", "https://shop.example/a")
    assert fields(row_of([event(1, "page_view", 0, landing)]), "referrer", "referrer_domain") == (
        "",
        "",
    )


def test_first_known_value_of_each_column() -> None:
    """What the first event does not know, a later one may; what it knows stays."""
    events = [
        event(1, "click", 0, device=Device("", "", "mobile"), visitor=Visitor("", "")),
        event(2, "click", 1, device=Device("Safari", "", "desktop"), visitor=Visitor("", "a1")),
        event(3, "click", 2, device=Device("Chrome", "iOS", ""), visitor=Visitor("", "a2")),
    ]
    expected = ("Safari", "iOS", "mobile", "a1")
    for order in (events, events[::-1], [events[1], events[2], events[0]]):
        row = row_of(*([one] for one in order))
        assert fields(row, "browser", "os", "device_type", "anonymous_id") == expected


def test_last_user_counts() -> None:
    """A shared computer: who was there last, empty ids aside."""
    users = ("", "u1", "u2", "")
    events = [event(i, "click", i, visitor=Visitor(user)) for i, user in enumerate(users)]
    assert row_of(events).user_id == "u2"
    assert row_of(events[2:], events[:2]).user_id == "u2"


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (event(9, "session_end", 9, "/", Ended("close")), "close"),
        (event(9, "session_end", 9, "/", Ended("navigation")), "navigation"),
        (event(9, "session_end", 9, "/", Ended("")), "timeout"),
        (event(9, "click", 9), "timeout"),
    ],
)
def test_end_reason_is_that_of_the_last_event(last: SessionEvent, expected: str) -> None:
    """A session_end with something after it says nothing; an open session has no end."""
    earlier = [event(1, "session_end", 1, "/", Ended("close")), event(2, "click", 2)]
    assert row_of([*earlier, last], is_closed=True).end_reason == expected
    assert row_of([*earlier, last]).end_reason == ""


def test_replay_and_insight_types_are_not_counted() -> None:
    """They are no events of the visitor; an unknown type is."""
    kinds = ("replay", "dom_mutation", "rage_click", "click", "something_new")
    assert row_of([event(i, kind, i) for i, kind in enumerate(kinds)]).event_count == 2


def test_both_kinds_of_page_error_count() -> None:
    """console_error and resource_error do not."""
    kinds = ("js_error", "unhandled_rejection", "console_error", "resource_error")
    row = row_of([event(i, kind, i) for i, kind in enumerate(kinds)])
    assert fields(row, "error_count", "has_error") == (2, True)


def test_counters_saturate_at_their_width() -> None:
    """A wider number would be refused by the store, or wrap around."""
    totals = msgspec.structs.replace(
        totals_of(A),
        event_count=2**40,
        click_count=2**32,
        revenue=(("USD", 2**70),),
        currency=totals_of(A).last,
    )
    totals = msgspec.structs.replace(
        totals, currency=msgspec.structs.replace(totals.last, text="USD")
    )
    row = session_row(totals, InsightCounts(), revision=1, is_closed=False)
    assert fields(row, "event_count", "click_count", "revenue_minor") == (
        COUNT_MAX,
        COUNT_MAX,
        SUM_MAX,
    )


def test_currencies_are_never_added() -> None:
    """The first purchase's currency, or the project's."""
    paid = [("EUR", 10.0), ("USD", 20.0), ("EUR", 0.5), ("JPY", 300.0)]
    totals = totals_of(
        [
            event(i, "purchase", i, "/", Goal("purchase", amount, currency))
            for i, (currency, amount) in enumerate(paid)
        ]
    )
    for currency, expected in (
        ("", 1_050),
        ("EUR", 1_050),
        ("USD", 2_000),
        ("JPY", 300),
        ("CHF", 0),
    ):
        row = session_row(totals, InsightCounts(), revision=1, is_closed=False, currency=currency)
        assert row.revenue_minor == expected


def test_number_of_currencies_is_bounded() -> None:
    """Whoever makes up currencies fills no memory."""
    events = [
        event(
            i, "purchase", i, "/", Goal("purchase", 1.0, f"{chr(65 + i // 26)}{chr(65 + i % 26)}A")
        )
        for i in range(CURRENCIES_MAX + 20)
    ]
    assert totals_of(events) == totals_of(*([one] for one in events[::-1]))
    assert len(totals_of(events).revenue) == CURRENCIES_MAX


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [
        (49.0, "USD", 4_900),
        (1.005, "USD", 101),
        (-0.5, "EUR", -50),
        (300.0, "JPY", 300),
        (1.5, "KWD", 1_500),
        (None, "USD", 0),
        (float("nan"), "USD", 0),
        (float("inf"), "USD", 0),
        (1e20, "USD", 0),
        (1e-30, "USD", 0),
    ],
)
def test_minor_units(value: float | None, currency: str, expected: int) -> None:
    """Halves away from zero; decimals by currency; what is no amount is 0."""
    assert minor_units(value, currency) == expected


_PAGES = st.sampled_from(
    [page("/"), page("/a?utm_source=X"), page("/b", "https://news.example/x"), Page()]
)
_BODIES: dict[str, st.SearchStrategy[Body | None]] = {
    "page_view": st.none(),
    "click": st.none(),
    "js_error": st.none(),
    "mouse_move": st.none(),
    "scroll": st.builds(Depth, st.integers(0, 100)),
    "goal": st.builds(Goal, st.sampled_from(["signup", "trial"])),
    "purchase": st.builds(
        Goal,
        st.just("purchase"),
        st.floats(0.01, 1_000),
        st.sampled_from(["USD", "EUR", "JPY", ""]),
    ),
    "session_start": st.builds(
        Started, st.sampled_from(["", "https://shop.example/s"]), st.just(("u", "", "", "", ""))
    ),
    "session_end": st.builds(Ended, st.sampled_from(["", "close", "timeout"])),
    "replay": st.none(),
}
_TEXT = st.sampled_from(["", "x", "y"])


@st.composite
def _sessions(draw: st.DrawFn) -> list[SessionEvent]:
    """Distinct events, many of them at the same time."""
    events = []
    for number in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(sorted(_BODIES)))
        at_s = draw(st.sampled_from([0.0, 1.0, 1.0, 7.5, 3_000.0, 90_000.0, -5.0]))
        visitor = Visitor(draw(_TEXT), draw(_TEXT), "", draw(st.sampled_from(["web", "whatsapp"])))
        device = Device(draw(_TEXT), draw(_TEXT), draw(_TEXT))
        events.append(
            event(
                number,
                kind,
                at_s,
                draw(_PAGES),
                draw(_BODIES[kind]),
                visitor=visitor,
                device=device,
            )
        )
    return events


@given(_sessions(), st.randoms(use_true_random=False))
def test_any_order_and_any_batches_give_the_same_totals(
    events: list[SessionEvent], chance: object
) -> None:
    """And what is stored in between and restored goes on as if it had not been."""
    import random

    assert isinstance(chance, random.Random)
    shuffled = events[:]
    chance.shuffle(shuffled)
    batches: list[list[SessionEvent]] = [[]]
    for one in shuffled:
        if chance.random() < 0.4 and batches[-1]:
            batches.append([])
        batches[-1].append(one)
    totals: SessionTotals | None = None
    for some in batches:
        totals = add_batch(totals, batch(some), some)
        totals = msgspec.msgpack.decode(msgspec.msgpack.encode(totals), type=SessionTotals)
    assert totals == totals_of(events)


def test_place_is_that_of_the_first_request_that_knows_it() -> None:
    """Whichever came first on the wire."""
    early, late = [event(1, "click", 0)], [event(2, "click", 9)]
    totals = add_batch(None, batch(late, Place("France", "FR", "")), late)
    totals = add_batch(totals, batch(early, Place()), early)
    row = session_row(totals, InsightCounts(), revision=1, is_closed=False)
    assert fields(row, "country", "country_code", "city") == ("France", "FR", "")
    assert row.started_at_ms == START_MS
