"""Every query of docs/analysts.md: over HTTP, and in ClickHouse, with the answers it promises."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from api.reads.sql_rules import TABLES
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader

pytestmark = pytest.mark.integration

TEXT = (Path(__file__).parents[3] / "docs" / "analysts.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLE = re.findall(r'\{"query": "(.*?)"\}', TEXT)


async def asked(reader: Reader, shop: SceneShop, query: str) -> list[dict[str, Any]]:
    """Rows of a query over HTTP, by the names of their columns."""
    status, document = await reader.ask(
        "sql", method="POST", body={"query": query}, key=shop.admin_key
    )
    assert status == 200, document
    names = [column["name"] for column in document["data"]["columns"]]
    return [dict(zip(names, row, strict=True)) for row in document["data"]["rows"]]


@pytest.mark.parametrize("query", QUERIES + EXAMPLE)
async def test_a_query_of_the_page_works(reader: Reader, scene_shop: SceneShop, query: str) -> None:
    """Over HTTP, and as it stands in ClickHouse; both have rows where scenes give any."""
    rows = await asked(reader, scene_shop, query)
    client = clickhouse_connect.get_client(dsn=scene_shop.databases.clickhouse_url)
    direct = client.query(query).result_rows
    client.close()
    assert len(rows) == len(direct)
    if not any(table in query for table in ("ledger_minutes", "sessions_daily_mv")):
        assert rows, query


async def test_the_answers_are_those_of_the_scenes(reader: Reader, scene_shop: SceneShop) -> None:
    """Counts of the page's queries equal a count of the rows."""
    scenes = scene_shop.scenes
    by_topic = {query.split("\n")[0][:40]: query for query in QUERIES}
    (example,) = EXAMPLE
    kinds = {row["event_type"]: row["events"] for row in await asked(reader, scene_shop, example)}
    assert kinds == Counter(row["event_type"] for row in scenes.events)
    days = await asked(
        reader, scene_shop, next(q for q in QUERIES if "'America/New_York') AS day" in q)
    )
    assert sum(day["page_views"] for day in days) == kinds["page_view"]
    visits = await asked(reader, scene_shop, next(q for q in QUERIES if "bounce_percent" in q))
    assert {row["device_type"]: row["sessions"] for row in visits} == Counter(
        row.device_type for row in scenes.sessions
    )
    months = await asked(reader, scene_shop, next(q for q in QUERIES if "events_hourly_mv" in q))
    assert sum(month["events"] for month in months) == len(scenes.events)
    clicks = await asked(reader, scene_shop, next(q for q in QUERIES if "element_clicks_mv" in q))
    at_cart = Counter(
        row["target_selector"]
        for row in scenes.events
        if row["event_type"] == "click" and row["path"] == "/cart" and row["target_selector"]
    )
    assert {row["target_selector"]: row["clicks"] for row in clicks} == dict(
        sorted(at_cart.items(), key=lambda item: -item[1])[:10]
    ) or sum(row["clicks"] for row in clicks) == sum(count for _, count in at_cart.most_common(10))
    assert len(by_topic) > 5


def test_every_table_is_on_the_page() -> None:
    """The page names what analysts may read, and nothing else, and each has a query."""
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(TABLES)
    for table in TABLES:
        assert any(f"FROM {table}" in query for query in QUERIES), table
