"""SQL injection through every parameter of every read: made from the route table."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin
from uuid import uuid4

import pytest
from pydantic import BaseModel

from api.read_routes import READ_ROUTES
from api.route import PROJECT, Route
from api.routes import ROUTES
from connectors.clickhouse import connect
from tests.integration.api.conftest import SceneShop
from tests.integration.api.reading import Reader

pytestmark = pytest.mark.integration

TEXTS = (
    "' OR 1=1 --",
    "x' UNION ALL SELECT project_id FROM events --",
    "\\' OR 1=1 --",
    "{project_id:String}",
    "%(project_id)s%n",
    "'*",
    "\\",
    "a\nb\tc\0d",
    "x" * 1_024,
)
# For what is not any text: numbers, words of a list, times.
WORDS = ("' OR 1=1 --", "-1", "1e309", "")
REQUIRED = {"path": "/cart"}
# Two names of one parameter cannot be given together.
SAME = {"from": "start_date", "start": "start_date", "to": "end_date", "end": "end_date"}
READS = [
    route for route in READ_ROUTES if route.method == "GET" and not route.path.endswith("/usage")
]
IN_PATH = {
    "session_id": lambda shop: shop.scenes.sessions[0].session_id,
    "error_id": lambda shop: next(
        row["error_fingerprint"] for row in shop.scenes.events if row["error_fingerprint"]
    ),
    "job_id": lambda _shop: str(uuid4()),
}


def parameters_of(route: Route) -> Iterator[tuple[str, Any]]:
    """Every name that a query may have, its aliases too, with its type."""
    model: type[BaseModel] | None = route.parameters
    for name, info in (model.model_fields if model else {}).items():
        alias = info.validation_alias
        for one in getattr(alias, "choices", None) or [name]:
            yield str(one), info.annotation


def is_free_text(annotation: Any) -> bool:
    """Whether any text may be a value."""
    if annotation is str:
        return True
    if get_origin(annotation) in {typing.Union, types.UnionType, typing.Annotated}:
        return any(map(is_free_text, get_args(annotation)))
    return False


def path_of(route: Route, shop: SceneShop) -> str:
    """The route's path below the project."""
    path = route.path.removeprefix(PROJECT + "/")
    for name, make in IN_PATH.items():
        path = path.replace("{" + name + "}", make(shop))
    return path


@pytest.mark.parametrize("route", READS, ids=lambda route: route.path.removeprefix(PROJECT))
async def test_a_parameter_is_a_value_and_never_sql(
    reader: Reader, scene_shop: SceneShop, route: Route
) -> None:
    """Refused, or an answer about nothing: no error of the server, no row that does not match."""
    path = path_of(route, scene_shop)
    if "explain" in path:
        pytest.skip("each costs a second; its values are options of a command, tried elsewhere")
    fields = route.parameters.model_fields if route.parameters else {}
    base = {name: value for name, value in REQUIRED.items() if name in fields}
    if "timezone" in fields:
        base |= reader.ever()
    url = f"/api/v1/projects/{scene_shop.scenes.project_id}/{path}"
    for name, annotation in parameters_of(route):
        rest = {key: value for key, value in base.items() if key != SAME.get(name, name)}
        for text in TEXTS if is_free_text(annotation) else WORDS:
            headers = {"X-GoSight-Key": scene_shop.admin_key}
            query = {**rest, name: text}
            async with reader.client.get(url, params=query, headers=headers) as answer:
                status, content = answer.status, await answer.text()
            assert status in {200, 400, 404}, (name, text, content[:300])
            assert "DB::Exception" not in content
            if not is_free_text(annotation):
                assert status == 400, (name, text, content[:300])


async def test_filters_that_are_texts_match_as_texts(reader: Reader, scene_shop: SceneShop) -> None:
    """A text that would be true as SQL finds nothing."""
    for path, name in (
        ("sessions", "browser"),
        ("sessions", "device_type"),
        ("sessions", "user_id"),
        ("sessions", "utm_source"),
        ("sessions", "path"),
    ):
        for text in ("' OR 1=1 --", "') OR ('1'='1", "\\' OR 1=1 --", "%", "_"):
            assert await reader.get(path, **reader.ever(), **{name: text}) == []
    client = connect(scene_shop.databases.clickhouse_url)
    (count,) = client.query("SELECT count() FROM events").result_rows[0]
    client.close()
    assert count >= len(scene_shop.scenes.events)


def test_every_read_is_tried() -> None:
    """What is made from the table is made from all of it."""
    assert set(READ_ROUTES) <= set(ROUTES)
    assert sum(len(list(parameters_of(route))) for route in READS) > 100
    assert {route.path for route in READ_ROUTES if route.method == "GET"} - {
        route.path for route in READS
    } == {PROJECT + "/usage"}
