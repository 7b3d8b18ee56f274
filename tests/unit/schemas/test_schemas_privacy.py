"""Addresses and pages under a privacy policy."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.privacy import IP_METHODS, is_blocked, mask_ip, path_matches
from schemas.records import PrivacyPolicy

SECRET = b"made-up secret"
DAY = "2026-11-21"
ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("::1", "::"),
        (" 203.0.113.77 ", "203.0.113.0"),
        ("fe80::1%eth0", "fe80::"),
        ("203.0.113.077", ""),
        ("203.0.113.77:443", ""),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_truncation_works_on_the_parsed_address(text: str, expected: str) -> None:
    """The table of the privacy document, and what is no address."""
    assert mask_ip(text, "truncate", SECRET, DAY) == expected


def test_other_methods() -> None:
    """Full keeps, remove drops, and none of them lets through what is no address."""
    assert mask_ip("203.0.113.77", "full", SECRET, DAY) == "203.0.113.77"
    assert mask_ip("203.0.113.77", "remove", SECRET, DAY) == ""
    for method in IP_METHODS:
        assert mask_ip("<script>", method, SECRET, DAY) == ""
    with pytest.raises(ValueError, match="unknown method"):
        mask_ip("203.0.113.77", "sha1", SECRET, DAY)


def test_hash_changes_with_day_and_secret_only() -> None:
    """One visitor is one value for a day, also when the address is written as IPv6."""
    found = mask_ip("203.0.113.77", "hash", SECRET, DAY)
    assert found.startswith("anon_")
    assert len(found) == 21
    assert found == mask_ip("::ffff:203.0.113.77", "hash", SECRET, DAY)
    assert found != mask_ip("203.0.113.77", "hash", SECRET, "2026-11-22")
    assert found != mask_ip("203.0.113.77", "hash", b"other", DAY)
    assert found != mask_ip("203.0.113.78", "hash", SECRET, DAY)


@settings(deadline=None, max_examples=200)
@given(ADDRESSES)
def test_truncating_twice_is_truncating_once(text: str) -> None:
    """A truncated address is an address whose last bits are zero."""
    once = mask_ip(text, "truncate", SECRET, DAY)
    assert mask_ip(once, "truncate", SECRET, DAY) == once
    address = ipaddress.ip_address(once)
    free_bits = 8 if address.version == 4 else 80
    assert int(address) % 2**free_bits == 0


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=()), max_size=80), st.sampled_from(IP_METHODS))
def test_masking_an_address_never_raises(text: str, method: str) -> None:
    """Whatever a proxy sends, the result is short."""
    assert len(mask_ip(text, method, SECRET, DAY)) <= 64


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("/checkout/*", "/checkout/pay", True),
        ("/checkout/*", "/checkout", False),
        ("*/payment*", "/a/payment-form", True),
        ("/account/billing", "/account/billing/2", False),
        ("/a.b", "/axb", False),
        ("/a.b", "/a.b", True),
        ("/checkout/*", "/Checkout/pay", False),
        ("/user/?", "/user/1", True),
        ("/user/?", "/user/12", False),
        ("/user/?", "/user/", False),
        ("*", "", True),
        ("/a*b*c", "/a-c-b-c", True),
        ("/a*b*c", "/a-c-b", False),
        ("/a*a", "/a", False),
        ("/a**b", "/ab", True),
        ("/[ab]", "/a", False),
        ("/[ab]", "/[ab]", True),
        ("/a*", "/a\nb", True),
    ],
)
def test_globs_match_whole_paths(glob: str, path: str, expected: bool) -> None:
    """`*` also matches slashes, `?` one character, and everything else itself."""
    assert path_matches(glob, path) is expected


@settings(deadline=None, max_examples=300)
@given(st.text("ab/*?", max_size=8), st.text("ab/", max_size=10))
def test_globs_agree_with_the_plain_definition(glob: str, path: str) -> None:
    """The fast search finds what a search over all possibilities finds."""
    assert path_matches(glob, path) is _matches_slowly(glob, path)


def _matches_slowly(glob: str, path: str) -> bool:
    if not glob:
        return not path
    if glob[0] == "*":
        return any(_matches_slowly(glob[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and glob[0] in ("?", path[0]) and _matches_slowly(glob[1:], path[1:])


def test_no_glob_makes_the_search_explode() -> None:
    """A project's glob with many stars is still quick."""
    started = time.process_time()
    assert not path_matches("*a" * 40 + "b", "a" * 1_000)
    assert time.process_time() - started < 5


def test_block_list_and_allow_list() -> None:
    """Without lists nothing is blocked; an allow list decides alone."""
    assert not is_blocked("/checkout/pay", PrivacyPolicy())
    blocking = PrivacyPolicy(block_urls=("/checkout/*", "/admin"))
    assert is_blocked("/checkout/pay", blocking)
    assert is_blocked("/admin", blocking)
    assert not is_blocked("/cart", blocking)
    allowing = PrivacyPolicy(allow_urls=("/shop/*",), block_urls=("/shop/secret",))
    assert is_blocked("/cart", allowing)
    assert not is_blocked("/shop/boots", allowing)
    assert not is_blocked("/shop/secret", allowing)
