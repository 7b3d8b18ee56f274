"""Takes out of an event's texts what the project does not want to keep.

In: events as clients send them. Out: the same events, changed in place, and whether anything was
changed. Guarantees: never raises; scrubbing twice is scrubbing once; what is found by the patterns
that are always on stays in no text of an event but the ids that the site itself chose.
Texts and whole small messages that were seen before are looked up, not read again: the caches are
bounded, and hold results only. What a batch takes is bounded, too: what is left is masked unread.
Source: privacy.md, sections 2, 4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, MutableSequence
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from string import digits
from typing import Any

from schemas.patterns import TEXT_CHARS_MAX, build_redactor
from schemas.records import PrivacyPolicy
from schemas.text_fields import (
    DEVICE_FIELDS,
    PAGE_FIELDS,
    PAYLOAD_FIELDS,
    Shape,
    TextField,
    TextKind,
)
from schemas.url_scrubbing import REDACTED, UrlScrubber, is_telling_key
from schemas.v1.events_pb2 import Event

# Goes into each raw record, so that it can be told which rules ran over its text.
SCRUBBER_VERSION = 2

MEMO_TEXTS_MAX = 4_096
MEMO_TEXT_CHARS_MAX = 512  # Longer texts seldom come twice, but in one batch.
LONG_TEXTS_MAX = 384
CLEAN_MESSAGES_MAX = 4_096
CLEAN_MESSAGE_BYTES_MAX = 1_024
ROUNDS_MAX = 8
# What a batch may cost. A character of prose takes 0.13 us to look at, one of a text of digits or
# of addresses up to 1.6: so it is a seventh of a second, in which a megabyte of new prose is read.
BATCH_EFFORT = 1_000_000
COSTLY = digits + "@"
COSTLY_EFFORT = 10  # Beside that of any character.
POLICIES_MAX = 16

Rule = Callable[[str], str]
Change = tuple[str, str | None, str]  # (key, new key or None to drop the entry, new value)

_ONE, _MESSAGE, _ID = Shape.ONE, Shape.MESSAGE, TextKind.ID
_TYPED = frozenset({"value"})
_NOTHING: frozenset[str] = frozenset()


class _Batch:
    """How much of a batch may still be looked at, and what was.

    `masked_unread` counts the texts for which too little was left. `long_texts` are results by rule
    and text, such as of the stack of an error that comes again and again.
    """

    def __init__(self, effort: float) -> None:
        self.begin(effort)

    def begin(self, effort: float) -> None:
        """Nothing was looked at yet."""
        self.left = effort
        self.masked_unread = 0
        self.long_texts: dict[tuple[Rule, str], str] = {}

    def take(self, text: str) -> bool:
        """Whether there is enough left for this text, which is then gone."""
        self.left -= len(text) + COSTLY_EFFORT * sum([text.count(each) for each in COSTLY])
        if self.left >= 0:
            return True
        self.masked_unread += 1
        return False


class _Memo(dict[str, str]):
    """A rule with the results of the texts that it saw lately."""

    def __init__(self, rule: Rule, batch: _Batch) -> None:
        super().__init__()
        self._rule = rule
        self._batch = batch

    def __missing__(self, text: str) -> str:
        rule, batch = self._rule, self._batch
        if (known := batch.long_texts.get((rule, text))) is not None:
            return known
        head = text[:TEXT_CHARS_MAX]
        if not batch.take(head):
            return REDACTED
        clean = _until_stable(rule, head)
        if len(text) <= MEMO_TEXT_CHARS_MAX:
            if len(self) >= MEMO_TEXTS_MAX:
                self.clear()
            self[text] = clean
        elif len(batch.long_texts) < LONG_TEXTS_MAX:
            batch.long_texts[rule, text] = clean
        return clean


def _until_stable(rule: Rule, text: str) -> str:
    """The text after which the rule changes nothing more.

    What is masked in a URL can change how its rest is read, so that a second look may find more.
    """
    for _ in range(ROUNDS_MAX):
        clean = rule(text)[:TEXT_CHARS_MAX]
        if clean == text:
            return text
        text = clean
    return REDACTED


class Scrubber:
    """The rules of one privacy policy, ready to run. Not for use by several threads at once."""

    def __init__(self, policy: PrivacyPolicy, year_now: int | None = None) -> None:
        """`year_now` bounds years of birth; without it, the year of this moment."""
        if year_now is None:
            year_now = datetime.now(UTC).year
        custom = policy.custom_patterns
        in_text, in_error = (
            build_redactor(
                email=is_error or policy.scrub_email,
                phone=policy.scrub_phone,
                ipv4=policy.scrub_ipv4,
                birth_date=policy.scrub_dob,
                year_max=year_now,
                custom=custom,
            )
            for is_error in (False, True)
        )
        urls = UrlScrubber(build_redactor(email=True, custom=custom), in_error)
        self._batch = batch = _Batch(inf)
        self._memos = {
            TextKind.TEXT: _Memo(in_text, batch),
            TextKind.ERROR: _Memo(in_error, batch),
            TextKind.URL: _Memo(urls.url, batch),
            TextKind.PATH: _Memo(urls.path, batch),
            TextKind.FRAGMENT: _Memo(urls.fragment, batch),
        }
        self._query_values = _Memo(urls.value, batch)
        self._text = self._memos[TextKind.TEXT]
        self._error = self._memos[TextKind.ERROR]
        self._scrubs_traits = policy.scrub_traits
        self._excluded = policy.exclude_from_storage
        self._clean_messages: set[bytes] = {b""}

    def begin_batch(self) -> None:
        """From here on new texts are read while BATCH_EFFORT lasts, and then masked as a whole.

        Without it all are read, however long that takes.
        """
        self._batch.begin(BATCH_EFFORT)

    @property
    def masked_unread(self) -> int:
        """Texts of the batch that were masked without being read."""
        return self._batch.masked_unread

    def scrub_text(self, text: str) -> str:
        """A text of the page, of a target or of the site."""
        return self._text[text]

    def scrub_error_text(self, text: str) -> str:
        """A text of an error; e-mail addresses are masked at every level."""
        return self._error[text]

    def scrub_url(self, url: str) -> str:
        """A URL; a text that is no URL is treated as a path with a query."""
        return self._memos[TextKind.URL][url]

    def scrub_path(self, path: str) -> str:
        """A path, also if a query was left on it."""
        return self._memos[TextKind.PATH][path]

    def scrub_field(self, text: str, shape: Shape, kind: TextKind) -> str:
        """A text of an event, by how its field holds it and what it is."""
        if kind is _ID or (shape is Shape.TRAITS and not self._scrubs_traits):
            return text
        return (self._query_values if shape is Shape.QUERY else self._memos[kind])[text]

    def scrub_event(self, event: Event) -> bool:
        """Scrub all texts of an event in place; True if anything was changed.

        Custom keys and properties that the project excludes are dropped, and so is the attribute
        `value` of a target, which may hold what a person typed.
        """
        changed = self._scrub_known(event.page, PAGE_FIELDS)
        if self._scrub_known(event.device, DEVICE_FIELDS):
            changed = True
        if event.custom and self._scrub_map(event.custom, self._excluded):
            changed = True
        member = event.WhichOneof("payload")
        if member is not None:
            fields = PAYLOAD_FIELDS.get(member)
            if fields is not None and self.scrub_message(getattr(event, member), fields):
                changed = True
        return changed

    def _scrub_known(self, message: Any, fields: tuple[TextField, ...]) -> bool:
        """Scrub a message of a kind that comes again and again: page, device, target."""
        key = message.SerializeToString()
        if key in self._clean_messages:
            return False
        if self.scrub_message(message, fields):
            return True
        if len(key) <= CLEAN_MESSAGE_BYTES_MAX:
            if len(self._clean_messages) >= CLEAN_MESSAGES_MAX:
                self._clean_messages.clear()
            self._clean_messages.add(key)
        return False

    def scrub_message(self, message: Any, fields: tuple[TextField, ...]) -> bool:
        """Scrub the texts of a message in place, by the list of its fields; True if any changed."""
        changed = False
        for name, shape, kind, _, inner in fields:
            value = getattr(message, name)
            if shape is _ONE:
                if value and kind is not _ID and (clean := self._memos[kind][value]) != value:
                    setattr(message, name, clean)
                    changed = True
            elif shape is _MESSAGE:
                if self._scrub_known(value, inner):
                    changed = True
            elif value and self._scrub_many(name, shape, kind, value):
                changed = True
        return changed

    def _scrub_many(self, name: str, shape: Shape, kind: TextKind, values: Any) -> bool:
        if shape is Shape.LIST:
            return self._scrub_list(values, kind)
        if shape is Shape.QUERY:
            return self._scrub_query(values)
        if shape is Shape.TRAITS:
            return self._scrubs_traits and self._scrub_map(values, _NOTHING)
        return self._scrub_map(values, _TYPED if name == "attributes" else self._excluded)

    def _scrub_list(self, values: MutableSequence[str], kind: TextKind) -> bool:
        memo = self._memos[kind]
        changed = False
        for index, value in enumerate(values):
            if (clean := memo[value]) != value:
                values[index] = clean
                changed = True
        return changed

    def _scrub_map(self, values: MutableMapping[str, str], excluded: frozenset[str]) -> bool:
        memo = self._text
        changes: list[Change] = []
        for key, value in values.items():
            if key in excluded:
                changes.append((key, None, ""))
                continue
            new_key, clean = memo[key], memo[value]
            if new_key != key or clean != value:
                changes.append((key, new_key, clean))
        return _apply(values, changes)

    def _scrub_query(self, values: MutableMapping[str, str]) -> bool:
        changes: list[Change] = []
        for key, value in values.items():
            clean = REDACTED if value and is_telling_key(key) else self._query_values[value]
            new_key = self._error[key]
            if new_key != key or clean != value:
                changes.append((key, new_key, clean))
        return _apply(values, changes)


def _apply(values: MutableMapping[str, str], changes: list[Change]) -> bool:
    for key, new_key, new_value in changes:
        if new_key != key:
            del values[key]
        if new_key is not None:
            values[new_key] = new_value
    return bool(changes)


@lru_cache(maxsize=POLICIES_MAX)
def scrubber_of(policy: PrivacyPolicy) -> Scrubber:
    """The scrubber of a policy, compiled once; projects with equal policies share one.

    Raises:
        PatternError: an expression of the project is not taken (see `patterns.compile_custom`).
    """
    return Scrubber(policy)
