"""`gosight doctor`: is everything here that GoSight needs?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json
from cli.output import RESULT, print_json, told_plainly

if TYPE_CHECKING:
    from cli.checks import Check


def doctor(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Check packages, servers, schemas, topics, clock and disk; exit code 1 if anything fails.

    Each failing line says what to do about it.
    """
    from cli.checks import all_checks
    from cli.settings import load_settings

    with told_plainly(data):
        checks: list[Check] = []
        for check in all_checks(load_settings(data), data):
            checks.append(check)
            if not as_json:
                _print(check)
    is_well = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": is_well, "checks": [asdict(check) for check in checks]})
    raise typer.Exit(0 if is_well else 1)


def _print(check: Check) -> None:
    mark = "[green]ok  [/]" if check.ok else "[bold red]fail[/]"
    RESULT.print(f"{mark}  [bold]{check.name:<12}[/] {check.found}", soft_wrap=True)
    if check.advice:
        RESULT.print(f"      {'':<12} {check.advice}", soft_wrap=True)
