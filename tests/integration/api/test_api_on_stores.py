"""The API's answers from the real stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from connectors.clickhouse import connect, insert_arrow
from tests.integration.api.conftest import EVENTS, Shop, api_client, event_rows

pytestmark = pytest.mark.integration


async def get(shop: Shop, path: str, key: str | None = None) -> tuple[int, dict[str, Any]]:
    """Status and document of a GET under the shop's project."""
    headers = {"X-GoSight-Key": shop.read_key if key is None else key}
    url = f"/api/v1/projects/{shop.project_id}/{path}"
    async with api_client(shop.databases) as client, client.get(url, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_keys_in_the_database_decide_who_reads(shop: Shop) -> None:
    """Read key 200, write key 403, another project's key 404, unknown key 401."""
    statuses = [
        (await get(shop, "overview", key))[0]
        for key in (shop.read_key, shop.write_key, shop.foreign_key, "gs_api_" + "0" * 32)
    ]
    assert statuses == [200, 403, 404, 401]


async def test_overview_counts_what_is_stored(shop: Shop) -> None:
    """Counts and lists are those of the rows."""
    _, document = await get(shop, "overview")
    data = document["data"]
    counts = {name: data["summary"][name] for name in ("events", "sessions", "users", "pageviews")}
    # One visitor never said who it is by an identify event, but its events do.
    assert counts == {"events": EVENTS, "sessions": 5, "users": 5, "pageviews": 5}
    charts = data["charts"]
    assert {row["path"]: row["views"] for row in charts["top_pages"]} == {"/": 3, "/cart": 2}
    assert charts["countries"] == [
        {"country": "Sweden", "country_code": "SE", "sessions": 5, "visitors": 5}
    ]
    assert {row["source"]: row["sessions"] for row in charts["top_referrers"]} == {
        "google": 2,
        "blog.example": 1,
        "notgoogle.example": 1,
        "direct": 1,
    }
    assert sum(row["events"] for row in charts["hourly"]) == EVENTS
    assert data["freshness"]["seconds_since_last"] > 4


async def test_a_project_without_events_has_an_empty_overview(shop: Shop) -> None:
    """Zeros and empty lists, no error."""
    async with api_client(shop.databases) as client:
        headers = {"X-GoSight-Key": shop.read_key}
        url = f"/api/v1/projects/{shop.project_id}/overview?from=2020-01-01&to=2020-01-02"
        async with client.get(url, headers=headers) as answer:
            data = (await answer.json())["data"]
    assert data["summary"]["events"] == 0
    assert data["charts"]["top_pages"] == []


async def test_the_ledger_adds_up_and_matches_the_rows(shop: Shop) -> None:
    """Bookings balance, the recount equals what is booked as stored, by minute and in total."""
    _, document = await get(shop, "ledger")
    totals = document["data"]["totals"]
    assert totals["received"] == 30
    assert totals["rejected_by_reason"] == {"too_old": 2}
    assert (totals["balanced"], totals["recounted"], totals["matches_rows"]) == (True, EVENTS, True)
    assert [entry["balanced"] for entry in document["data"]["minutes"]] == [True]


async def test_pages_of_events_neither_repeat_nor_skip_while_events_arrive(shop: Shop) -> None:
    """Newer events that are stored between two pages do not move what is still to come."""
    seen: list[str] = []
    cursor = ""
    client = connect(shop.databases.clickhouse_url)
    while True:
        _, document = await get(shop, f"events?per_page=7{cursor}")
        seen += [event["event_id"] for event in document["data"]]
        if document["meta"]["next_cursor"] is None:
            break
        cursor = f"&cursor={document['meta']['next_cursor']}"
        row = event_rows(shop.project_id, shop.last_ms + 1_000)[0]
        row["event_id"] = str(uuid4())
        insert_arrow(client, "events", pa.Table.from_pylist([row]), f"later:{len(seen)}")
    client.close()
    assert seen == [row["event_id"] for row in event_rows(shop.project_id, shop.last_ms)]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("event_type=page_view&path=/cart", 2),
        ("user_id=ann&event_type=page_view", 5),
        ("session_id=00000000-0000-0000-0000-000000000001", 5),
        ("path=/nowhere", 0),
        ("user_id=' OR 1=1 --", 0),
    ],
)
async def test_events_are_filtered(shop: Shop, query: str, count: int) -> None:
    """Filters narrow the list; values are values, never SQL."""
    # Up to the last event of the fixture: another test adds newer ones.
    _, document = await get(shop, f"events?per_page=100&{query}")
    known = {row["event_id"] for row in event_rows(shop.project_id, shop.last_ms)}
    assert len([event for event in document["data"] if event["event_id"] in known]) == count


async def test_clickhouse_away_is_503_and_health_stays(shop: Shop) -> None:
    """Without ClickHouse reports are unavailable and the process is unready, but alive."""
    nowhere = {**shop.databases.urls, "CLICKHOUSE_URL": "http://u:p@127.0.0.1:1/d"}
    async with api_client(replace(shop.databases, urls=nowhere)) as client:
        headers = {"X-GoSight-Key": shop.read_key}
        url = f"/api/v1/projects/{shop.project_id}/ledger"
        async with client.get(url, headers=headers) as answer:
            assert answer.status == 503
            assert (await answer.json())["error"]["code"] == "UNAVAILABLE"
        async with client.get("/ready") as answer:
            assert answer.status == 503
        async with client.get("/health") as answer:
            assert answer.status == 200
