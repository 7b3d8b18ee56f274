"""Finding what must not be kept in a text: card numbers, secrets, e-mail addresses and so on.

In: a text. Out: the same text with each finding replaced by `[redacted:<name>]`. Guarantees: never
raises, masking twice is masking once, and the cost grows with the length of the text and not
faster, whatever the text and the project's own expressions are. Pure.

A project's expressions run on RE2, whose time is linear; Python's engine can be made to run for
hours by a text of forty characters. Source: privacy.md, section 5.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

import re2

from schemas.card_numbers import redact_cards

TEXT_CHARS_MAX = 8_192  # What is longer is cut: nothing passes unread.
CUSTOM_PATTERNS_MAX = 20
CUSTOM_PATTERN_CHARS_MAX = 200
CUSTOM_PATTERN_MEMORY_BYTES = 1 << 20
YEAR_OF_BIRTH_MIN = 1900

Redactor = Callable[[str], str]

_MARKER = re.compile(r"\[redacted(?::[a-z0-9]+)?\]")
_DIGIT = re.compile(r"[0-9]")

_SECRET = re.compile(
    r"(?<![A-Za-z0-9])[Bb](?:earer|EARER) {1,4}[A-Za-z0-9._~+/=-]{16,}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){1,3}"
    r"|(?<![A-Za-z0-9])(?:sk_live_|rk_live_|whsec_|ghp_|gho_|xoxb-|xoxp-)[A-Za-z0-9_-]{4,}"
    r"|(?<![A-Za-z0-9])AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}"
    r"(?:[A-Za-z0-9]{11,30}|(?:[ \u00a0][A-Za-z0-9]{4}){2,7}(?:[ \u00a0][A-Za-z0-9]{1,4})?)"
    r"(?![A-Za-z0-9])"
)
_IBAN_CHARS_MIN = 15
# A letter stands for its place in the alphabet plus nine. Source: ISO 13616.
_IBAN_DIGITS = {ord(letter): str(int(letter, 36)) for letter in string.ascii_letters}
_SSN = re.compile(
    r"(?<![0-9])(?!000|666|9)[0-9]{3}([-. ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9])"
)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@"
    r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,16}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_PHONE = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"\+[0-9](?:[ \u00a0.()/-]{0,3}[0-9]){7,14}"
    r"|(?:\([0-9]{3}\)[ \u00a0]?|[0-9]{3}[ \u00a0.-])[0-9]{3}[ \u00a0.-][0-9]{4}"
    r")(?![0-9])"
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![0-9A-Za-z.]){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z]|\.[0-9])")
_DATE = re.compile(
    r"(?<![0-9])(?:"
    r"(?P<us_month>[0-9]{1,2})/(?P<us_day>[0-9]{1,2})/(?P<us_year>[0-9]{4})"
    r"|(?P<eu_day>[0-9]{1,2})\.(?P<eu_month>[0-9]{1,2})\.(?P<eu_year>[0-9]{4})"
    r"|(?P<iso_year>[0-9]{4})-(?P<iso_month>[0-9]{2})-(?P<iso_day>[0-9]{2})"
    r")(?![0-9])"
)


class PatternError(ValueError):
    """A project's expression that is not taken; the text says why."""


@lru_cache(maxsize=256)
def compile_custom(expression: str) -> Any:
    """A project's expression, compiled for RE2.

    Raises:
        PatternError: too long, not RE2 syntax (no look-around, no back-references), or matching
            the empty text.
    """
    if not 0 < len(expression) <= CUSTOM_PATTERN_CHARS_MAX:
        raise PatternError(f"must have 1 to {CUSTOM_PATTERN_CHARS_MAX} characters")
    options = re2.Options()
    options.max_mem = CUSTOM_PATTERN_MEMORY_BYTES
    options.log_errors = False
    try:
        pattern = re2.compile(expression, options)
        is_empty_match = pattern.search("") is not None
    except (re2.error, UnicodeEncodeError) as error:
        raise PatternError("is not an expression that RE2 takes") from error
    if is_empty_match:
        raise PatternError("matches the empty text")
    return pattern


def build_redactor(
    *,
    email: bool,
    phone: bool = False,
    ipv4: bool = False,
    birth_date: bool = False,
    year_max: int = 9999,
    custom: Sequence[str] = (),
) -> Redactor:
    """A function that masks a text; cards, secrets, IBANs and SSNs always.

    `year_max` is the last year that a date of birth can have. Custom expressions are those of
    `compile_custom`; they do not see what was masked before them.
    """
    steps: list[Redactor] = []
    if email:
        steps.append(_redact_emails)
    if phone:
        steps.append(_redact_phones)
    if birth_date:
        steps.append(lambda text: _redact_dates(text, year_max))
    if ipv4:
        steps.append(lambda text: _IPV4.sub("[redacted:ipv4]", text))
    compiled = tuple(compile_custom(expression) for expression in custom)
    if compiled:
        steps.append(lambda text: _redact_custom(text, compiled))

    def redact(text: str) -> str:
        # Each round that changes something masks at least one more character; nearly always the
        # second round changes nothing, which is what makes masking twice the same as once.
        while True:
            before = text
            text = _redact_always(text[:TEXT_CHARS_MAX])
            for step in steps:
                text = step(text)
            if text == before:
                return text

    return redact


def _redact_always(text: str) -> str:
    text = _SECRET.sub("[redacted:secret]", text)
    if _DIGIT.search(text) is None:
        return text
    return _SSN.sub("[redacted:ssn]", redact_cards(_redact_ibans(text)))


def _redact_emails(text: str) -> str:
    return _EMAIL.sub("[redacted:email]", text) if "@" in text else text


def _redact_phones(text: str) -> str:
    return _PHONE.sub("[redacted:phone]", text) if _DIGIT.search(text) else text


def _redact_ibans(text: str) -> str:
    position = 0
    while found := _IBAN.search(text, position):
        end = _iban_end(found.group())
        if end:
            text = f"{text[: found.start()]}[redacted:iban]{text[found.start() + end :]}"
        position = found.start() + 4
    return text


def _iban_end(candidate: str) -> int:
    """Where the account number ends that begins the text; 0 if there is none.

    Words after the number may look like its last groups: shorter ends are tried.
    """
    end = len(candidate)
    while end >= _IBAN_CHARS_MIN:
        number = candidate[:end].replace(" ", "").replace("\u00a0", "")
        if len(number) < _IBAN_CHARS_MIN:
            return 0
        if int((number[4:] + number[:4]).translate(_IBAN_DIGITS)) % 97 == 1:
            return end
        end = max(candidate.rfind(" ", 0, end), candidate.rfind("\u00a0", 0, end))
    return 0


def _redact_dates(text: str, year_max: int) -> str:
    def mask(found: re.Match[str]) -> str:
        form = "us" if found["us_year"] else "eu" if found["eu_year"] else "iso"
        year = int(found[f"{form}_year"])
        try:
            date(year, int(found[f"{form}_month"]), int(found[f"{form}_day"]))
        except ValueError:
            return found.group()
        return "[redacted:dob]" if YEAR_OF_BIRTH_MIN <= year <= year_max else found.group()

    return _DATE.sub(mask, text)


def _redact_custom(text: str, patterns: Sequence[Any]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    for pattern in patterns:
        if pattern.search(text) is not None:
            text = _outside_markers(text, pattern)
    return text


def _outside_markers(text: str, pattern: Any) -> str:
    parts: list[str] = []
    position = 0
    for marker in [*_MARKER.finditer(text), None]:
        end = len(text) if marker is None else marker.start()
        parts.append(pattern.sub("[redacted:custom]", text[position:end]))
        if marker is not None:
            parts.append(marker.group())
            position = marker.end()
    return "".join(parts)
