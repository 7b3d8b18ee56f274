"""What PostgreSQL holds that names a visitor: alert samples, messages, saved filters, notes.

In: a project and the ids of one visitor. Out: documents in which these ids are replaced, counted by
table, and the notes that a person has to look at: free text is not ours to rewrite. May be
repeated. Ids that are UUIDs are found anywhere in a text, others as whole values of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from api.erasures.orders import Orders

ERASED = "erased"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AT_ONCE = 200

_Change = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Place:
    """A column that may hold ids; `rows` gives key and value of a project."""

    table: str
    key: str
    column: str
    rows: str


_PLACES = (
    _Place(
        "alert_history", "id", "context",
        "SELECT id::text AS key, context AS value FROM alert_history "
        "WHERE project_id = %(project)s",
    ),
    _Place(
        "alert_deliveries", "id", "message",
        "SELECT d.id::text AS key, d.message AS value FROM alert_deliveries d "
        "JOIN alert_history h ON h.id = d.history_id WHERE h.project_id = %(project)s",
    ),
    _Place(
        "saved_filters", "id", "filter",
        "SELECT id::text AS key, filter AS value FROM saved_filters WHERE project_id = %(project)s",
    ),
)  # fmt: skip
_SCOPES = {
    "alert_history": "project_id = %(project)s",
    "alert_states": "rule_id IN (SELECT id FROM alert_rules WHERE project_id = %(project)s)",
    "alert_deliveries": "history_id IN (SELECT id FROM alert_history "
    "WHERE project_id = %(project)s)",
}


class Names:
    """The ids of a visitor, as they are looked for in texts."""

    def __init__(self, ids: Collection[str]) -> None:
        self._whole = frozenset(ids)

    def __contains__(self, value: Any) -> bool:
        """Whether a document names the visitor."""
        return bool(_changed(value, self._replaced) != value)

    def without(self, value: Any) -> Any:
        """The document with the ids replaced."""
        return _changed(value, self._replaced)

    def _replaced(self, text: str) -> str:
        if text in self._whole:
            return ERASED
        return _UUID.sub(lambda found: ERASED if found[0] in self._whole else found[0], text)


def erase_documents(orders: Orders, project_id: str, names: Names) -> dict[str, int]:
    """Replace the ids wherever a document of the project has them; rows changed by table."""
    counts: dict[str, int] = {}
    for place in _PLACES:
        changes: list[_Change] = [
            (
                f"UPDATE {place.table} SET {place.column} = %(value)s "
                f"WHERE {place.key} = %(key)s::uuid",
                {"value": Jsonb(names.without(row["value"])), "key": row["key"]},
            )
            for row in orders.rows(place.rows, project=project_id)
            if row["value"] in names
        ]
        counts[place.table] = _run(orders, changes)
    for table, where in _SCOPES.items():
        counts[f"{table}_groups"] = sum(
            _run(orders, _scope_changes(table, where, project_id, scope, names))
            for scope in _scopes(orders, table, where, project_id)
        )
    return counts


def find_documents(orders: Orders, project_id: str, names: Names) -> Sequence[Mapping[str, Any]]:
    """The documents that name the visitor, for an export."""
    return [
        {"table": place.table, "id": row["key"], place.column: row["value"]}
        for place in _PLACES
        for row in orders.rows(place.rows, project=project_id)
        if row["value"] in names
    ]


def notes_that_name(orders: Orders, project_id: str, ids: Collection[str]) -> list[str]:
    """Ids of notes in whose text one of the ids stands."""
    rows = orders.rows(
        "SELECT id::text AS id, content FROM notes WHERE project_id = %(project)s ORDER BY id",
        project=project_id,
    )
    return [row["id"] for row in rows if any(id_ in row["content"] for id_ in ids)]


def _scopes(orders: Orders, table: str, where: str, project_id: str) -> list[str]:
    """Groups of rules that are there; the empty one is no group."""
    rows = orders.rows(
        f"SELECT DISTINCT scope FROM {table} WHERE {where} AND scope <> '{{}}'", project=project_id
    )
    return [row["scope"] for row in rows]


def _scope_changes(
    table: str, where: str, project_id: str, scope: str, names: Names
) -> list[_Change]:
    try:
        document = msgspec.json.decode(scope)
    except msgspec.DecodeError:
        return []
    if document not in names:
        return []
    without = msgspec.json.encode(names.without(document)).decode()
    values = {"project": project_id, "scope": scope, "without": without}
    if table == "alert_states":  # Part of its key; a group that is gone needs no state.
        return [(f"DELETE FROM {table} WHERE {where} AND scope = %(scope)s", values)]
    return [(f"UPDATE {table} SET scope = %(without)s WHERE {where} AND scope = %(scope)s", values)]


def _run(orders: Orders, changes: Sequence[_Change]) -> int:
    return sum(
        sum(orders.transact(changes[start : start + _AT_ONCE]))
        for start in range(0, len(changes), _AT_ONCE)
    )


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """A document with every text changed, those of keys included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): _changed(item, change) for key, item in value.items()}
    return value
