"""Queries by name, and the form every query file has."""

import re

import pytest

from sql.clickhouse_schema import normal_definition
from sql.loader import UnknownQueryError, load_query, query_names


def test_a_query_is_loaded_by_its_name() -> None:
    """The text of the file comes back, the same object each time."""
    assert "element_clicks_mv" in load_query("top_elements")
    assert load_query("top_elements") is load_query("top_elements")


@pytest.mark.parametrize("name", ["top_element", "", "../postgres/0001_create_tenants"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    """A wrong name, or a path, says what there is."""
    with pytest.raises(UnknownQueryError, match=r"known: .*top_elements"):
        load_query(name)


@pytest.mark.parametrize("name", query_names())
def test_each_query_says_what_it_answers_and_binds_its_values(name: str) -> None:
    """A header comment comes first; values are bound, by the server or, for lists, the client."""
    text = load_query(name)
    assert re.match(r"-- [A-Z].{20,}", text)
    assert re.search(r"\{\w+:[A-Z]\w*|%\(\w+\)s", text)
    assert ";" not in re.sub(r"--.*", "", text)


@pytest.mark.parametrize(
    ("definition", "normal"),
    [
        (
            "CREATE TABLE gosight.a\n(\n    `b` UInt8\n)\nENGINE = MergeTree\nORDER BY b",
            "CREATE TABLE a\n(\n    `b` UInt8\n)\nENGINE = MergeTree\nORDER BY b;",
        ),
        (
            "CREATE TABLE gosight.a (`b` UInt8)\nENGINE = "
            "ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', b)\n"
            "SETTINGS replicated_deduplication_window = 10000",
            "CREATE TABLE a (`b` UInt8)\nENGINE = ReplacingMergeTree(b)\n"
            "SETTINGS non_replicated_deduplication_window = 10000;",
        ),
        (
            "CREATE MATERIALIZED VIEW `gosight`.a_mv TO gosight.a\n(\n    `b` UInt8\n)\n"
            "DEFINER = default SQL SECURITY DEFINER\nAS SELECT b\nFROM gosight.c",
            "CREATE MATERIALIZED VIEW a_mv TO a\n(\n    `b` UInt8\n)\nAS SELECT b\nFROM c;",
        ),
    ],
)
def test_a_definition_is_the_same_on_every_server(definition: str, normal: str) -> None:
    """The database's name, the maker of a view and replication are no part of the schema."""
    assert normal_definition(definition, "gosight") == normal
