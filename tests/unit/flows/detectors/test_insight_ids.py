"""Ids of insights: the vector of the specification."""

from __future__ import annotations

from flows.core.insight import insight_id


def test_the_id_is_a_function_of_the_evidence() -> None:
    """Source: detectors.md, section 1.3."""
    made = insight_id(
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
        "rage_click",
        "33333333-3333-4333-8333-333333333333",
        1,
    )
    assert made == "9d60e830-9c6a-50fa-a934-6d52d46ce2ef"
