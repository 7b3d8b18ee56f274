"""Options that several commands share, with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.folders import DEFAULT_DATA

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text for a person.")
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Data folder of `gosight up`. Without server addresses in the environment, "
        "the servers that run there are used.",
        show_default=str(DEFAULT_DATA),
    ),
]
Project = Annotated[str, typer.Option("--project", "-p", help="Id or slug of the project.")]
OnlyProject = Annotated[
    str, typer.Option("--project", "-p", help="Id or slug of the project; else the only one.")
]
