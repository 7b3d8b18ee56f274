"""Rules of projects: made once, made again when their settings change."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from connectors.memory_documents import MemoryDocuments
from connectors.settings import SettingsError
from flows.core.detection_rules import rules_of_document
from flows.detection_file import load_detection_file
from flows.project_rules import ProjectRules

PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"


def test_projects_without_settings_share_the_defaults() -> None:
    """One object for all of them."""
    rules = ProjectRules(MemoryDocuments())
    assert rules(PROJECT) is rules("another")
    assert rules(PROJECT).hold_ms == rules_of_document({}).hold_ms


def test_changed_settings_are_in_force_at_once() -> None:
    """And are the same object until they change again."""
    documents = MemoryDocuments()
    rules = ProjectRules(documents)
    default = rules(PROJECT)
    documents.put(PROJECT, {"hold_ms": 1_000})
    changed = rules(PROJECT)
    assert (changed.hold_ms, rules(PROJECT)) == (1_000, changed)
    assert rules("another") is default
    documents.put(PROJECT, {"hold_ms": 2_000})
    assert rules(PROJECT).hold_ms == 2_000


def test_what_is_bad_does_not_stop_the_rest() -> None:
    """The good part counts."""
    documents = MemoryDocuments()
    documents.put(PROJECT, {"hold_ms": 2_000, "preset": "no such thing"})
    assert ProjectRules(documents)(PROJECT).hold_ms == 2_000


def test_own_detectors_stand_beside_the_built_in_ones() -> None:
    """For every project."""
    built_in = rules_of_document({}).detectors()
    own = built_in[:1]
    rules = ProjectRules(MemoryDocuments(), own)
    assert len(rules(PROJECT).detectors()) == len(built_in) + 1
    assert rules(PROJECT).detectors()[-1] is own[0]


def test_the_currency_stands_beside_the_detectors() -> None:
    """A project may have set either; a bad one is as if there were none."""
    documents = MemoryDocuments()
    rules = ProjectRules(documents)
    assert rules(PROJECT).currency == ""
    documents.put(PROJECT, {}, currency="eur")
    assert rules(PROJECT).currency == "EUR"
    documents.put(PROJECT, {"hold_ms": 2_000}, currency={"bad": 1})
    assert (rules(PROJECT).currency, rules(PROJECT).hold_ms) == ("", 2_000)


def test_projects_stand_over_what_their_installation_sets(tmp_path: Path) -> None:
    """Parameters one by one, all else as a whole."""
    file = tmp_path / "detection.json"
    paths = [{"path": "/kiosk", "rage_click": {"enabled": False}}]
    of_all = {"rage_click": {"min_clicks": 4, "radius_px": 80}, "paths": paths, "hold_ms": 1_000}
    file.write_text(json.dumps(of_all))
    documents = MemoryDocuments()
    documents.put(PROJECT, {"rage_click": {"min_clicks": 3}, "paths": []})
    rules = ProjectRules(documents, of_all=load_detection_file(str(file)))

    def clicks(project_id: str, path: str) -> tuple[int, int, bool]:
        params = rules(project_id).settings.params["rage_click"].of(path)
        return params.min_clicks, params.radius_px, params.enabled

    assert (rules(PROJECT).hold_ms, rules("another").hold_ms) == (1_000, 1_000)
    assert (clicks(PROJECT, "/"), clicks("another", "/")) == ((3, 80, True), (4, 80, True))
    assert (clicks(PROJECT, "/kiosk")[2], clicks("another", "/kiosk")[2]) == (True, False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file"),
        ("[]", "Expected `object`"),
        ("{", "truncated"),
        ('{"rage_click": {"min_clicks": 1}}', "rage_click.min_clicks: must be a whole number"),
        ('{"insights": {}}', "insights.insights: unknown key"),
    ],
)
def test_a_bad_file_of_an_installation_is_refused(
    tmp_path: Path, text: str | None, told: str
) -> None:
    """It would count for everybody."""
    file = tmp_path / "detection.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(told)):
        load_detection_file(str(file))
