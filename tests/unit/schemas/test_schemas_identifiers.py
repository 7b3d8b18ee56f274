"""Ids and times: the same input gives the same result everywhere and for ever."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.identifiers import (
    are_canonical_uuids,
    corrected_time_ms,
    derived_event_uuid,
    event_uuid,
    is_canonical_uuid,
    session_uuid,
    sha256_hex,
)

UUID_TEXT = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
RECEIVED = 1_795_255_931_958


def test_short_event_text_becomes_the_published_uuid() -> None:
    """The vector of the protocol holds."""
    assert event_uuid("p1", "s1", "k3j9x") == "d7cd0f54-e5e0-57fb-b984-141502948fa7"


@pytest.mark.parametrize("text", [UUID_TEXT, UUID_TEXT.upper(), UUID_TEXT.capitalize()])
def test_uuid_stays_itself_in_lower_case(text: str) -> None:
    """However a client spells a UUID, it is one id."""
    assert event_uuid("p1", "s1", text) == UUID_TEXT
    assert session_uuid("p1", text) == UUID_TEXT


@pytest.mark.parametrize(
    "text",
    [
        UUID_TEXT.replace("-", ""),
        f"{{{UUID_TEXT}}}",
        f"urn:uuid:{UUID_TEXT}",
        f"{UUID_TEXT}\n",
        f" {UUID_TEXT}",
        "",
        "k3j9x",
        "ü",
        "\0",
    ],
)
def test_other_text_becomes_a_derived_uuid(text: str) -> None:
    """Only the plain form counts as a UUID; everything else is hashed."""
    for found in (event_uuid("p1", "s1", text), session_uuid("p1", text)):
        assert uuid.UUID(found).version == 5
        assert found == str(uuid.UUID(found))
        assert found != UUID_TEXT


# Texts that together look like UUIDs, and are none: cut in other places, or with an end of a line.
LIKE_UUIDS = st.sampled_from(
    [
        UUID_TEXT,
        UUID_TEXT.upper(),
        UUID_TEXT[:-1],
        UUID_TEXT + "0",
        f"{UUID_TEXT}-3f2504e0",
        "4f89-41d3-9a0c-0305e82c3301",
        f"{UUID_TEXT}\n{UUID_TEXT}",
        "3f2504e04f89-41d3-9a0c-0305e82c33-01",
        "3f2504e0-4f89-41d3-9a0c-0305e82c330\n",
        UUID_TEXT.replace("-", "\n"),
        "\ud800",
        "",
    ]
)


@given(st.lists(st.one_of(st.uuids().map(str), LIKE_UUIDS, st.text(max_size=40)), max_size=6))
def test_a_record_of_canonical_uuids_is_told_as_one_by_one(texts: list[str]) -> None:
    """Looking at all ids at once says what looking at each of them says."""
    assert are_canonical_uuids(texts) == all(map(is_canonical_uuid, texts))


def test_session_text_is_bound_to_its_project() -> None:
    """The same text in two projects is two sessions, and not the event of that name."""
    assert session_uuid("p1", "s1") != session_uuid("p2", "s1")
    namespace = uuid.UUID("55b1d11d-2326-581e-83dc-b186f5123d3a")
    assert session_uuid("p1", "s1") == str(uuid.uuid5(namespace, "p1|s1"))


def test_event_text_is_bound_to_project_and_session() -> None:
    """The same text in two sessions is two events."""
    ids = {event_uuid(p, s, "1") for p in ("p1", "p2") for s in ("s1", "s2")}
    assert len(ids) == 4


def test_missing_event_id_is_derived_from_everything_that_tells_events_apart() -> None:
    """A retry gives the same id; any other session, time, type or payload another one."""
    base = ("p1", "s1", 1000, 20, b"payload")
    others = [
        ("p2", "s1", 1000, 20, b"payload"),
        ("p1", "s2", 1000, 20, b"payload"),
        ("p1", "s1", 1001, 20, b"payload"),
        ("p1", "s1", 1000, 21, b"payload"),
        ("p1", "s1", 1000, 20, b""),
    ]
    ids = {derived_event_uuid(*arguments) for arguments in [base, base, *others]}
    assert len(ids) == 1 + len(others)
    name = f"p1|s1|1000|20|{hashlib.sha256(b'payload').hexdigest()}"
    namespace = uuid.UUID("52b509d7-a38a-59be-8d7a-109b6d55e4c0")
    assert derived_event_uuid(*base) == str(uuid.uuid5(namespace, name))


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=()), max_size=60), st.text(max_size=20))
def test_any_text_gives_a_canonical_uuid(text: str, project: str) -> None:
    """Ids are made of every text, also of half surrogate pairs, and normalising is idempotent."""
    for found in (event_uuid(project, "s", text), session_uuid(project, text)):
        assert str(uuid.UUID(found)) == found
        assert session_uuid(project, found) == found
    assert len(sha256_hex(text)) == 64


def test_hash_is_of_the_utf8_bytes() -> None:
    """The published test value of SHA-256 for `abc`."""
    assert sha256_hex("abc").startswith("ba7816bf8f01cfea414140de5dae2223")


@pytest.mark.parametrize(
    ("timestamp", "sent_at", "expected"),
    [
        (RECEIVED - 500, RECEIVED, RECEIVED - 500),
        (RECEIVED - 500, RECEIVED - 2_000, RECEIVED - 500),
        (RECEIVED - 500, RECEIVED + 2_000, RECEIVED - 500),
        (RECEIVED - 2_501, RECEIVED - 2_001, RECEIVED - 500),
        (RECEIVED + 1_501, RECEIVED + 2_001, RECEIVED - 500),
        (RECEIVED - 250_500, RECEIVED - 250_000, RECEIVED - 500),
        (RECEIVED - 86_400_000, 0, RECEIVED - 86_400_000),
        (RECEIVED - 500, -1, RECEIVED - 500),
        (RECEIVED + 60_000, 0, RECEIVED + 60_000),
        (RECEIVED + 60_001, 0, RECEIVED),
        (RECEIVED + 60_001, RECEIVED + 1_000, RECEIVED),
        (RECEIVED + 10**9, RECEIVED - 10_000, RECEIVED),
    ],
)
def test_event_time_is_corrected_by_the_skew_of_clocks(
    timestamp: int, sent_at: int, expected: int
) -> None:
    """A skew above two seconds shifts the time; more than a minute ahead is receipt time."""
    assert corrected_time_ms(timestamp, sent_at, RECEIVED) == expected
