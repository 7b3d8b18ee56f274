"""Small pure parts of the command: settings, keys, times, load plans, made-up visits."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest

from cli.default_project import default_settings
from cli.dlq_work import BadMomentError, since_ms
from cli.explain import what_it_is
from cli.folders import ENVIRONMENT_FILE
from cli.load import EVENTS_MAX, LoadPlan, LoadResult, make_bodies
from cli.output import cell_text
from cli.settings import merged_environment
from cli.synthetic import Visitors
from connectors.secret_texts import hash_of, new_key
from schemas.codec import decode_batch
from schemas.project_settings import parse_settings
from schemas.records import ProjectSettings
from schemas.slugs import slug_of
from schemas.validate import validate_event

NOW_MS = 1_795_255_200_000


def plan(**changes: object) -> LoadPlan:
    """A small plan."""
    fields: dict[str, object] = {
        "gateway_url": "http://gateway",
        "key": "k",
        "events_per_s": 100,
        "seconds": 1,
        "seed": 7,
    }
    return LoadPlan(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "slug"),
    [("My shop", "my-shop"), ("  Ünïcode & more! ", "n-code-more"), ("!!!", "project")],
)
def test_slugs_can_stand_in_a_url(name: str, slug: str) -> None:
    """A slug has lower-case letters, digits and single hyphens, and is never empty."""
    assert slug_of(name) == slug
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)


@pytest.mark.parametrize(
    ("permission", "prefix"), [("write", "gs_live_"), ("read", "gs_api_"), ("admin", "gs_api_")]
)
def test_keys_tell_what_they_are_for(permission: str, prefix: str) -> None:
    """A key has its prefix and 32 random characters, and is never made twice."""
    key = new_key(permission)
    assert re.fullmatch(prefix + "[0-9A-Za-z]{32}", key)
    assert new_key(permission) != key
    assert re.fullmatch("[0-9a-f]{64}", hash_of(key))


def test_the_environment_wins_over_the_data_folder(tmp_path: Path) -> None:
    """Servers named in the environment are used; without any, those of the data folder."""
    found = {"KAFKA_BROKERS": "127.0.0.1:1", "REDIS_URL": "redis://a"}
    (tmp_path / ENVIRONMENT_FILE).write_text(json.dumps(found))
    assert merged_environment({"HOME": "/"}, tmp_path) == {"HOME": "/", **found}
    named = {"KAFKA_BROKERS": "kafka:9092"}
    assert merged_environment(named, tmp_path) == named
    assert merged_environment({}, tmp_path / "nothing") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("90s", NOW_MS - 90_000),
        ("2h", NOW_MS - 7_200_000),
        ("1d", NOW_MS - 86_400_000),
        ("2026-11-21T10:00:00Z", 1_795_255_200_000),
        ("2026-11-21", 1_795_219_200_000),
    ],
)
def test_since_takes_spans_and_moments(text: str, expected: int) -> None:
    """A span counts back from now; a moment without zone is UTC."""
    assert since_ms(text, NOW_MS) == expected


@pytest.mark.parametrize("text", ["last week", "5w", "-3h", "2026-13-01", "9999999999d"])
def test_a_bad_since_is_refused(text: str) -> None:
    """What is neither a span nor a moment is a fault of the caller."""
    with pytest.raises(BadMomentError):
        since_ms(text, NOW_MS)


def test_the_default_project_takes_every_kind_of_event() -> None:
    """No category is off, unlike in a project with default settings."""
    assert parse_settings(default_settings()).disabled_categories == frozenset()
    assert ProjectSettings().disabled_categories


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_made_up_events_are_valid_and_never_repeat(form: str) -> None:
    """A gateway would accept each of them, and no id comes twice."""
    seen: set[str] = set()
    settings = parse_settings(default_settings())
    for body in make_bodies(plan(form="protobuf")):
        batch = decode_batch(body)
        for event in batch.events:
            refused = validate_event(event, settings, batch.sent_at, batch.sent_at, 1_000)
            assert refused is None, (event.event_type, refused)
            seen.add(event.event_id)
    assert len(seen) == 100
    assert len(make_bodies(plan(form=form))) == 10


def test_visits_are_reproducible_and_differ_by_seed() -> None:
    """The same seed gives the same batches, another seed others."""
    first = list(islice(Visitors(1).batches(10), 20))
    assert first == list(islice(Visitors(1).batches(10), 20))
    assert first != list(islice(Visitors(2).batches(10), 20))
    assert {event["event_type"] for batch in first for event in batch["events"]} >= {
        "session_start",
        "click",
        "page_view",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"events_per_s": 0},
        {"seconds": -1},
        {"batch": 0},
        {"form": "xml"},
        {"events_per_s": EVENTS_MAX, "seconds": 2},
    ],
)
def test_impossible_load_plans_are_refused(changes: dict[str, object]) -> None:
    """A plan without rate, of an unknown form or too large for memory is a fault of the caller."""
    with pytest.raises(ValueError, match=r"must|at most"):
        plan(**changes)


def test_percentiles_are_of_the_answers() -> None:
    """The 99th percentile of a hundred answers is the slowest but one or the slowest."""
    result = LoadResult(latencies_ms=[float(n) for n in range(1, 101)])
    assert result.percentile_ms(0.5) == 51.0
    assert result.percentile_ms(0.99) == 100.0
    assert LoadResult().percentile_ms(0.5) == 0.0


@pytest.mark.parametrize(
    ("cell", "text"), [(1234567, "1,234,567"), (True, "yes"), (None, ""), (["a", "b"], "a, b")]
)
def test_cells_read_well(cell: object, text: str) -> None:
    """Numbers have separators, truths are words, lists are joined."""
    assert cell_text(cell) == text


@pytest.mark.parametrize(
    ("stored_type", "said"),
    [
        (None, "nor an insight that its events make"),
        ("form_struggle", "made by form_struggle, which is not loaded here: set DETECTORS_DIR"),
        ("dead_click", "made by dead_click, which is switched off now"),
        ("rage_click", "made by rage_click, whose rules of now do not make it"),
    ],
)
def test_a_stored_insight_that_is_not_made_now_is_told_with_its_reason(
    stored_type: str | None, said: str
) -> None:
    """Who made it, and what keeps it from being made here."""
    assert what_it_is(stored_type, {"rage_click", "u_turn"}).endswith(said)
