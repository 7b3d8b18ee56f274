"""Events in one line each, and cases that say what is to be found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.detector_cases import CaseFileError, differences, read_cases
from flows.core.given_events import (
    BEGINNING_MS,
    GivenError,
    event_id_of,
    given_events,
    time_of,
)
from flows.core.insight import Finding
from flows.core.session_event import Click, Moves, Mutation, PageError, Vitals
from flows.core.session_run import run_session
from flows.user_detectors import load_user_detectors


def case_file(**case: Any) -> bytes:
    """A document with one case."""
    whole = {"name": "one", "given": [], "expected": [], **case}
    return json.dumps({"detector": "form_struggle", "cases": [whole]}).encode()


def differing(**case: Any) -> list[str]:
    """How the sample detector differs from a case."""
    (detector,) = load_user_detectors("samples/detectors").detectors
    (only,) = read_cases(case_file(**case)).cases
    return differences(only, detector.isolated(strict=True))


ERRORS = ["0s form_error /a", "1s form_error /a", "2s form_error /a"]


def test_a_line_is_an_event() -> None:
    """Time, kind, page and what its kind carries are read from one line."""
    click, moves, error, vitals, mutation = given_events(
        [
            "1.5s click /cart#/two selector='#buy now' x=4 y=5 dom_observed=false class='btn x'",
            "2m mouse_move positions=1:2:0,3:4:50",
            "20ms js_error /a message='it failed' type=TypeError",
            "1s web_vitals /a lcp=4000 cls=0.1",
            "1s dom_mutation /a click=1 kinds='mutation focus'",
        ]
    )
    assert click.at_ms == BEGINNING_MS + 1_500
    assert (click.page.path, click.page.key) == ("/cart", "/cart#/two")
    assert isinstance(click.body, Click)
    assert (click.body.target.selector, click.body.x, click.body.y) == ("#buy now", 4, 5)
    assert click.body.target.classes == ("btn", "x")
    assert click.body.dom_observed is False
    assert moves.body == Moves(((1, 2, 0), (3, 4, 50)))
    assert moves.page.path == "/"
    assert error.body == PageError("it failed", "TypeError")
    assert vitals.body == Vitals(lcp=4000, cls=0.1)
    assert mutation.body == Mutation(event_id_of(1), ("mutation", "focus"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("click", "TIME KIND"),
        ("1 click /", "not a time"),
        ("0.5ms click /", "whole number"),
        ("1s klick /", "not a type"),
        ("1s click / x", "FIELD=VALUE"),
        ("1s click / x=1 x=2", "there twice"),
        ("1s click / x=wide", "invalid literal"),
        ("1s click / colour=red", "no field colour"),
        ("1s page_view / x=1", "no field x"),
        ("1s click / text='open", "quotation"),
        ("1s mouse_move / positions=1:2", "unpack"),
    ],
)
def test_what_is_not_an_event_is_told_with_its_number(line: str, problem: str) -> None:
    """A wrong line is named, with what is wrong."""
    with pytest.raises(GivenError, match=problem) as told:
        given_events(["0s page_view /", line])
    assert "event 2" in str(told.value)


def test_times_are_exact() -> None:
    """A decimal fraction of a second is whole milliseconds, without rounding."""
    assert [time_of(text) for text in ("0.001s", "1.1s", "2m", "7ms")] == [1, 1_100, 120_000, 7]


def test_a_case_that_holds_differs_in_nothing() -> None:
    """Only what an expectation names is compared."""
    assert differing(given=ERRORS, expected=[{}]) == []
    assert differing(given=ERRORS, expected=[{"anchor": 1, "details": {"error_count": 3}}]) == []


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ([], ["0 expected, 1 found", "finding 1 is not expected"]),
        ([{}, {"anchor": 2}], ["2 expected, 1 found", 'finding 2 is missing: {"anchor":2}']),
        ([{"anchor": 2}], ["anchor is 1, not 2"]),
        ([{"at": "1s"}], ['at is "0ms", not "1000ms"']),
        ([{"related": [1, 2]}], ["related is [1,2,3], not [1,2]"]),
        ([{"details": {"error_count": 4}}], ["details.error_count is 3, not 4"]),
        ([{"details": {"colour": "red"}}], ['details.colour is null, not "red"']),
        ([{"anchor": 9}], ["there is no event 9"]),
        ([{"at": "later"}], ["not a time"]),
    ],
)
def test_a_case_that_does_not_hold_says_how(expected: Any, said: list[str]) -> None:
    """Each difference is a line with what was found and what was expected."""
    lines = differing(given=ERRORS, expected=expected)
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert part in line


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b"[]",
        b'{"detector": "x"}',
        case_file(expected=[{"anchro": 1}]),
        case_file(given="0s click /"),
        case_file(extra=1),
        case_file(given=["0s click /"] * 10_001),
    ],
)
def test_a_document_that_holds_no_cases_is_refused(document: bytes) -> None:
    """Misspelt fields are told, not skipped."""
    with pytest.raises(CaseFileError):
        read_cases(document)


LINES = st.from_regex(r"[0-9.]{1,6}(ms|s|m) (click|mouse_move|goal) \S* \S*=\S*")


@given(line=st.text() | LINES)
def test_any_text_is_an_event_or_a_told_error(line: str) -> None:
    """Nothing that is written in a case ends in a stack trace."""
    told = ""
    try:
        given_events([line])
    except GivenError as error:
        told = str(error)
    assert told == "" or "event 1" in told


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 1_000, 20_000, 60_000, 60_001]),
            st.sampled_from(["form_error", "form_error", "page_view"]),
            st.sampled_from(["/a", "/b"]),
        ),
        max_size=120,
    )
)
def test_the_sample_detector_keeps_the_contract(steps: list[tuple[int, str, str]]) -> None:
    """Never a failure, stored and read back at each step; each error is in one finding at most."""
    at_ms, lines = 0, []
    for pause_ms, kind, path in steps:
        at_ms += pause_ms
        lines.append(f"{at_ms}ms {kind} {path}")
    told: list[Exception | SystemExit] = []
    (sample,) = load_user_detectors("samples/detectors").detectors
    detector = sample.isolated(strict=True, report=lambda _name, error: told.append(error))
    found = [f for f in run_session([detector], given_events(lines)) if isinstance(f, Finding)]
    assert told == []
    evidence = [event_id for finding in found for event_id in finding.related_event_ids]
    assert len(evidence) == len(set(evidence))
    assert all(finding.details["error_count"] >= 3 for finding in found)
