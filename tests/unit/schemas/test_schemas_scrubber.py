"""What is taken out of URLs and events."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.privacy import Scrubber, scrubber_of
from schemas.records import PrivacyPolicy
from schemas.scrubber import BATCH_EFFORT, MEMO_TEXTS_MAX
from schemas.v1.events_pb2 import Event

LEVEL_1 = Scrubber(PrivacyPolicy(), year_now=2026)
LEVEL_2 = Scrubber(PrivacyPolicy(level=2, scrub_email=True, scrub_phone=True), year_now=2026)
STRICT = Scrubber(
    PrivacyPolicy(
        scrub_email=True,
        scrub_phone=True,
        scrub_ipv4=True,
        scrub_dob=True,
        scrub_traits=True,
        custom_patterns=("[a-f]{3}", "%"),
        exclude_from_storage=frozenset({"notes"}),
    ),
    year_now=2026,
)
CARD = "4111 1111 1111 1111"
TOKEN = "Bearer abcdefghijklmnop"

URL_PIECES = st.sampled_from(
    [
        *(
            "https://",
            "user:pass@",
            "x.example",
            "/",
            "a@b.co",
            "a%40b.co",
            "?",
            "&",
            "=",
            "#",
            "#/",
        ),
        *(
            "token=",
            "TOKEN",
            "q",
            "%",
            "%25",
            "+",
            "4111+1111+1111+1111",
            ";",
            "next=%2Fa%3Fkey%3D1",
        ),
        *(
            "[redacted]",
            "email[]=",
            "user[email]=",
            "+84912345678",
            "abc",
            ":",
            "//",
            "@",
            "é",
            " ",
        ),
    ]
)
NEAR_URLS = st.lists(URL_PIECES | st.text(max_size=4), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://x.example/a?b=1", "https://x.example/a?b=1"),
        ("https://user:pass@x.example/", "https://x.example/"),
        ("//user@x.example/a", "//x.example/a"),
        ("https://a@b@x.example/", "https://x.example/"),
        ("https://x.example/a#part", "https://x.example/a"),
        ("https://x.example/#/cart", "https://x.example/#/cart"),
        (
            "https://x.example/#/a@b.co?token=1",
            "https://x.example/#/[redacted:email]?token=[redacted]",
        ),
        ("https://x.example/#access_token=abc", "https://x.example/"),
        (
            "https://x.example/#/access_token=abc&n=1",
            "https://x.example/#/access_token=[redacted]&n=1",
        ),
        ("https://x.example/#!/login/code=abc", "https://x.example/#!/login/code=[redacted]"),
        ("https://x.example/#/a=b@c.co/d", "https://x.example/#/a=[redacted:email]/d"),
        ("#", "#"),
        ("#prices", "#prices"),
        ("#token=abc", "#"),
        (" #section%201", "#"),
        ("#!next", "#!next"),
        ("https://x.example/app#!plan/a@b.co", "https://x.example/app#!plan/[redacted:email]"),
        ("?#token=abc", "?"),
        ("/a?token=abc&page=2", "/a?token=[redacted]&page=2"),
        ("/a?Token=abc;SID=1", "/a?Token=[redacted];SID=[redacted]"),
        ("/a?user%5Bemail%5D=x", "/a?user%5Bemail%5D=[redacted]"),
        ("/a?token=&key", "/a?token=&key"),
        ("/a?utm_source=a@b.co", "/a?utm_source=[redacted:email]"),
        ("/a?ref=a%40b.co", "/a?ref=[redacted:email]"),
        ("/a?a@b.co", "/a?[redacted:email]"),
        ("/a?n=4111+1111+1111+1111", "/a?n=[redacted:card]"),
        ("/a?n=4111%201111%201111%201111&m=1", "/a?n=[redacted:card]&m=1"),
        ("/a?h=Bearer+abcdefghijklmnop", "/a?h=[redacted:secret]"),
        ("/a?next=%2Freset%3Ftoken%3Dabc", "/a?next=/reset?token=[redacted]"),
        ("/a?u=https%3A%2F%2Fme%3Apw%40y.example%2F", "/a?u=https://y.example/"),
        ("/a?q=why%3F%23", "/a?q=why%3F%23"),
        ("/user/a@b.co/edit", "/user/[redacted:email]/edit"),
        ("/user/a%40b.co/edit", "/user/[redacted:email]/edit"),
        ("/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "/reset/[redacted:secret]"),
        ("/order/4111111111111111", "/order/[redacted:card]"),
        ("/a+b/100%25", "/a+b/100%25"),
        ("mailto:a@b.co", "mailto:[redacted:email]"),
        ("", ""),
    ],
)
def test_urls_keep_only_what_may_be_kept(url: str, expected: str) -> None:
    """Users, fragments, telling values and patterns go, the rest stays as it was written."""
    assert LEVEL_1.scrub_url(url) == expected


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "access_token",
        "refresh_token",
        "id_token",
        "key",
        "api_key",
        "apikey",
        "password",
        "pass",
        "pwd",
        "secret",
        "auth",
        "code",
        "state",
        "session",
        "sid",
        "sig",
        "signature",
        "otp",
        "email",
        "mail",
        "phone",
        "tel",
        "ssn",
        "card",
        "cvv",
        "name",
        "address",
    ],
)
def test_every_telling_key_loses_its_value(key: str) -> None:
    """The list of the privacy document."""
    assert LEVEL_1.scrub_url(f"/a?{key}=x1") == f"/a?{key}=[redacted]"


@pytest.mark.parametrize("key", ["utm_source", "gclid", "fbclid", "ref", "page", "names", "keys"])
def test_other_keys_keep_harmless_values(key: str) -> None:
    """Campaigns can still be told."""
    assert LEVEL_1.scrub_url(f"/a?{key}=x1") == f"/a?{key}=x1"


def test_phone_numbers_are_masked_in_queries_but_not_in_paths() -> None:
    """In paths only what can hardly be anything else is masked."""
    assert (
        LEVEL_2.scrub_url("/a/555-123-4567?n=555-123-4567") == "/a/555-123-4567?n=[redacted:phone]"
    )


def test_paths_lose_queries_and_keep_routes() -> None:
    """A query does not belong to a path."""
    assert LEVEL_1.scrub_path("/a?token=1#x") == "/a"
    assert LEVEL_1.scrub_path("/app#/cart?key=1") == "/app#/cart?key=[redacted]"


@settings(deadline=None, max_examples=500)
@given(NEAR_URLS)
def test_scrubbing_a_url_twice_is_scrubbing_it_once(url: str) -> None:
    """For every text that a page may call its URL, under every policy."""
    for scrubber in (LEVEL_1, LEVEL_2, STRICT):
        for scrub in (scrubber.scrub_url, scrubber.scrub_path, scrubber.scrub_error_text):
            once = scrub(url)
            assert scrub(once) == once


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_scrubbing_never_raises(text: str) -> None:
    """Whatever the text is."""
    for scrub in (STRICT.scrub_url, STRICT.scrub_path, STRICT.scrub_text, STRICT.scrub_error_text):
        assert isinstance(scrub(text), str)


@settings(deadline=None, max_examples=200)
@given(NEAR_URLS, NEAR_URLS)
def test_a_telling_value_never_stays_in_the_query(before: str, after: str) -> None:
    """The value of `token` is gone, whatever stands around it."""
    around = f"{before.replace('#', '')}?a=1&token=zzSECRETzz&{after}"
    assert "zzSECRETzz" not in LEVEL_1.scrub_url("https://x.example/" + around)


def _fill(message: Message, text: str, skipped: frozenset[str]) -> None:
    """Put a text into every text field of a message, at every depth."""
    for field in message.DESCRIPTOR.fields:
        if field.name in skipped or (field.containing_oneof and field.message_type is not None):
            continue
        value: Any = getattr(message, field.name)
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                value[f"key {text}"] = text
            elif not field.is_repeated:
                _fill(value, text, skipped)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
                value.append(text)
            else:
                setattr(message, field.name, text)


# What the site itself chose to identify something by; stays as it is.
IDS = frozenset(
    [
        "event_id",
        "session_id",
        "user_id",
        "project_id",
        "anonymous_id",
        "page_view_id",
        "channel_type",
        "external_id",
        "handshake_token",
        "group_id",
        "order_id",
        "click_event_id",
        "traits",
    ]
)
MEMBERS = [field.name for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("text", [CARD, TOKEN, "a@b.co"])
def test_no_field_of_any_event_lets_a_secret_through(member: str, text: str) -> None:
    """Card numbers and tokens stay in no field but ids; addresses in none at level 2."""
    event = Event()
    _fill(event, text, IDS)
    getattr(event, member).SetInParent()
    _fill(getattr(event, member), text, IDS)
    assert LEVEL_2.scrub_event(event)
    stored = event.SerializeToString()
    assert text.encode() not in stored
    again = Event.FromString(stored)
    assert not LEVEL_2.scrub_event(again)
    assert again == event


def test_ids_and_traits_are_left_alone_unless_asked() -> None:
    """They are what the site chose to send."""
    event = Event(user_id="a@b.co", identify={"user_id": "a@b.co", "traits": {"mail": "a@b.co"}})
    assert not LEVEL_2.scrub_event(event)
    assert STRICT.scrub_event(event)
    assert event.identify.traits["mail"] == "[redacted:email]"
    assert event.identify.user_id == event.user_id == "a@b.co"


def test_emails_stay_in_texts_of_level_1_but_not_in_urls_and_errors() -> None:
    """The default keeps what a page shows."""
    event = Event(
        page={"title": "Hello a@b.co", "url": "/a@b.co", "query_params": {"q": "a@b.co"}},
        js_error={"message": "no user a@b.co", "stack": "at a@b.co"},
    )
    assert LEVEL_1.scrub_event(event)
    assert event.page.title == "Hello a@b.co"
    assert event.page.url == "/[redacted:email]"
    assert event.page.query_params["q"] == "[redacted:email]"
    assert event.js_error.message == "no user [redacted:email]"
    assert event.js_error.stack == "at [redacted:email]"


def test_telling_query_parameters_are_masked_in_the_map_too() -> None:
    """The parsed query is as telling as the URL."""
    event = Event(page={"query_params": {"Token": "abc", "page": "2", "sid": ""}})
    assert LEVEL_1.scrub_event(event)
    assert dict(event.page.query_params) == {"Token": "[redacted]", "page": "2", "sid": ""}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/reset?token=abc", "/reset?token=[redacted]"),
        ("https://me:pw@y.example/?a=1&code=x", "https://y.example/?a=1&code=[redacted]"),
        ("/a?next=%2Freset%3Ftoken%3Dabc", "/a?next=/reset?token=[redacted]"),
        ("boots & shoes?", "boots & shoes?"),
        ("a@b.co", "[redacted:email]"),
    ],
)
def test_urls_in_the_map_are_read_as_those_in_a_url(value: str, expected: str) -> None:
    """What the URL does not keep of an address in its query, the parsed query does not either."""
    event = Event(page={"query_params": {"next": value}})
    assert LEVEL_1.scrub_event(event) is (value != expected)
    assert event.page.query_params["next"] == expected
    assert not LEVEL_1.scrub_event(event)


def test_values_of_targets_and_excluded_keys_are_dropped() -> None:
    """What a person typed may sit in an attribute; what the project excludes goes as well."""
    event = Event(
        custom={"notes": "x", "plan": "basic"},
        click={"target": {"tag": "input", "attributes": {"value": "typed", "type": "text"}}},
    )
    assert STRICT.scrub_event(event)
    assert dict(event.custom) == {"plan": "basic"}
    assert dict(event.click.target.attributes) == {"type": "text"}
    properties = Event(custom_event={"name": "a", "properties": {"notes": "x", "b": "1"}})
    assert STRICT.scrub_event(properties)
    assert dict(properties.custom_event.properties) == {"b": "1"}


def test_clean_event_is_not_changed() -> None:
    """Nothing to mask: the event stays as it is, also when it comes again."""
    event = Event(
        page={"url": "https://x.example/a?b=1", "path": "/a", "title": "A"},
        device={"user_agent": "Mozilla/5.0", "browser": "Chrome"},
        custom={"plan": "basic"},
        click={"target": {"tag": "button", "text": "Buy", "classes": ["x"]}},
    )
    before = event.SerializeToString(deterministic=True)
    for _ in range(2):
        assert not LEVEL_1.scrub_event(event)
    assert event.SerializeToString(deterministic=True) == before


def test_dirty_page_is_scrubbed_every_time() -> None:
    """The memory of clean pages holds no dirty one."""
    for _ in range(3):
        event = Event(page={"title": CARD})
        assert LEVEL_1.scrub_event(event)
        assert event.page.title == "[redacted:card]"


def test_memory_of_texts_is_bounded() -> None:
    """More different texts than the cache holds give the same results."""
    scrubber = Scrubber(PrivacyPolicy(), year_now=2026)
    for number in range(MEMO_TEXTS_MAX + 10):
        assert scrubber.scrub_text(f"text {number}") == f"text {number}"
    assert scrubber.scrub_text(CARD) == "[redacted:card]"


def test_equal_policies_share_a_scrubber() -> None:
    """Compiling happens once for all projects with the same rules."""
    assert scrubber_of(PrivacyPolicy()) is scrubber_of(PrivacyPolicy())
    assert scrubber_of(PrivacyPolicy()) is not scrubber_of(PrivacyPolicy(scrub_email=True))


def long_texts(count: int) -> list[str]:
    """Texts of digits, a thousand characters each, all different, without a card number."""
    names = (
        f"{number:03}".translate(str.maketrans("0123456789", "abcdefghij"))
        for number in range(count)
    )
    return [f"{name} " + "1 " * 498 for name in names]


def test_what_a_batch_may_cost_is_bounded() -> None:
    """What comes then is masked unread, and counted; the next batch is read again."""
    scrubber = Scrubber(PrivacyPolicy(), year_now=2026)
    texts = long_texts(2 * BATCH_EFFORT // 5_000)
    scrubber.begin_batch()
    clean = [scrubber.scrub_text(text) for text in texts]
    read = clean.index("[redacted]")
    assert clean == texts[:read] + ["[redacted]"] * (len(texts) - read)
    assert BATCH_EFFORT / 7_000 < read < BATCH_EFFORT / 5_000
    assert scrubber.masked_unread == len(texts) - read
    assert scrubber.scrub_text(CARD) == "[redacted]"
    scrubber.begin_batch()
    assert scrubber.scrub_text(texts[-1]) == texts[-1]
    assert scrubber.scrub_text(CARD) == "[redacted:card]"


def test_a_text_that_comes_again_in_a_batch_costs_once() -> None:
    """The stack of an error that is thrown five hundred times stays readable in all of them."""
    scrubber = Scrubber(PrivacyPolicy(), year_now=2026)
    scrubber.begin_batch()
    stack = "    at f (https://a.example/app.12345.js:10:2000)\n" * 100
    assert {scrubber.scrub_error_text(stack) for _ in range(500)} == {stack}
    assert scrubber.masked_unread == 0


def test_without_a_batch_all_is_read() -> None:
    """Who has the time reads everything."""
    scrubber = Scrubber(PrivacyPolicy(), year_now=2026)
    texts = long_texts(2 * BATCH_EFFORT // 5_000)
    assert [scrubber.scrub_text(text) for text in texts] == texts
