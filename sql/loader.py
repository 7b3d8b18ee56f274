"""Read queries by file name: `load_query("top_pages")` is the text of queries/top_pages.sql.

Values are always bound by the server through typed placeholders such as {project_id:String}.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

QUERIES = Path(__file__).parent / "queries"


class UnknownQueryError(LookupError):
    """There is no query of this name."""


def query_names() -> tuple[str, ...]:
    """The names of all queries, sorted."""
    return tuple(sorted(path.stem for path in QUERIES.glob("*.sql")))


@cache
def load_query(name: str) -> str:
    """The text of one query; read from disk once per process.

    Raises:
        UnknownQueryError: no file of that name; the text lists those there are.
    """
    if name not in query_names():
        raise UnknownQueryError(
            f"there is no query {name!r} in {QUERIES.name}/; known: {', '.join(query_names())}"
        )
    return (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
