"""Detectors of one's own, loaded and put to their cases.

In: a folder. Out: for each case what differs, and what is wrong with files. Detectors run isolated
as in the flow, with each state stored and read back.
"""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.core.detection_rules import rules_of_document
from flows.core.detector_cases import Case, CaseFileError, differences, read_cases
from flows.user_detectors import DetectorFault, UserDetector, load_user_detectors

CASES_SUFFIX = ".cases.json"


@dataclass(frozen=True, slots=True)
class Tested:
    """One case and how what was found differs from what it expects."""

    detector: str
    case: str
    differences: list[str]


def run_cases(folder: Path) -> tuple[list[Tested], list[DetectorFault]]:
    """All cases of a folder, by file; a detector without a case is a fault, too."""
    loaded = load_user_detectors(folder)
    detectors = {detector.name: detector for detector in loaded.detectors}
    faults = list(loaded.faults)
    tested: list[Tested] = []
    for path in sorted(folder.glob(f"*{CASES_SUFFIX}")):
        try:
            found = read_cases(path.read_bytes())
        except (CaseFileError, OSError) as error:
            faults.append(DetectorFault(str(path), None, str(error)))
            continue
        detector = detectors.get(found.detector)
        if detector is None:
            problem = f"there is no detector {found.detector} in this folder"
            faults.append(DetectorFault(str(path), None, problem))
            continue
        tested += [_test(detector, case) for case in found.cases]
    names = {item.detector for item in tested}
    for detector in loaded.detectors:
        if detector.name not in names:
            problem = f"{detector.name} has no case in a file *{CASES_SUFFIX}"
            faults.append(DetectorFault(detector.file, detector.line, problem))
    return tested, faults


def _test(detector: UserDetector, case: Case) -> Tested:
    failures: list[str] = []

    def tell(_name: str, error: BaseException) -> None:
        failures.append(_failure_text(error, detector.file))

    found = differences(case, detector.isolated(strict=True, report=tell))
    return Tested(detector.name, case.name, [*failures, *found])


def _failure_text(error: BaseException, file: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    where = f"{file}:{lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}"


def known_detectors(folder: str) -> tuple[list[dict[str, Any]], list[DetectorFault]]:
    """Every detector with its version and parameters, and what is wrong with files.

    Parameters of built-in ones are the defaults; their severity is theirs to say.
    """
    rules = rules_of_document({})
    loaded = load_user_detectors(folder)
    rows: list[dict[str, Any]] = [
        {
            "name": detector.insight_type,
            "rule_version": detector.rule_version,
            "severity": None,
            "origin": "built in",
            "kinds": sorted(detector.kinds),
            "parameters": asdict(rules.settings.params[detector.insight_type].default),
        }
        for detector in rules.detectors()
    ]
    rows += [
        {
            "name": found.name,
            "rule_version": found.rule_version,
            "severity": found.severity,
            "origin": f"{found.file}:{found.line}",
            "kinds": sorted(found.kinds),
            "parameters": dict(found.parameters),
        }
        for found in loaded.detectors
    ]
    return rows, list(loaded.faults)
