"""Rows of sessions and insights come back from Kafka as they went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.core.insight import Insight
from flows.core.session_row import (
    SessionRow,
    insight_message,
    insight_of_message,
    row_of_message,
    session_message,
)
from schemas.v1.pipeline_pb2 import Insight as InsightMessage
from schemas.v1.pipeline_pb2 import SessionRevision

_TEXT = st.text(max_size=8)
_COUNT = st.integers(0, 2**32 - 1)
_TIME = st.integers(0, 2**45)


def _rows() -> st.SearchStrategy[SessionRow]:
    by_type = {"str": _TEXT, "int": _COUNT, "bool": st.booleans(), "float": st.floats(0, 1)}
    fields = {
        name: by_type[kind]
        for name, kind in SessionRow.__annotations__.items()
        if kind in by_type and name != "issues"
    }
    return st.builds(
        SessionRow,
        **fields,
        experience_score=st.none() | st.integers(0, 100),
        emotion_event_id=st.none() | st.uuids().map(str),
        issues=st.sampled_from(["[]", '[{"type":"rage_click"}]']),
    )


@given(_rows())
def test_session_comes_back_as_it_went_in(row: SessionRow) -> None:
    """Every column, a score that is missing and one that is 0 included."""
    value = session_message(row).SerializeToString()
    assert row_of_message(SessionRevision.FromString(value)) == row


@given(
    st.builds(
        Insight,
        timestamp_ms=_TIME,
        ended_at_ms=_TIME,
        x=st.none() | st.integers(-32_768, 32_767),
        y=st.none() | st.integers(-32_768, 32_767),
        target_selector=st.none() | st.just("#buy"),
        rule_version=st.integers(1, 100),
        related_event_ids=st.lists(st.uuids().map(str), max_size=3).map(tuple),
        **dict.fromkeys(("insight_id", "project_id", "session_id", "insight_type"), _TEXT),
        **dict.fromkeys(("url", "path", "severity", "details"), _TEXT),
        is_provisional=st.booleans(),
    )
)
def test_insight_comes_back_as_it_went_in(insight: Insight) -> None:
    """Pixel 0 is a pixel, no pixel stays none, previews are told apart."""
    value = insight_message(insight).SerializeToString()
    assert insight_of_message(InsightMessage.FromString(value)) == insight


def test_insight_without_a_rule_version_is_refused() -> None:
    """Its id could not be told from those of other rules."""
    with pytest.raises(ValueError, match="invalid literal"):
        insight_of_message(InsightMessage(insight_id="1", detector_version="new"))
