"""One session judged: what was committed of it, against recounts and references. Pure.

In: its records, what was sent, what may have come of them, and what was committed. Out: a
`Judgement`, whose faults are sentences; none when every rule of `session_auditor` holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from flows.core.insight import Insight
from tests.faults.session_log import Arrival
from tests.faults.session_replay import Expectation, Outcome
from tests.faults.session_truth import counted_insights, counted_row, first_times, insight_id
from tests.faults.traffic import SessionKey, Told
from tests.session_schedules import are_consecutive


@dataclass
class Judgement:
    """What is wrong with a session; `is_scripted`: its script was compared, too."""

    lost: int = 0
    doubled: int = 0
    is_scripted: bool = False
    faults: list[str] = field(default_factory=list)


def judge(
    key: SessionKey,
    told: Told,
    arrivals: Sequence[Arrival],
    expectation: Expectation | None,
    found: Outcome,
) -> Judgement:
    """Look at all of it; without an expectation at counts, revisions and repetitions alone."""
    if not found.rows:
        return Judgement(lost=1, faults=["there is no row"])
    made = Judgement()
    faults = made.faults
    ids = Counter(one.insight_id for one in found.insights if not one.is_provisional)
    made.doubled = sum(ids.values()) - len(ids)
    if made.doubled:
        faults.append(f"insights committed twice: {[i for i, n in ids.items() if n > 1][:2]}")
    revisions = [row.revision for row in found.rows]
    if not are_consecutive(revisions):
        faults.append(f"revisions {revisions}")
    faults += _miscounts(key, told, arrivals, found)
    if expectation is None:
        return made
    best = min(expectation.outcomes, key=lambda one: len(one.final.keys() ^ ids.keys()))
    missing, surplus = best.final.keys() - ids.keys(), ids.keys() - best.final.keys()
    made.lost = len(missing)
    faults += [f"no {best.final[one].insight_type} {one}" for one in sorted(missing)]
    faults += [f"made up: {found.final[one].insight_type} {one}" for one in sorted(surplus)]
    if not faults and not expectation.fits(found):
        faults.append(f"not as the reference has it: {_difference(found, best)}")
    if not faults and expectation.whole is not None:
        _judge_whole(made, key, told, arrivals, expectation.whole, found)
    return made


def _miscounts(
    key: SessionKey, told: Told, arrivals: Sequence[Arrival], found: Outcome
) -> list[str]:
    wanted = counted_row(key[0], arrivals, told.sent)
    wanted |= counted_insights({name: one.insight_type for name, one in found.final.items()})
    row = msgspec.structs.asdict(found.rows[-1])
    differ = {name: (row[name], value) for name, value in wanted.items() if row[name] != value}
    return [f"the row says, and a recount: {differ}"] if differ else []


def _judge_whole(
    made: Judgement,
    key: SessionKey,
    told: Told,
    arrivals: Sequence[Arrival],
    whole: Mapping[str, Insight],
    found: Outcome,
) -> None:
    """A session that came in time: seen as a whole, and as its script has it."""
    if found.final != whole:
        made.faults.append(f"as a whole it has {sorted(whole)}, not {sorted(found.final)}")
    script = told.scripts.get(key)
    # A clock that was corrected moves each batch a little.
    if script is None or any(one.is_shifted for one in arrivals):
        return
    made.is_scripted = first_times(arrivals).keys() == script.event_ids
    wanted = {insight_id(*key, *find) for find in script.finds}
    if made.is_scripted and wanted != found.final.keys():
        made.faults.append(f"its script has {sorted(script.finds)}")


def _difference(found: Outcome, wanted: Outcome) -> str:
    """The first thing that differs, in words."""
    for name in ("insights", "rows"):
        left, right = getattr(found, name), getattr(wanted, name)
        if len(left) != len(right):
            return f"{len(left)} {name}, not {len(right)}"
        for one, other in zip(left, right, strict=True):
            pairs = zip(
                msgspec.structs.asdict(one).items(), msgspec.structs.astuple(other), strict=True
            )
            differ = {key: (value, wish) for (key, value), wish in pairs if value != wish}
            if differ:
                return f"{name}: {json.dumps(differ, default=str)}"
    return "nothing"
