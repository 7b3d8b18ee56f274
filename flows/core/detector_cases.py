"""Cases of detectors: given these events, it finds exactly this.

In: a JSON document with a detector's name and its cases. Out: for each case what differs, nothing
if it holds. An expectation says only what it cares about; the number of findings always counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flows.core.detectors.detector import Detector
from flows.core.given_events import BEGINNING_MS, GivenError, event_id_of, given_events, time_of
from flows.core.insight import Finding
from flows.core.session_event import SessionEvent
from flows.core.session_run import run_session

# How many cases a file may hold, and events a case.
CASES_MAX = 1_000
EVENTS_MAX = 10_000


class ExpectedFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is compared of one finding. `anchor` and `related` are numbers of given events, from 1;
    times are since the beginning; of `details` only the fields that are named."""

    anchor: int | None = None
    at: str | None = None
    ended: str | None = None
    url: str | None = None
    path: str | None = None
    x: int | None = None
    y: int | None = None
    selector: str | None = None
    severity: str | None = None
    details: Mapping[str, Any] = {}
    related: tuple[int, ...] | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case; `given` are lines of `flows.core.given_events`, in any order of time."""

    name: str
    given: tuple[str, ...]
    expected: tuple[ExpectedFinding, ...]


class CaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All cases of one detector."""

    detector: str
    cases: tuple[Case, ...]


class CaseFileError(ValueError):
    """The document does not hold cases; the text says where."""


_READ = msgspec.json.Decoder(CaseFile)


def read_cases(document: bytes) -> CaseFile:
    """The cases of a JSON document.

    Raises:
        CaseFileError: it is not JSON, or a field is missing, unknown or of another kind.
    """
    try:
        found = _READ.decode(document)
    except msgspec.MsgspecError as error:
        raise CaseFileError(str(error)) from None
    if len(found.cases) > CASES_MAX:
        raise CaseFileError(f"more than {CASES_MAX} cases")
    for case in found.cases:
        if len(case.given) > EVENTS_MAX:
            raise CaseFileError(f"{case.name}: more than {EVENTS_MAX} events")
    return found


def differences(case: Case, detector: Detector[Any]) -> list[str]:
    """How what the detector finds differs from what is expected; empty if it does not."""
    try:
        events = given_events(case.given)
        wanted = [_wanted(expected, len(events)) for expected in case.expected]
    except GivenError as error:
        return [str(error)]
    findings = _findings(detector, events)
    differing = []
    if len(findings) != len(wanted):
        differing.append(f"{len(wanted)} expected, {len(findings)} found")
    for number, finding in enumerate(findings, 1):
        shown = _shown(finding)
        if number > len(wanted):
            differing.append(f"finding {number} is not expected: {_text(shown)}")
            continue
        for name, value in wanted[number - 1].items():
            if shown.get(name) != value:
                differing.append(
                    f"finding {number}: {name} is {_text(shown.get(name))}, not {_text(value)}"
                )
    for number, fields in enumerate(wanted[len(findings) :], len(findings) + 1):
        differing.append(f"finding {number} is missing: {_text(fields)}")
    return differing


def _findings(detector: Detector[Any], events: Sequence[SessionEvent]) -> list[Finding]:
    made = [item for item in run_session([detector], events) if isinstance(item, Finding)]
    return sorted(made, key=lambda finding: (finding.at_ms, finding.anchor_event_id))


def _wanted(expected: ExpectedFinding, event_count: int) -> dict[str, Any]:
    """What an expectation says, by field, as `_shown` shows a finding."""
    plain = {
        **msgspec.structs.asdict(expected),
        "related": expected.related and [*expected.related],
    }
    wanted = {name: value for name, value in plain.items() if value not in (None, {})}
    for number in (expected.anchor, *(expected.related or ())):
        if number is not None and not 1 <= number <= event_count:
            raise GivenError(f"there is no event {number}; events are numbered from 1")
    for name in ("at", "ended"):
        if name in wanted:
            wanted[name] = f"{time_of(wanted[name])}ms"
    details = wanted.pop("details", {})
    return {**wanted, **{f"details.{name}": value for name, value in details.items()}}


def _shown(finding: Finding) -> dict[str, Any]:
    return {
        "anchor": _number(finding.anchor_event_id),
        "at": f"{finding.at_ms - BEGINNING_MS}ms",
        "ended": f"{finding.ended_at_ms - BEGINNING_MS}ms",
        "url": finding.url,
        "path": finding.path,
        "x": finding.x,
        "y": finding.y,
        "selector": finding.target_selector,
        "severity": finding.severity,
        "related": [_number(event_id) for event_id in finding.related_event_ids],
        **{f"details.{name}": value for name, value in finding.details.items()},
    }


def _number(event_id: str) -> int | str:
    """The number of a given event; an id that no event has is shown as it is."""
    number = event_id[-12:]
    return int(number) if number.isdigit() and event_id == event_id_of(int(number)) else event_id


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
