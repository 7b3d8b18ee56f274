"""Detectors of one's own, loaded and put to their cases.

In: a folder. Out: for each case what differs, and what is wrong with files. Detectors run isolated
as in the flow, with each state stored and read back, and in a process of their own, so that one
that hangs or crashes fails its case alone.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import re
import signal
import traceback
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from flows.core.detection_rules import rules_of_document
from flows.core.detector_cases import Case, CaseFileError, differences, read_cases
from flows.user_detectors import DetectorFault, UserDetector, load_user_detectors

CASES_SUFFIX = ".cases.json"
LOAD_S_MAX = 60.0
# For the place to be written, after which the process is ended.
_MARGIN_S = 1.0
_FRAME = re.compile(r'File "(.+)", line (\d+) in ')


@dataclass(frozen=True, slots=True)
class Tested:
    """One case and how what was found differs from what it expects."""

    detector: str
    case: str
    differences: list[str]


@dataclass(frozen=True, slots=True)
class _Begun:
    """The case of this number, counted from 0 over all files, runs from now on."""

    number: int
    detector: str
    case: str
    file: str


def run_cases(folder: Path, case_s_max: float) -> Iterator[Tested | DetectorFault]:
    """All cases of a folder, by file, each as soon as it has run, then what is wrong with files.

    A detector without a case is a fault, too. Cases run in a process of their own: one that does
    not return within `case_s_max` seconds, or ends the process, fails, and the next one goes on in
    a new process.
    """
    first: int | None = 0
    while first is not None:
        first = yield from _run_some(folder, first, case_s_max)


def _run_some(
    folder: Path, first: int, case_s_max: float
) -> Generator[Tested | DetectorFault, None, int | None]:
    """Cases from this number on in one process; the number to go on with, None if all have run."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    begun: _Begun | None = None
    with NamedTemporaryFile("r") as trace:
        arguments = (folder, first, case_s_max, trace.name, sending)
        child = context.Process(target=_work, args=arguments, daemon=True)
        child.start()
        sending.close()
        try:
            while True:
                wait_s = LOAD_S_MAX if begun is None else case_s_max + _MARGIN_S
                if not receiving.poll(wait_s):
                    place = _place(trace.read(), begun.file if begun else "")
                    problem = f"{place}does not return"
                    break
                said = receiving.recv()
                if said is None:
                    return None
                if isinstance(said, _Begun):
                    begun = said
                else:
                    yield said
        except EOFError:
            child.join()
            problem = f"ended the process with exit code {child.exitcode}"
        finally:
            child.kill()
            child.join()
            receiving.close()
    if begun is None:
        yield DetectorFault(str(folder), None, f"cannot be loaded: {problem}")
        return None
    yield Tested(begun.detector, begun.case, [problem])
    return begun.number + 1


def _work(
    folder: Path, first: int, case_s_max: float, trace: str, said: Connection[Any, Any]
) -> None:
    """Run cases from this number on and say each; None at the end.

    Where a case is that takes too long is written to the file `trace`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It is the command that Ctrl-C ends.
    os.dup2(2, 1)  # Standard output is the command's.
    cases, faults = _cases_of(folder)
    with Path(trace).open("w") as places:
        for number, (detector, case) in enumerate(cases[first:], first):
            said.send(_Begun(number, detector.name, case.name, detector.file))
            faulthandler.dump_traceback_later(case_s_max, file=places)
            said.send(_test(detector, case))
        faulthandler.cancel_dump_traceback_later()
    for fault in faults:
        said.send(fault)
    said.send(None)


def _cases_of(folder: Path) -> tuple[list[tuple[UserDetector, Case]], list[DetectorFault]]:
    """The cases with their detectors, by file, and what is wrong with files."""
    loaded = load_user_detectors(folder)
    detectors = {detector.name: detector for detector in loaded.detectors}
    faults = list(loaded.faults)
    cases: list[tuple[UserDetector, Case]] = []
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
        cases += [(detector, case) for case in found.cases]
    names = {detector.name for detector, _ in cases}
    for detector in loaded.detectors:
        if detector.name not in names:
            problem = f"{detector.name} has no case in a file *{CASES_SUFFIX}"
            faults.append(DetectorFault(detector.file, detector.line, problem))
    return cases, faults


def _place(trace: str, file: str) -> str:
    """The innermost line of a file in what `faulthandler` wrote."""
    lines = [line for path, line in _FRAME.findall(trace) if path == file]
    return f"{file}:{lines[0]}: " if lines else ""


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
