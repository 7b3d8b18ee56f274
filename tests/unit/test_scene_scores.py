"""The detectors on the recorded scenes: what people would say, and what the bare rule must give."""

from __future__ import annotations

import pytest

from tests.scene_scores import PLAIN, TYPES, over_all, scores_of


def test_the_bare_rule_gives_exactly_what_it_must() -> None:
    """Including what it finds too much and what it misses, as the labels say."""
    total = over_all(scores_of(PLAIN, plain=True))
    assert total.wrong == []
    assert total.missed == []


def test_with_exclusions_insights_are_what_people_report() -> None:
    """Over all clear labels precision and recall are at least 0.95, for each type 0.9."""
    scores = scores_of({})
    total = over_all(scores)
    assert total.precision >= 0.95, total.wrong
    assert total.recall >= 0.95, total.missed
    for kind in TYPES:
        assert scores[kind].precision >= 0.9, scores[kind].wrong
        assert scores[kind].recall >= 0.9, scores[kind].missed


@pytest.mark.parametrize(
    "name", ["text_selection", "canvas", "slow_navigation", "beside", "label_twin"]
)
def test_scores_notice_a_missing_exclusion(name: str) -> None:
    """Without what keeps a known trap away, or all that do, there is more that is wrong."""
    off = [name, "answered", "text_selection"] if name == "label_twin" else [name]
    assert over_all(scores_of({"insights": {"exclusions": off}})).wrong
