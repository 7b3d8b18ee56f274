"""`gosight detectors`: trying detectors of one's own, without any server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app

runner = CliRunner()
SAMPLES = Path("samples/detectors")


def call(*arguments: str, code: int = 0, **environ: str) -> Any:
    """The JSON of a command."""
    result = runner.invoke(app, ["detectors", *arguments, "--json"], env=environ)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sample detector with its cases."""
    return Path(shutil.copytree(SAMPLES, tmp_path / "mine", ignore=lambda *_: ["__pycache__"]))


def change(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_sample_holds() -> None:
    """All cases of the sample hold, given as an argument or by the setting."""
    found = call("test", str(SAMPLES))
    assert found["ok"] is True
    assert len(found["cases"]) >= 5
    assert call("test", DETECTORS_DIR=str(SAMPLES)) == found


def test_a_case_that_does_not_hold_is_exit_code_1(folder: Path) -> None:
    """What differs is said, by case."""
    change(folder / "form_struggle.py", "ERRORS_MIN = 3", "ERRORS_MIN = 2")
    found = call("test", str(folder), code=1)
    assert found["ok"] is False
    assert any("details.error_count" in line for c in found["cases"] for line in c["differences"])
    result = runner.invoke(app, ["detectors", "test", str(folder)])
    assert "differs" in result.output
    assert "cases hold" in result.output


def test_what_a_detector_raises_is_told_with_its_line(folder: Path) -> None:
    """An exception in the middle of a case fails the case, not the command."""
    change(folder / "form_struggle.py", "        count = state.count", "        count = 1 // 0\n#")
    found = call("test", str(folder), code=1)
    lines = [line for case in found["cases"] for line in case["differences"]]
    assert any("form_struggle.py:" in line and "ZeroDivisionError" in line for line in lines)


@pytest.mark.parametrize(
    ("raised", "name"),
    [
        ("type('Panic', (BaseException,), {})('gone')", "Panic"),
        ("CancelledError", "CancelledError"),
    ],
)
def test_no_exception_of_a_detector_ends_the_command(folder: Path, raised: str, name: str) -> None:
    """What `except Exception` would let through fails the case as any other does."""
    path = folder / "form_struggle.py"
    change(path, "import msgspec", "import msgspec\nfrom asyncio import CancelledError")
    change(path, "        count = state.count", f"        raise {raised}\n#")
    found = call("test", str(folder), code=1)
    lines = [line for case in found["cases"] for line in case["differences"]]
    assert any("form_struggle.py:" in line and name in line for line in lines)


def hang(folder: Path, text: str, number: int) -> int:
    """Let the sample run this text on one page, as a case of that number; its line is returned."""
    path = folder / "form_struggle.py"
    place = "        count = state.count"
    line = path.read_text().partition(place)[0].count("\n") + 2
    change(path, place, f"        if event.page.path == '/hang':\n            {text}\n{place}")
    path = folder / "form_struggle.cases.json"
    document = json.loads(path.read_text())
    case = {"name": "hangs", "given": ["0s form_error /hang"], "expected": []}
    document["cases"].insert(number, case)
    path.write_text(json.dumps(document))
    return line


@pytest.mark.parametrize(
    ("call_text", "problem"),
    [
        ("while True: pass", "form_struggle.py:{line}: does not return"),
        ("import re; re.match('(a+)+b', 'a' * 100)", "form_struggle.py:{line}: does not return"),
        ("import os; os._exit(3)", "ended the process with exit code 3"),
    ],
)
def test_a_case_that_hangs_or_ends_the_process_fails_alone(
    folder: Path, call_text: str, problem: str
) -> None:
    """It is named with the line where it is, and the cases after it run."""
    line = hang(folder, call_text, 0)
    found = call("test", str(folder), "--case-seconds", "1", code=1)
    first, *others = found["cases"]
    assert (first["case"], first["ok"]) == ("hangs", False)
    assert first["differences"][0].endswith(problem.format(line=line))
    assert len(others) >= 5
    assert all(case["ok"] for case in others)


def test_a_folder_that_ends_the_process_is_a_fault(folder: Path) -> None:
    """What cannot even be loaded is told as well."""
    change(folder / "form_struggle.py", "import msgspec", "import os\n\nos._exit(4)")
    found = call("test", str(folder), code=1)
    assert found["cases"] == []
    assert "exit code 4" in found["faults"][0]["problem"]


def test_each_case_is_printed_when_it_has_run_and_ctrl_c_ends_the_command(folder: Path) -> None:
    """Those before one that hangs are seen while it hangs."""
    hang(folder, "while True: pass", 2)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "detectors", "test", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("holds")
        assert process.stdout.readline().startswith("holds")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.communicate()


def test_wrong_files_are_told_beside_the_right_ones(folder: Path) -> None:
    """A file that does not load, a misspelt case file and a detector without cases are faults."""
    (folder / "broken.py").write_text("def\n")
    (folder / "odd.cases.json").write_text("{}")
    (folder / "other.cases.json").write_text('{"detector": "other", "cases": []}')
    text = (folder / "form_struggle.py").read_text()
    (folder / "untested.py").write_text(text.replace('"form_struggle"', '"untested"'))
    found = call("test", str(folder), code=1)
    assert all(case["ok"] for case in found["cases"])
    problems = " ".join(f"{Path(f['file']).name} {f['problem']}" for f in found["faults"])
    for part in ("broken.py", "odd.cases.json", "no detector other", "untested has no case"):
        assert part in problems


def test_list_shows_all_detectors_with_version_and_parameters(folder: Path) -> None:
    """Name, version, severity and parameters; a broken file is exit code 1 beside them."""
    rows = {row["name"]: row for row in call("list", str(folder))["detectors"]}
    assert rows["form_struggle"]["rule_version"] == 1
    assert rows["form_struggle"]["parameters"] == {"errors_min": 3, "window_ms": 60_000}
    assert rows["rage_click"]["origin"] == "built in"
    assert rows["rage_click"]["parameters"]["min_clicks"] == 5
    assert len(rows) == 7
    (folder / "broken.py").write_text("def\n")
    assert len(call("list", str(folder), code=1)["faults"]) == 1


def test_without_a_folder_there_is_nothing_to_test() -> None:
    """The setting is named."""
    result = runner.invoke(app, ["detectors", "test"], env={"DETECTORS_DIR": ""})
    assert result.exit_code == 1
    assert "DETECTORS_DIR" in result.output
