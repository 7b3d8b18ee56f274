"""docs/detectors.md says what the code does."""

from __future__ import annotations

import json

from schemas.detection_settings import DEFAULTS
from schemas.project_settings import settings_problems
from tests.detector_tables import DOCUMENT, filled, tables
from tests.unit.test_docs import fences


def test_tables_are_those_of_the_code() -> None:
    """`python -m tests.detector_tables` writes them anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert filled(text) == text
    assert set(DEFAULTS) < set(tables())


def test_a_changed_default_would_be_noticed() -> None:
    """A table that differs by one number is not the same."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert filled(text.replace("| 50 px |", "| 51 px |")) == text
    assert "| 50 px |" in text


def test_its_examples_are_valid_settings() -> None:
    """Each JSON block may be saved as it is."""
    blocks = [content for language, content in fences(DOCUMENT.read_text(encoding="utf-8"))
              if language == "json"]  # fmt: skip
    assert blocks
    assert [settings_problems(json.loads(block)) for block in blocks] == [[]] * len(blocks)
