"""What is erased is what there is: every table and every view of the schema is thought of."""

from __future__ import annotations

import re
from pathlib import Path

from connectors.erasing_store import AGGREGATES, PROJECT_TABLES

SCHEMA = (Path(__file__).resolve().parents[3] / "sql" / "snapshot" / "clickhouse.sql").read_text()


def test_every_aggregate_of_events_is_counted_anew() -> None:
    """Each view that fills a table from `events`; who somebody is is erased by its own rows."""
    views = re.findall(r"CREATE MATERIALIZED VIEW (\w+)_mv TO (\w+)\n.*?\nFROM (\w+)", SCHEMA, re.S)
    of_events = set()
    for definition in SCHEMA.split("CREATE ")[1:]:
        named = re.match(r"MATERIALIZED VIEW (\w+)_mv TO (\w+)", definition)
        if named and re.search(r"FROM events\b", definition):
            assert named[1] == named[2]
            of_events.add(named[2])
    assert len(views) > 5
    assert of_events - {"identities"} == set(AGGREGATES)


def test_every_table_of_a_project_is_erased_with_it() -> None:
    """Each table that has a project, and no view."""
    tables = {
        name
        for name, columns in re.findall(r"CREATE TABLE (\w+)\n\((.*?)\n\)", SCHEMA, re.S)
        if "`project_id`" in columns
    }
    assert tables == set(PROJECT_TABLES)
