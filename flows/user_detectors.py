"""Detectors of a user's own: classes in Python files of one folder (setting `DETECTORS_DIR`).

In: a folder. Out: the detectors that are right, by name, and a fault with file and line for each
thing that is wrong. A bad file keeps no other from loading, and a folder that is not set is empty.

A class is taken for a detector if it says `insight_type`. It declares

    insight_type = "form_struggle"          # its name: snake_case, not one of the built-in ones
    rule_version = 1                        # grows with any change of meaning
    severity = "medium"                     # low, medium, high
    kinds = frozenset({"form_error"})       # the types of events that it wants
    state_type = State                      # what msgspec can store and read back
    parameters = {"errors_min": 3}          # optional: shown by `gosight detectors list`

and has the methods of a Machine (`flows.core.machine`) whose outputs are `flows.core.found.Found`.
Running a file is running code: the folder is as trusted as the program itself.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from flows.core.found import SEVERITIES, VERSION_MAX
from flows.isolated_detector import (
    IsolatedDetector,
    Report,
    count_and_log,
    may_be_of_the_keyboard,
)
from schemas.detector_names import NAME, NAME_LENGTH_MAX
from schemas.event_types import EVENT_KINDS

FILES_MAX = 100
DETECTORS_MAX = 50
# Types of events that can be asked for; replay is stored elsewhere, insights are made here.
KINDS = frozenset(k.name for k in EVENT_KINDS if k.category != "insight" and k.name != "replay")
# An insight named like an event would be taken for one. The built-in insights are among them.
TAKEN_NAMES = frozenset(kind.name for kind in EVENT_KINDS)
# Method -> how many arguments it is called with.
_METHODS = {"on_event": 3, "on_time": 2, "wake_at_ms": 1}


@dataclass(frozen=True, slots=True)
class DetectorFault:
    """What is wrong with a file, and where."""

    file: str
    line: int | None
    problem: str

    @property
    def place(self) -> str:
        """The file, with the line if it is known."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


@dataclass(frozen=True, slots=True)
class UserDetector:
    """One detector that can run; `inner` is the object of the user's class."""

    name: str
    rule_version: int
    severity: str
    kinds: frozenset[str]
    parameters: Mapping[str, Any]
    file: str
    line: int
    inner: Any

    def isolated(
        self, *, explain: bool = False, strict: bool = False, report: Report = count_and_log
    ) -> IsolatedDetector:
        """The detector as flows run it."""
        return IsolatedDetector(self.inner, explain=explain, strict=strict, report=report)


@dataclass(frozen=True, slots=True)
class UserDetectors:
    """What a folder holds, by name in order."""

    detectors: tuple[UserDetector, ...] = ()
    faults: tuple[DetectorFault, ...] = ()

    def isolated(
        self, *, explain: bool = False, report: Report = count_and_log
    ) -> tuple[IsolatedDetector, ...]:
        """All detectors as flows run them, to stand beside the built-in ones."""
        return tuple(found.isolated(explain=explain, report=report) for found in self.detectors)


def load_user_detectors(folder: Path | str | None) -> UserDetectors:
    """Load every `*.py` of the folder whose name does not start with `_`.

    Of two detectors with one name the first by file name is taken and the other is a fault.
    """
    if not folder:
        return UserDetectors()
    folder = Path(folder)
    if not folder.is_dir():
        return UserDetectors(faults=(DetectorFault(str(folder), None, "there is no such folder"),))
    found: dict[str, UserDetector] = {}
    faults: list[DetectorFault] = []
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    for path in files[FILES_MAX:]:
        faults.append(DetectorFault(str(path), None, f"more than {FILES_MAX} files"))
    for path in files[:FILES_MAX]:
        loaded = _load_file(path)
        faults += loaded.faults
        for detector in loaded.detectors:
            other = found.get(detector.name)
            problem = ""
            if other is not None:
                problem = f"{detector.name} is already in {other.file}:{other.line}"
            elif len(found) >= DETECTORS_MAX:
                problem = f"more than {DETECTORS_MAX} detectors"
            if problem:
                faults.append(DetectorFault(detector.file, detector.line, problem))
            else:
                found[detector.name] = detector
    return UserDetectors(tuple(found[name] for name in sorted(found)), tuple(faults))


class _BadFileError(Exception):
    def __init__(self, line: int | None, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def _load_file(path: Path) -> UserDetectors:
    file = str(path)
    detectors: list[UserDetector] = []
    faults: list[DetectorFault] = []
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), file)
        module = _module_of(path)
    except _BadFileError as error:
        return UserDetectors(faults=(DetectorFault(file, error.line, str(error)),))
    except SyntaxError as error:
        return UserDetectors(faults=(DetectorFault(file, error.lineno, f"{error.msg}"),))
    except (OSError, ValueError) as error:
        return UserDetectors(faults=(DetectorFault(file, None, f"cannot be read: {error}"),))
    classes = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and hasattr(getattr(module, node.name, None), "insight_type")
    ]
    if not classes:
        problem = "has no class with insight_type; begin the name of other files with _"
        faults.append(DetectorFault(file, None, problem))
    for node in classes:
        try:
            detectors.append(_detector_of(getattr(module, node.name), node, path))
        except _BadFileError as error:
            faults.append(DetectorFault(file, error.line or node.lineno, str(error)))
    return UserDetectors(tuple(detectors), tuple(faults))


def _module_of(path: Path) -> ModuleType:
    name = f"gosight_detectors_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _BadFileError(None, "is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Annotations of dataclasses and Structs are looked up there.
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if may_be_of_the_keyboard(error):
            raise
        raise _BadFileError(*_told(error, path)) from error
    return module


def _detector_of(cls: Any, node: ast.ClassDef, path: Path) -> UserDetector:
    lines = _lines_of(node)

    def refuse(attribute: str, problem: str) -> _BadFileError:
        return _BadFileError(lines.get(attribute), f"{node.name}.{attribute} {problem}")

    for attribute in ("insight_type", "rule_version", "severity", "kinds", "state_type"):
        if not hasattr(cls, attribute):
            raise refuse(attribute, "is missing")
    name, version = cls.insight_type, cls.rule_version
    if type(name) is not str or not NAME.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        raise refuse("insight_type", f"is snake_case of at most {NAME_LENGTH_MAX} characters")
    if name in TAKEN_NAMES:
        raise refuse("insight_type", f"is {name}, which is built in")
    if type(version) is not int or not 1 <= version <= VERSION_MAX:
        raise refuse("rule_version", f"is a whole number from 1 to {VERSION_MAX}")
    if cls.severity not in SEVERITIES:
        raise refuse("severity", f"is one of {', '.join(SEVERITIES)}")
    kinds = _kinds_of(cls.kinds)
    if not kinds:
        raise refuse("kinds", "is a set of types of events, such as frozenset({'click'})")
    unknown = sorted(kinds - KINDS)
    if unknown:
        raise refuse("kinds", f"has {', '.join(unknown)}, which no event is")
    try:
        msgspec.msgpack.Decoder(cls.state_type)
    except Exception as error:
        raise refuse("state_type", f"cannot be stored by msgspec: {error}") from error
    parameters = getattr(cls, "parameters", {})
    try:
        parameters = msgspec.convert(msgspec.to_builtins(dict(parameters)), dict[str, Any])
    except Exception as error:
        raise refuse("parameters", "is a mapping from names to plain values") from error
    try:
        inner = cls()
    except BaseException as error:
        if may_be_of_the_keyboard(error):
            raise
        line, problem = _told(error, path)
        raise _BadFileError(line, f"{node.name}() fails: {problem}") from error
    for method, count in _METHODS.items():
        problem = _call_fault(getattr(inner, method, None), count)
        if problem:
            raise refuse(method, problem)
    return UserDetector(
        name, version, cls.severity, kinds, parameters, str(path), node.lineno, inner
    )


def _kinds_of(kinds: Any) -> frozenset[str]:
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        return frozenset()
    return frozenset(str(kind) for kind in kinds)


def _call_fault(method: Any, count: int) -> str:
    if not callable(method):
        return "is missing"
    try:
        inspect.signature(method).bind(*[None] * count)
    except TypeError:
        return f"is called with {count} argument{'s' if count > 1 else ''}"
    return ""


def _lines_of(node: ast.ClassDef) -> dict[str, int]:
    """The line of each attribute and method of a class."""
    lines: dict[str, int] = {}
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            lines[part.name] = part.lineno
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            lines[part.target.id] = part.lineno
        elif isinstance(part, ast.Assign):
            lines.update({t.id: part.lineno for t in part.targets if isinstance(t, ast.Name)})
    return lines


def _told(error: BaseException, path: Path) -> tuple[int | None, str]:
    """The last line of the file that an exception came through, and what it says."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno, str(error.msg)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return (lines[-1] if lines else None), f"{type(error).__name__}: {error}"
