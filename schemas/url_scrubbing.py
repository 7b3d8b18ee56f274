"""What of a URL may be kept.

In: a URL, a path or a fragment, and functions that mask texts. Out: the same without user and
password, without fragments (but those of hash routing), with the values of telling query keys
replaced and all others masked. Never raises. Pure. Source: privacy.md, section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote

REDACTED = "[redacted]"
NESTED_URLS_MAX = 2  # A URL in a query value of a URL.

# Their values are never kept. Compared in lower case, also inside brackets (`user[email]`).
TELLING_KEYS = frozenset(
    {
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
    }
)

Redactor = Callable[[str], str]

_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")
_LOOKS_LIKE_URL = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*://")
_PLACE_ON_PAGE = re.compile(r"#[\w.:-]{0,100}")
_SEPARATOR = re.compile(r"([&;])")
# Left readable where a value had to be written anew.
_SAFE = "[]:/?@!$'()*,;=~|"


def is_telling_key(key: str) -> bool:
    """True for a query key whose value is never kept."""
    key = key.lower()
    if key in TELLING_KEYS:
        return True
    return "[" in key and any(part in TELLING_KEYS for part in key.replace("]", "").split("["))


@dataclass(frozen=True, slots=True)
class UrlScrubber:
    """Takes out of URLs what may not be kept.

    `redact_segment` masks the segments of paths, `redact_value` the values of queries; both get
    what a reader of the page would see, without percent-encoding.
    """

    redact_segment: Redactor
    redact_value: Redactor

    def url(self, url: str, depth: int = 0) -> str:
        """The URL as it may be stored; a text that is no URL is treated as a path.

        A mere place on the page (`#`, `#prices`) is kept: it says where a link leads. Of one that
        may tell more than that the `#` is left.
        """
        if _PLACE_ON_PAGE.fullmatch(url):
            return _masked(url, self.redact_value)
        rest, hash_sign, fragment = url.partition("#")
        rest, question_mark, query = rest.partition("?")
        authority = _AUTHORITY.match(rest)
        head, path = (rest[: authority.end()], rest[authority.end() :]) if authority else ("", rest)
        if "@" in head:
            slashes = head.index("//") + 2
            head = head[:slashes] + head.rpartition("@")[2]
        parts = [head, self._segments(path)]
        if question_mark:
            parts += ["?", self._query(query, depth)]
        if hash_sign:
            parts.append(self.fragment("#" + fragment, depth))
        clean = "".join(parts)
        return "#" if hash_sign and not clean.strip() else clean

    def path(self, path: str) -> str:
        """A path without query and fragment (but that of hash routing), its segments masked."""
        rest, hash_sign, fragment = path.partition("#")
        clean = self._segments(rest.partition("?")[0])
        return clean + self.fragment("#" + fragment) if hash_sign else clean

    def fragment(self, fragment: str, depth: int = 0) -> str:
        """A fragment with its `#`, if it is the route of a hash router (`#/a`, `#!a`, `#!/a`)."""
        for start in ("#/", "#!"):
            if fragment.startswith(start):
                route, question_mark, query = fragment[len(start) :].partition("?")
                # A router that finds `#access_token=...` makes `#/access_token=...` of it.
                parents, slash, last = route.rpartition("/")
                last = self._query(last, depth) if "=" in last else self._segments(last)
                clean = start + self._segments(parents) + slash + last
                return f"{clean}?{self._query(query, depth)}" if question_mark else clean
        return ""

    def value(self, value: str) -> str:
        """The value of a query, without percent-encoding; a URL in it is read as one."""
        return self.redact_value(self.url(value, 1) if _LOOKS_LIKE_URL.match(value) else value)

    def _segments(self, path: str) -> str:
        # Nothing that is found in a segment is hidden by its neighbours: one look for most paths.
        if "%" not in path and "+" not in path and self.redact_segment(path) == path:
            return path
        return "/".join([_masked(part, self.redact_segment) for part in path.split("/")])

    def _query(self, query: str, depth: int) -> str:
        parts = _SEPARATOR.split(query)
        parts[::2] = [self._pair(pair, depth) for pair in parts[::2]]
        return "".join(parts)

    def _pair(self, pair: str, depth: int) -> str:
        key, equals, value = pair.partition("=")
        clean_key = _masked(key, self.redact_value)
        if not value:
            return clean_key + equals
        if is_telling_key(unquote(key)):
            return f"{clean_key}={REDACTED}"
        if depth < NESTED_URLS_MAX and _LOOKS_LIKE_URL.match(nested := unquote(value)):
            clean = self.url(nested, depth + 1)
            if clean != nested:
                value = quote(clean, safe=_SAFE)
        return f"{clean_key}={_masked(value, self.redact_value)}"


def _masked(text: str, redact: Redactor) -> str:
    """One segment, key or value; as it came if there is nothing to mask."""
    plain = unquote(text)
    clean = redact(plain)
    if clean == plain and "+" in plain:
        # In a query `+` may stand for a blank, which matters between the digits of a card.
        plain = plain.replace("+", " ")
        clean = redact(plain)
    return text if clean == plain else quote(clean, safe=_SAFE, errors="replace")
