"""Pinned requirements of the container image: requirements.txt without the standalone servers.

In: `pyproject.toml` and `requirements.txt` of the current directory. Out: the same pins and hashes
on standard output, without the packages of the extra `standalone`. Needs the standard library only.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def package_name(requirement: str) -> str:
    """The normalised name at the start of a requirement, such as `psycopg` of `psycopg[pool]>=3`.

    Raises:
        ValueError: the text does not begin with a name.
    """
    found = _NAME.match(requirement)
    if found is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def requirement_blocks(text: str) -> Iterator[str]:
    """Each requirement with its hashes, as it stands in the file; comments are left out."""
    block: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        block.append(line)
        if not line.endswith("\\"):
            yield "\n".join(block)
            block = []


def runtime_requirements(pyproject: str, requirements: str) -> str:
    """The text of `requirements` without the packages of the extra `standalone`."""
    extras = tomllib.loads(pyproject)["project"]["optional-dependencies"]
    left_out = {package_name(requirement) for requirement in extras["standalone"]}
    kept = [
        block for block in requirement_blocks(requirements) if package_name(block) not in left_out
    ]
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    sys.stdout.write(
        runtime_requirements(
            Path("pyproject.toml").read_text(encoding="utf-8"),
            Path("requirements.txt").read_text(encoding="utf-8"),
        )
    )
