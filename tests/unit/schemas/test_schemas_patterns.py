"""What is found in texts, what is left alone, and what it may cost."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.card_numbers import redact_cards
from schemas.patterns import TEXT_CHARS_MAX, PatternError, build_redactor, compile_custom

ALWAYS = build_redactor(email=False)
LEVEL_2 = build_redactor(email=True, phone=True)
EVERYTHING = build_redactor(
    email=True, phone=True, ipv4=True, birth_date=True, year_max=2026, custom=("ref-[0-9]+",)
)

# Texts that come near to what is looked for: random letters alone hardly ever do.
FRAGMENTS = st.sampled_from(
    [
        *("4111 1111 1111 1111", "4111-1111", "378282246310005", "0.", "078-05-1120", "078 05"),
        *(
            "a@b.co",
            "@",
            ".",
            "+84 912 345 678",
            "(555) 123-4567",
            "GB82 WEST 1234 5698",
            "7654 32",
        ),
        *("Bearer ", "abcdefghijklmnop", "eyJh.eyJi.", "sk_live_", "AKIA", "[redacted:card]", "["),
        *(
            "1.2.3.4",
            "12/31/1999",
            "1999-12-31",
            "ref-12",
            "ref-",
            " ",
            "-",
            "7",
            "x",
            "\u00a0",
            "é",
        ),
    ]
)
NEAR_TEXTS = st.lists(FRAGMENTS | st.text(max_size=5), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pay 4111 1111 1111 1111 now", "pay [redacted:card] now"),
        ("4111111111111112", "4111111111111112"),
        ("378282246310005", "[redacted:card]"),
        ("1705761135000", "1705761135000"),
        ("0000000000000000", "0000000000000000"),
        (
            "order 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            "order 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        ),
        ("078-05-1120", "[redacted:ssn]"),
        ("666-12-3456, 123456789", "666-12-3456, 123456789"),
        ("v1.2.3.4", "v1.2.3.4"),
        ("GB82 WEST 1234 5698 7654 32", "[redacted:iban]"),
        ("mail a.b+c@ex-ample.co.uk!", "mail a.b+c@ex-ample.co.uk!"),
        ("+84 912 345 678", "+84 912 345 678"),
    ],
)
def test_published_examples_of_what_is_always_on(text: str, expected: str) -> None:
    """The table of the privacy document, for projects of level 1."""
    assert ALWAYS(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail a.b+c@ex-ample.co.uk!", "mail [redacted:email]!"),
        ("+84 912 345 678", "[redacted:phone]"),
        ("(555) 123-4567", "[redacted:phone]"),
        ("call 555.123.4567 now", "call [redacted:phone] now"),
        ("+1234567", "+1234567"),
        ("+1234567890123456", "+1234567890123456"),
        ("v1.2.3.4", "v1.2.3.4"),
        (f"{'a' * 64}@b.co", "[redacted:email]"),
        (f"{'a' * 65}@b.co", f"{'a' * 65}@b.co"),
        ("a@b", "a@b"),
        ("a@b.c", "a@b.c"),
        ("see a@b.co.", "see [redacted:email]."),
        ("<a@b.co>,c@d.example", "<[redacted:email]>,[redacted:email]"),
    ],
)
def test_published_examples_of_level_2(text: str, expected: str) -> None:
    """E-mail addresses and phone numbers are found where the project asks."""
    assert LEVEL_2(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4111111111111111.", "[redacted:card]."),
        ("card:4111-1111-1111-1111", "card:[redacted:card]"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[redacted:card]"),
        ("4111\u00a01111\u00a01111\u00a01111", "[redacted:card]"),
        ("4222222222222", "[redacted:card]"),
        ("6304000000000000001", "6304000000000000001"),
        ("2024-01-02 4111 1111 1111 1111", "2024-01-02 [redacted:card]"),
        ("4111111111111111 5500005555555559", "[redacted:card] [redacted:card]"),
        ("4111  1111 1111 1111", "4111  1111 1111 1111"),
        ("41111111111111110", "41111111111111110"),
        ("0.4111111111111111", "0.4111111111111111"),
        ("4111111111111111.25", "4111111111111111.25"),
        ("aaaaaaaa-4111-1111-1111-111111111111", "aaaaaaaa-4111-1111-1111-111111111111"),
        ("4111111111111111abcdefabcdef", "4111111111111111abcdefabcdef"),
        ("x4111111111111111y", "x[redacted:card]y"),
    ],
)
def test_cards_are_whole_numbers_that_pass_the_check(text: str, expected: str) -> None:
    """Groups, neighbours, fractions, UUIDs and hashes."""
    assert redact_cards(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gb82west12345698765432", "[redacted:iban]"),
        ("to GB82 WEST 1234 5698 7654 32 today", "to [redacted:iban] today"),
        ("BE68 5390 0754 7034 next 1234", "[redacted:iban] next 1234"),
        ("DE89 3704 0044 0532 0130 00, DE89370400440532013000", "[redacted:iban], [redacted:iban]"),
        ("GB83 WEST 1234 5698 7654 32", "GB83 WEST 1234 5698 7654 32"),
        ("xGB82WEST12345698765432", "xGB82WEST12345698765432"),
        ("Bearer abcdefghijklmnop", "[redacted:secret]"),
        ("Bearer abcdefghijklmno", "Bearer abcdefghijklmno"),
        ("a bearer of news", "a bearer of news"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln!", "jwt [redacted:secret]!"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "[redacted:secret]"),
        ("sk_live_madeUpKey1", "[redacted:secret]"),
        ("AKIAABCDEFGHIJKLMNOP", "[redacted:secret]"),
        ("AKIAABCDEFGHIJKLMNO", "AKIAABCDEFGHIJKLMNO"),
        ("d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e"),
        ("078.05.1120 and 078 05 1120", "[redacted:ssn] and [redacted:ssn]"),
        ("078-05.1120", "078-05.1120"),
        ("000-12-3456 900-12-3456", "000-12-3456 900-12-3456"),
        ("123-00-3456, 123-45-0000", "123-00-3456, 123-45-0000"),
        ("1078-05-11200", "1078-05-11200"),
    ],
)
def test_accounts_secrets_and_numbers_that_are_always_found(text: str, expected: str) -> None:
    """IBAN, tokens and social security numbers, and what only looks like them."""
    assert ALWAYS(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 203.0.113.77.", "from [redacted:ipv4]."),
        ("v1.2.3.4 1.2.3.4.5 256.1.1.1", "v1.2.3.4 1.2.3.4.5 256.1.1.1"),
        ("born 12/31/1999", "born [redacted:dob]"),
        ("31.12.1999 1999-12-31", "[redacted:dob] [redacted:dob]"),
        ("31/12/1999 30.02.1999 1899-12-31", "31/12/1999 30.02.1999 1899-12-31"),
        ("2026-01-01 2027-01-01", "[redacted:dob] 2027-01-01"),
        ("see ref-12", "see [redacted:custom]"),
    ],
)
def test_patterns_that_a_project_switches_on(text: str, expected: str) -> None:
    """Addresses, dates of birth and the project's own expressions."""
    assert EVERYTHING(text) == expected


def test_custom_patterns_do_not_see_what_was_masked_before() -> None:
    """An expression that matches the mask itself changes nothing more."""
    redact = build_redactor(email=True, custom=("[a-z]+", "redacted"))
    once = redact("HELLO a@b.co xy 1")
    assert once == "HELLO [redacted:email] [redacted:custom] 1"
    assert redact(once) == once


@pytest.mark.parametrize(
    "expression",
    ["(a)\\1", "(?=a)", "(?<!a)b", "a{1001}", "(", "x*", "", "a" * 201, "\ud800", "(?i"],
)
def test_unsafe_or_useless_expressions_are_refused(expression: str) -> None:
    """No back-references, no look-around, no huge or empty matches."""
    with pytest.raises(PatternError):
        compile_custom(expression)


@settings(deadline=None, max_examples=400)
@given(NEAR_TEXTS)
def test_masking_twice_is_masking_once(text: str) -> None:
    """For every text, with every pattern switched on."""
    for redact in (ALWAYS, LEVEL_2, EVERYTHING):
        once = redact(text)
        assert redact(once) == once


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=()), max_size=100))
def test_masking_never_raises(text: str) -> None:
    """Also not for half surrogate pairs, which some texts of browsers have."""
    assert isinstance(EVERYTHING(text), str)


@settings(deadline=None, max_examples=200)
@given(
    st.text("0123456789", min_size=12, max_size=18),
    st.sampled_from("23456"),
    st.sampled_from(["", " ", "-"]),
    NEAR_TEXTS,
)
def test_no_valid_card_number_survives(digits: str, first: str, between: str, around: str) -> None:
    """A number that passes the Luhn check is masked, however it is grouped and surrounded."""
    number = first + digits[:-1]
    check = next(last for last in "0123456789" if _luhn(number + last))
    grouped = between.join(re.findall(".{1,4}", number + check))
    found = ALWAYS(f"{around[:40]} | {grouped} | {around[40:]}")
    assert grouped not in found


def _luhn(number: str) -> bool:
    total = 0
    for place, letter in enumerate(reversed(number)):
        digit = int(letter) * (2 if place % 2 else 1)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


@pytest.mark.parametrize(
    "piece",
    ["4 ", "41", "eyJ-", "a@", "a.", "GB82 WEST ", "ab12", "ab12 ", "+1 ", "1-", "555-", "1.1.1."],
)
def test_cost_is_bounded_for_texts_made_to_be_slow(piece: str) -> None:
    """Eight kilobytes of near matches take milliseconds; exponential searches would take years."""
    text = piece * (TEXT_CHARS_MAX // len(piece))
    custom = build_redactor(email=True, phone=True, custom=("(a+)+$", "(.*)*x{5}y"))
    started = time.process_time()
    custom(text)
    assert time.process_time() - started < 5


def test_longer_texts_are_cut() -> None:
    """Nothing passes unread."""
    assert len(ALWAYS("x" * 10_000)) == TEXT_CHARS_MAX
