"""The project that `gosight up` makes on first use, and its keys.

The keys are remembered in `project.json` of the data folder, readable by its owner alone, because
the database holds only their hashes. The project takes every kind of event, so that nothing a
newcomer sends is refused by a default.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from cli.bad_events import BLOCKED_PATTERN
from cli.folders import PROJECT_FILE
from cli.project_store import connect, create_key, create_project
from connectors.secret_texts import hash_of
from schemas.records import CATEGORY_DEFAULTS
from standalone.files import write_private

NAME = "My site"
# One machine's owner is the only sender: the limit protects others, of whom there are none.
RATE_LIMIT = 100_000
BURST = 200_000


@dataclass(frozen=True, slots=True)
class DefaultProject:
    """What a person needs to send and to read events."""

    project_id: str
    write_key: str
    read_key: str


def default_settings() -> dict[str, Any]:
    """Every category of events on; one made-up path is blocked, to show that it is refused."""
    return {
        "events": dict.fromkeys(CATEGORY_DEFAULTS, True),
        "privacy": {"blockUrls": [BLOCKED_PATTERN]},
    }


def ensure_default_project(database_url: str, data: Path) -> DefaultProject:
    """The remembered project if the database still knows it and both keys, else a new one.

    Raises:
        psycopg.OperationalError: PostgreSQL does not answer.
    """
    with connect(database_url) as connection:
        known = read_default_project(data)
        if known is not None and _is_valid(connection, known):
            return known
        with connection.transaction():
            project = create_project(connection, NAME, settings=default_settings())
            keys = [
                create_key(
                    connection,
                    project.id,
                    name="Default",
                    permission=permission,
                    rate_limit=RATE_LIMIT,
                    burst=BURST,
                )[0]
                for permission in ("write", "read")
            ]
            made = DefaultProject(str(project.id), keys[0], keys[1])
            # Inside the transaction: a key that could not be written down must not exist.
            write_private(data / PROJECT_FILE, json.dumps(asdict(made), indent=1) + "\n")
    return made


def read_default_project(data: Path) -> DefaultProject | None:
    """What the data folder remembers; None if nothing."""
    try:
        found = json.loads((data / PROJECT_FILE).read_text())
        return DefaultProject(found["project_id"], found["write_key"], found["read_key"])
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, KeyError):
        return None


def _is_valid(connection: psycopg.Connection[Any], project: DefaultProject) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM api_keys "
        "WHERE project_id::text = %s AND is_active AND key_hash = ANY(%s)",
        (project.project_id, [hash_of(project.write_key), hash_of(project.read_key)]),
    ).fetchone()
    return row is not None and row[0] == 2
