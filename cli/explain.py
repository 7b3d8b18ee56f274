"""`gosight explain`: why a click fired or not."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json, OnlyProject
from cli.output import RESULT, fail, print_json, told_plainly

if TYPE_CHECKING:
    from cli.project_history import ProjectHistory
    from flows.core.explain import EventInBrief, ExplainedInsight, Explanation, ToldVerdict

EVIDENCE_SHOWN_MAX = 12
_STYLES = {"fired": "bold green", "part": "green", "suppressed": "yellow"}


def explain(
    session: Annotated[str, typer.Argument(help="Id of the session, stored or as it was sent.")],
    event: Annotated[
        str,
        typer.Argument(
            help="Id of one event, or of an insight; else all clicks. An event's id as it was sent "
            "is known only with its session's as it was sent."
        ),
    ] = "",
    project: OnlyProject = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show what each detector thought of each click of a stored session.

    For each verdict: what was measured against the limit, which exclusions held it back, and the
    events it rests on. Detectors run by the project's settings of now, over all that is stored.
    """
    from cli.project_history import project_history
    from cli.project_store import NotFoundError
    from flows.core.explain import UnknownEventError, explain_one, explain_session
    from flows.history import read_session
    from schemas.identifiers import event_uuid, session_uuid

    with told_plainly(data):
        try:
            with project_history(data, project) as history:
                session_id = session_uuid(history.project_id, session)
                events = read_session(history.client, history.project_id, session_id)
                if not events:
                    fail(f"no event of session {session} is stored in {history.project.slug}")
                detectors = history.detectors(explain=True)
                found = explain_session(detectors, events, history.project_id, session_id)
                if event:
                    # An event's id is made with its session's as the sender wrote it.
                    event_id = event_uuid(history.project_id, session, event)
                    try:
                        found = explain_one(found, event_id, events)
                    except UnknownEventError:
                        stored_type = _stored_type(history, session_id, event)
                        names = {detector.insight_type for detector in detectors}
                        known = what_it_is(stored_type, names)
                        fail(f"{event} is no event of the session, {known}")
        except NotFoundError as error:
            fail(str(error))
    if as_json:
        print_json(found)
    else:
        _print(found)


def _stored_type(history: ProjectHistory, session_id: str, insight_id: str) -> str | None:
    """The detector whose insight of this id is stored for the session."""
    from connectors.stored_results import insight_rows

    stored = insight_rows(history.client, history.project_id, [session_id])
    types = {row["insight_id"]: row["insight_type"] for row in stored.get(session_id, ())}
    return types.get(insight_id.lower())


def what_it_is(stored_type: str | None, running: Collection[str]) -> str:
    """What an id is that neither an event has nor an insight that the `running` detectors make.

    `stored_type` is the name of the detector whose insight is stored under it; None: there is none.
    """
    from flows.user_detectors import TAKEN_NAMES

    if stored_type is None:
        return "nor an insight that its events make"
    made = f"but a stored insight, made by {stored_type}"
    if stored_type in running:
        return f"{made}, whose rules of now do not make it"
    if stored_type in TAKEN_NAMES:
        return f"{made}, which is switched off now"
    return f"{made}, which is not loaded here: set DETECTORS_DIR"


def _print(found: Explanation) -> None:
    from cli.period import time_text

    RESULT.print(f"[bold]session {found.session_id}[/], {found.event_count:,} events")
    for insight in found.insights:
        _print_insight(insight, found)
    for told in found.events:
        event = told.event
        RESULT.print()
        RESULT.print(f"[bold]{time_text(event.at_ms)}[/] {event.kind} ", end="")
        _plain(f"{_place(event)} {event.path} {event.event_id}".strip())
        if not told.verdicts:
            RESULT.print("    no detector had anything to say about it", style="dim")
        for verdict in told.verdicts:
            _print_verdict(verdict, event, found)


def _print_insight(insight: ExplainedInsight, found: Explanation) -> None:
    from cli.period import time_text

    RESULT.print(f"[bold green]{insight.insight_type}[/] {insight.severity} ", end="")
    _plain(f"{time_text(insight.at_ms)} {insight.path} {insight.insight_id}")
    details = ", ".join(f"{name} {_value(value)}" for name, value in insight.details.items())
    _plain(f"    {details}")


def _print_verdict(verdict: ToldVerdict, about: EventInBrief, found: Explanation) -> None:
    style = _STYLES.get(verdict.outcome, "dim")
    outcome = verdict.outcome.replace("_", " ")
    RESULT.print(f"    {verdict.insight_type}: [{style}]{outcome}[/]", end=" ")
    _plain(f"({verdict.reason.replace('_', ' ')})")
    for line in measured_lines(verdict):
        _plain(f"        {line}")
    shown = [
        found.evidence[key]
        for key in verdict.evidence
        if key in found.evidence and key != about.event_id
    ]
    for event in shown[:EVIDENCE_SHOWN_MAX]:
        after_ms = event.at_ms - about.at_ms
        _plain(f"        see {after_ms:+} ms {event.kind} {_place(event)}".rstrip())
    if len(shown) > EVIDENCE_SHOWN_MAX:
        _plain(f"        and {len(shown) - EVIDENCE_SHOWN_MAX} more")


def measured_lines(verdict: ToldVerdict) -> list[str]:
    """What was measured, against its limit where there is one; then limits without a measure."""
    lines = []
    for name, value in verdict.measured.items():
        limit = verdict.limits.get(name)
        against = "" if name not in verdict.limits else f" (limit {_value(limit)})"
        lines.append(f"{name}: {_value(value)}{against}")
    rest = [
        f"{name} {_value(limit)}"
        for name, limit in verdict.limits.items()
        if name not in verdict.measured
    ]
    return [*lines, f"limits: {', '.join(rest)}"] if rest else lines


def _place(event: EventInBrief) -> str:
    where = "" if event.x is None else f" at ({event.x},{event.y})"
    return f"{event.about}{where}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(str(part) for part in value) or "none"
    return str(value)


def _plain(text: str) -> None:
    RESULT.print(text, markup=False, soft_wrap=True)
