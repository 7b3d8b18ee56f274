"""Finding payment card numbers in a text. Pure.

In: a text. Out: the same with each card number replaced by `[redacted:card]`. A card number has 13
to 19 digits, the first of them 2 to 6, with at most one blank or hyphen between two digits, and
passes the Luhn check. Not taken for one: a part of a longer number, the digits after a decimal
point, digits inside a UUID or a long hexadecimal hash. Source: privacy.md, section 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate

CARD_DIGITS_MIN = 13
CARD_DIGITS_MAX = 19
HASH_CHARS_MIN = 24

_RUN = re.compile(r"[0-9](?:[ \u00a0-]?[0-9]){12,}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HASH = re.compile(
    rf"(?<![0-9A-Za-z])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{{{HASH_CHARS_MIN},}}(?![0-9A-Za-z])"
)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

Span = tuple[int, int]


def redact_cards(text: str) -> str:
    """The text with its card numbers masked."""
    spans = [span for run in _RUN.finditer(text) for span in _cards_in(text, run.span())]
    if not spans:
        return text
    opaque = [found.span() for form in (_UUID, _HASH) for found in form.finditer(text)]
    parts: list[str] = []
    position = 0
    for start, end in spans:
        if any(start < other_end and other_start < end for other_start, other_end in opaque):
            continue
        parts += (text[position:start], "[redacted:card]")
        position = end
    return "".join((*parts, text[position:]))


def _cards_in(text: str, run: Span) -> list[Span]:
    """Card numbers made of whole groups of digits of one run, in order and not overlapping.

    Groups before or after a card may happen to form a valid number with a part of it: findings
    that overlap are masked together, so that no part of the real one stays.
    """
    places = [place for place in range(*run) if "0" <= text[place] <= "9"]
    digits = [ord(text[place]) - 48 for place in places]
    # Luhn sums up to each digit, with every digit of even place doubled, and of odd place.
    doubled_even = _sums(
        _DOUBLED[digit] if at % 2 == 0 else digit for at, digit in enumerate(digits)
    )
    doubled_odd = _sums(_DOUBLED[digit] if at % 2 else digit for at, digit in enumerate(digits))
    spans: list[Span] = []
    for first in range(len(digits) - CARD_DIGITS_MIN + 1):
        if not 2 <= digits[first] <= 6 or (first and places[first - 1] + 1 == places[first]):
            continue
        if _is_fraction(text, places[first]):
            continue
        for end in range(
            min(len(digits), first + CARD_DIGITS_MAX), first + CARD_DIGITS_MIN - 1, -1
        ):
            if end < len(digits) and places[end - 1] + 1 == places[end]:
                continue
            # The last digit is never doubled.
            sums = doubled_odd if end % 2 else doubled_even
            if (sums[end] - sums[first]) % 10 == 0 and not _is_whole_part(
                text, places[end - 1] + 1
            ):
                _add_span(spans, places[first], places[end - 1] + 1)
                break
    return spans


def _sums(values: Iterable[int]) -> list[int]:
    return list(accumulate(values, initial=0))


def _add_span(spans: list[Span], start: int, end: int) -> None:
    if spans and start < spans[-1][1]:
        spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
    else:
        spans.append((start, end))


def _is_fraction(text: str, start: int) -> bool:
    return start >= 2 and text[start - 1] == "." and text[start - 2] in "0123456789"


def _is_whole_part(text: str, end: int) -> bool:
    return text[end : end + 1] == "." and text[end + 1 : end + 2].isdecimal()
