"""Fingerprints: the same error has one name, another error another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fingerprint import error_fingerprint

CHROME = "TypeError: x\n    at buy (https://shop.example/app.js?v=1:10:5)\n    at run (app.js:1:1)"


@pytest.mark.parametrize(
    ("message", "stack"),
    [
        ("order 123 failed", CHROME),
        ("order 999 failed", CHROME),
        ("order 123 failed", CHROME.replace(":10:5", ":77:9")),
        ("order 123 failed", CHROME.replace("?v=1", "?v=2")),
        ("order 123 failed", CHROME.replace("at run", "at other")),
    ],
)
def test_what_changes_from_time_to_time_does_not_count(message: str, stack: str) -> None:
    """Numbers, places in the file, versions and deeper frames make no other error."""
    usual = error_fingerprint("TypeError", "order 5 failed", CHROME)
    assert error_fingerprint("TypeError", message, stack) == usual


def test_ids_in_messages_do_not_count() -> None:
    """An id in a message makes no other error."""
    first, second = (
        error_fingerprint("E", f"no user {name} here", "")
        for name in ("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "52b509d7-a38a-59be-8d7a-109b6d55e4c0")
    )
    assert first == second


@pytest.mark.parametrize(
    ("kind", "message", "stack"),
    [
        ("RangeError", "order 5 failed", CHROME),
        ("TypeError", "payment 5 failed", CHROME),
        ("TypeError", "order 5 failed", CHROME.replace("at buy", "at sell")),
        ("TypeError", "order 5 failed", ""),
    ],
)
def test_what_tells_errors_apart_counts(kind: str, message: str, stack: str) -> None:
    """Kind, wording and the place where it happened make another error."""
    usual = error_fingerprint("TypeError", "order 5 failed", CHROME)
    assert error_fingerprint(kind, message, stack) != usual


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=200))
def test_any_text_has_a_fingerprint(kind: str, message: str, stack: str) -> None:
    """16 hex digits, whatever the texts are, and the same each time."""
    fingerprint = error_fingerprint(kind, message, stack)
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0
    assert error_fingerprint.__wrapped__(kind, message, stack) == fingerprint
