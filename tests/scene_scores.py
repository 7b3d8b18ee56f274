"""Precision and recall of each detector on the recorded scenes: `python -m tests.scene_scores`.

In: the scenes with their labels (`tests.scene_files`), decoded as the gateway and the flow do.
Out: a score for each type of insight under each set of rules. What a label says:

- an insight that fits an item of `expected` is right, up to `count_max` of the item; one that fits
  none, nor an item of `allowed`, is wrong;
- an item is found if at least `count_min` insights fit it;
- items that are not clear are counted apart: neither are they missed nor do they make right;
- for the bare rule, what `plain_rule` says it misses is not expected, what it finds too much is.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from flows.core.detection_rules import rules_of_document
from flows.core.insight import Finding
from flows.core.session_event import SessionEvent
from flows.core.session_run import run_session
from schemas.detection_settings import DEFAULTS
from tests.scene_files import MORE_SCENES, SCENES, scene_folder, scene_names
from tests.session_records import live_batches, raw_values

PLAIN: Mapping[str, Any] = {"insights": {"exclusions": False}}
RULES: Mapping[str, Mapping[str, Any]] = {
    "bare rule": PLAIN,
    "with exclusions": {},
    "posthog": {"insights": {"preset": "posthog"}},
    "datadog": {"insights": {"preset": "datadog"}},
}
TYPES = tuple(DEFAULTS)

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Scene:
    """One recording: its labels, and its events by session."""

    name: str
    truth: Mapping[str, Any]
    sessions: Sequence[Sequence[SessionEvent]]


@dataclass
class Score:
    """Counts over some scenes; `borderline` as (found, all)."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    found: int = 0
    missed: list[str] = field(default_factory=list)
    borderline: tuple[int, int] = (0, 0)

    @property
    def precision(self) -> float:
        """The share of insights that are right."""
        total = self.right + len(self.wrong)
        return self.right / total if total else 1.0

    @property
    def recall(self) -> float:
        """The share of expected items that are found."""
        total = self.found + len(self.missed)
        return self.found / total if total else 1.0

    def add(self, other: Score) -> None:
        """Count another one's."""
        self.right += other.right
        self.wrong += other.wrong
        self.found += other.found
        self.missed += other.missed
        found, total = self.borderline
        self.borderline = found + other.borderline[0], total + other.borderline[1]


@cache
def scenes(folder: Path) -> tuple[Scene, ...]:
    """All scenes of a folder, their times as recorded."""
    return tuple(_scene(name) for name in scene_names(folder))


def _scene(name: str) -> Scene:
    folder = scene_folder(name)
    text = gzip.decompress((folder / "batches.ndjson.gz").read_bytes()).decode()
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    by_session: dict[str, list[SessionEvent]] = {}
    for batch in live_batches(raw_values([json.loads(line) for line in text.splitlines()])):
        by_session.setdefault(batch.session_id, []).extend(batch.events)
    return Scene(name, truth, list(by_session.values()))


def findings_of(scene: Scene, document: Mapping[str, Any]) -> list[Finding]:
    """What is found in a scene under the rules of this settings document."""
    detectors = rules_of_document(document).detectors()
    return [
        made
        for events in scene.sessions
        for made in run_session(detectors, events)
        if isinstance(made, Finding)
    ]


def fits(finding: Finding, item: Item, t0_ms: int) -> bool:
    """Whether an insight is what the label means."""
    if finding.insight_type != item["type"]:
        return False
    if "selector" in item and finding.target_selector != item["selector"]:
        return False
    if "path" in item and finding.path != item["path"]:
        return False
    if "page_hash" in item and not finding.url.endswith(item["page_hash"]):
        return False
    if "metrics" in item and finding.details["metric"] not in item["metrics"]:
        return False
    if "at_ms_approx" in item:
        off_ms = abs(finding.at_ms - t0_ms - item["at_ms_approx"])
        if off_ms > item.get("tolerance_ms", 1_500):
            return False
    clicks = finding.details.get("click_count", 0)
    if not clicks <= item.get("clicks_max", clicks):
        return False
    # A vendor's rule that stops counting at its threshold is not wrong for that.
    is_vendor = finding.details.get("time_window_ms") != DEFAULTS["rage_click"].time_window_ms  # type: ignore[attr-defined]
    return is_vendor or clicks >= item.get("clicks_min", clicks)


def plain_items(truth: Mapping[str, Any]) -> list[Item]:
    """What the bare rule must give: without what it misses, with what it finds too much."""
    silent = truth["plain_rule"]["silent"]
    expected = [item for item in truth["expected"] if not any(_is_same(item, s) for s in silent)]
    return expected + list(truth["plain_rule"]["fires"])


def _is_same(item: Item, other: Item) -> bool:
    return item["type"] == other["type"] and all(
        item.get(key) == other[key] for key in ("selector", "path") if key in other
    )


def is_clear(item: Item) -> bool:
    """Whether missing it is wrong."""
    return item.get("certainty", "clear") == "clear" and item.get("certain", True) is not False


def score_scene(
    name: str,
    findings: Iterable[Finding],
    expected: Sequence[Item],
    allowed: Sequence[Item],
    t0_ms: int,
) -> dict[str, Score]:
    """The score of each type."""
    scores = {kind: Score() for kind in TYPES}
    taken = [0] * len(expected)
    for finding in findings:
        score = scores[finding.insight_type]
        fitting = [
            (abs(finding.at_ms - t0_ms - item.get("at_ms_approx", 0)), place)
            for place, item in enumerate(expected)
            if fits(finding, item, t0_ms) and taken[place] < item.get("count_max", 1)
        ]
        if fitting:
            _, place = min(fitting)
            taken[place] += 1
            score.right += is_clear(expected[place])
        elif not any(fits(finding, item, t0_ms) for item in allowed):
            where = finding.target_selector or finding.path
            score.wrong.append(f"{name}: {where} at {finding.at_ms - t0_ms}")
    for item, count in zip(expected, taken, strict=True):
        score = scores[item["type"]]
        is_found = count >= item.get("count_min", 1)
        if not is_clear(item):
            found, total = score.borderline
            score.borderline = found + is_found, total + 1
        elif is_found:
            score.found += 1
        else:
            where = item.get("selector") or item.get("path")
            score.missed.append(f"{name}: {where} at {item.get('at_ms_approx')}")
    return scores


def scores_of(
    document: Mapping[str, Any], *, plain: bool = False, folder: Path = SCENES
) -> dict[str, Score]:
    """Over all scenes of a folder, by type; `plain`: against what the bare rule must give."""
    total = {kind: Score() for kind in TYPES}
    for scene in scenes(folder):
        truth = scene.truth
        expected = plain_items(truth) if plain else truth["expected"]
        findings = findings_of(scene, document)
        made = score_scene(scene.name, findings, expected, truth["allowed"], truth["t0_ms"])
        for kind, score in made.items():
            total[kind].add(score)
    return total


def over_all(scores: Mapping[str, Score]) -> Score:
    """All types together."""
    total = Score()
    for score in scores.values():
        total.add(score)
    return total


def table(title: str, folder: Path) -> str:
    """Precision and recall by type and rules, then what is wrong and what is missed."""
    lines = [f"{title} ({len(scenes(folder))})\n"]
    lines.append(f"{'':16}" + "".join(f"{name:>32}" for name in RULES))
    by_rules = {name: scores_of(document, folder=folder) for name, document in RULES.items()}
    for kind in (*TYPES, "all"):
        cells = []
        for scores in by_rules.values():
            score = over_all(scores) if kind == "all" else scores[kind]
            right, wrong = score.right, len(score.wrong)
            found, missed = score.found, len(score.missed)
            cells.append(
                f"{score.precision:.2f} ({right}/{right + wrong})"
                f"  {score.recall:.2f} ({found}/{found + missed})"
            )
        lines.append(f"{kind:16}" + "".join(f"{cell:>32}" for cell in cells))
    lines.append("precision (right of found)  recall (found of expected); clear labels only\n")
    for name, scores in by_rules.items():
        total = over_all(scores)
        lines.append(f"{name}: {total.borderline[0]} of {total.borderline[1]} borderline found")
        lines += [f"  too much  {line}" for line in total.wrong]
        lines += [f"  missed    {line}" for line in total.missed]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table("Scenes", SCENES))
    print("\n" + table("Scenes of other sites", MORE_SCENES))
