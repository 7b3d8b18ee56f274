"""`gosight detectors`: what finds insights, and trying detectors of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json
from cli.output import PEOPLE, RESULT, fail, print_json, print_table, told_plainly

if TYPE_CHECKING:
    from cli.detector_tests import Tested
    from flows.user_detectors import DetectorFault

# A case takes milliseconds; one of 10,000 events some seconds on a busy machine.
CASE_S_MAX = 30.0

app = typer.Typer(no_args_is_help=True, help="List detectors, and test your own.")
Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of your detectors and their cases; else DETECTORS_DIR."),
]


@app.command("list")
def list_command(folder: Folder = None, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """List built-in detectors and your own, with versions and parameters.

    Built-in ones are shown with their defaults; a project's settings may say otherwise. Ends with
    exit code 1 if a file of your own cannot be loaded.
    """
    from cli.detector_tests import known_detectors

    with told_plainly():
        rows, faults = known_detectors(_folder(folder, data))
    if as_json:
        print_json({"detectors": rows, "faults": [_fault_document(fault) for fault in faults]})
    else:
        print_table(
            "Detectors",
            ("name", "version", "from", "parameters"),
            [
                (
                    row["name"],
                    row["rule_version"],
                    row["origin"],
                    [f"{name}={value}" for name, value in row["parameters"].items()],
                )
                for row in rows
            ],
        )
        _print_faults(faults)
    raise typer.Exit(1 if faults else 0)


@app.command("test")
def cases_command(
    folder: Folder = None,
    case_s_max: Annotated[
        float, typer.Option("--case-seconds", min=0.1, help="How long one case may take.")
    ] = CASE_S_MAX,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Run the cases (`NAME.cases.json`) of your detectors; exit code 1 if one does not hold.

    A case gives events, one a line, and says what is to be found. Detectors run as they do in the
    flow: what they raise fails the case, and their state is stored and read back at each event.
    What they print goes to standard error.
    """
    from cli.detector_tests import Tested, run_cases

    with told_plainly():
        chosen = _folder(folder, data)
        if not chosen:
            fail("name a folder, or set DETECTORS_DIR")
        tested: list[Tested] = []
        faults: list[DetectorFault] = []
        for item in run_cases(Path(chosen), case_s_max):
            if not isinstance(item, Tested):
                faults.append(item)
                continue
            tested.append(item)
            if not as_json:
                _print_case(item)
    holds = not faults and all(not item.differences for item in tested)
    if as_json:
        cases = [_case_document(item) for item in tested]
        print_json(
            {"ok": holds, "cases": cases, "faults": [_fault_document(fault) for fault in faults]}
        )
    else:
        right = sum(not item.differences for item in tested)
        RESULT.print(f"{right:,} of {len(tested):,} cases hold")
        _print_faults(faults)
    raise typer.Exit(0 if holds else 1)


def _folder(folder: Path | None, data: Path) -> str:
    from cli.settings import load_settings

    return str(folder) if folder else load_settings(data).detectors_dir


def _fault_document(fault: DetectorFault) -> dict[str, Any]:
    return {"file": fault.file, "line": fault.line, "problem": fault.problem}


def _case_document(item: Tested) -> dict[str, Any]:
    return {
        "detector": item.detector,
        "case": item.case,
        "ok": not item.differences,
        "differences": item.differences,
    }


def _print_case(item: Tested) -> None:
    mark = "[bold red]differs[/]" if item.differences else "[green]holds[/]"
    RESULT.print(f"{mark}  {item.detector}: ", end="")
    RESULT.print(item.case, markup=False, soft_wrap=True)
    for line in item.differences:
        RESULT.print(f"    {line}", markup=False, soft_wrap=True)


def _print_faults(faults: list[DetectorFault]) -> None:
    for fault in faults:
        PEOPLE.print("[bold red]error:[/]", end=" ")
        PEOPLE.print(str(fault), markup=False, soft_wrap=True)
