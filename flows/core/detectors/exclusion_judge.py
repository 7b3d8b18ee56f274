"""The exclusions of one detector at work: what they hide, what they cover, what they wait for.

In: events, findings, and the evidence up to the moment at which a finding was decided. Out: the
exclusion that is the reason to keep something away, or none. Used around one detector
(`excluding`) and for all detectors of a session at once (`flows.core.live_detectors`). Pure.

**What an exclusion sees.** Of the kinds that it takes, what came at most so long before the finding
as it says, and all that came from then on until the decision; of findings that took longer than
`REMEMBERED_MS` only the end decides. So what it sees depends on the events alone, not on when
somebody forgot them: evidence must be kept `LINGERS_MS` longer while the detector remembers
something that happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from flows.core.detectors.evidence import REMEMBERED_MS, Evidence, Exclusion, Seen
from flows.core.detectors.targets import KnownTargets
from flows.core.insight import Finding
from flows.core.session_event import Click, SessionEvent, Target

# Longer than what is remembered of a finding, and the longest wait until it is decided.
LINGERS_MS = 30_000
# Kinds of events that an exclusion may hide.
_HIDDEN_KINDS = frozenset({"click", "js_error", "unhandled_rejection"})


class Judge:
    """See the module. `takes` are the kinds of evidence, each with how long before it matters."""

    def __init__(self, kinds: frozenset[str], exclusions: Sequence[Exclusion]) -> None:
        """`kinds` are those of the detector."""
        self.takes: dict[str, int] = {}
        for exclusion in exclusions:
            for kind, keep_ms in exclusion.takes.items():
                self.takes[kind] = max(keep_ms, self.takes.get(kind, 0))
        self._hiders = [(each, each.hides) for each in exclusions if each.hides is not None]
        self._skips = [(each, each.skips) for each in exclusions if each.skips is not None]
        self._covers = [(each, each.covers) for each in exclusions if each.covers is not None]
        self._waits = [(each, each.waits) for each in exclusions if each.waits is not None]
        self.hidden_kinds = kinds & _HIDDEN_KINDS if self._hiders or self._skips else frozenset()
        # What hides an event came at most so long before it; -1: none of them looks back.
        self.hides_after_ms = max(
            [keep_ms for each, _ in self._hiders for keep_ms in each.takes.values()], default=-1
        )
        self._skippers = KnownTargets(self._skipper)

    def hider(self, event: SessionEvent, before: Seen) -> Exclusion | None:
        """The exclusion that keeps this event from the detector.

        `before` is the evidence before it; what is older than `hides_after_ms` may be left out.
        """
        body = event.body
        if self._skips and isinstance(body, Click):
            skipper = self._skippers.of(body.target)
            if skipper is not None and not (skipper.unless_observed and body.dom_observed):
                return skipper
        for each, hides in self._hiders:
            if hides(event, before):
                return each
        return None

    def cover(self, finding: Finding, seen: Seen) -> Exclusion | None:
        """The reason of a finding, as far as it is known from what was seen."""
        for each, covers in self._covers:
            if covers(finding, visible(each, finding, seen)):
                return each
        return None

    def waits_until_ms(self, finding: Finding) -> int:
        """Until when a finding may still be covered; 0: it is decided."""
        wait_ms = max([each.wait_ms for each, waits in self._waits if waits(finding)], default=0)
        return finding.at_ms + wait_ms if wait_ms else 0

    def _skipper(self, target: Target) -> Exclusion | None:
        skippers = [each for each, skips in self._skips if skips(target)]
        # One that always does before one that may.
        return min(skippers, key=lambda each: each.unless_observed, default=None)


def visible(exclusion: Exclusion, finding: Finding, seen: Seen) -> list[Evidence]:
    """What an exclusion sees of the evidence."""
    takes = exclusion.takes
    first_ms = max(finding.at_ms, finding.ended_at_ms - REMEMBERED_MS)
    return [
        each
        for each in seen
        if (keep_ms := takes.get(each.kind)) is not None and each.at_ms >= first_ms - keep_ms
    ]
