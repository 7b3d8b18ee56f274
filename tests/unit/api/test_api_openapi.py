"""The OpenAPI document: valid, whole, and served with its page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from openapi_spec_validator import OpenAPIV31SpecValidator

from api import openapi_handlers
from api.access import Access
from api.bodies import parse_body
from api.errors import ApiError
from api.openapi import OPENAPI_PATH, build_document
from api.route import BASE, PROJECT
from api.routes import ROUTES, Route

DOCUMENT = build_document(ROUTES, "0.0.0")
LISTED = [r for r in ROUTES if r.path.startswith(BASE) and r.path != OPENAPI_PATH]


def operation(route: Route) -> dict[str, Any]:
    """A route in the document."""
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def test_the_document_is_valid() -> None:
    """It is OpenAPI 3.1, with every reference resolved."""
    errors = list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors())
    assert errors == []
    references = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert references <= set(DOCUMENT["components"]["schemas"])


def test_every_route_is_in_it_and_nothing_else() -> None:
    """The table and the document name the same calls."""
    listed = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }
    assert listed == {(route.method, route.path) for route in LISTED}


def test_names_of_operations_are_unique() -> None:
    """Generated clients get one function a call."""
    names = [operation(route)["operationId"] for route in LISTED]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("route", LISTED, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_is_told_completely(route: Route) -> None:
    """Path parameters, who may call, and what can go wrong are there."""
    told = operation(route)
    in_path = {p["name"] for p in told["parameters"] if p["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", route.path))
    assert (told["security"] == []) == (route.access is Access.PUBLIC)
    assert {str(route.status), "429", "500", "503"} <= set(told["responses"])
    assert ("401" in told["responses"]) == (
        route.access is not Access.PUBLIC or "/auth/" in route.path
    )


@pytest.mark.parametrize(
    "route", [r for r in LISTED if r.example], ids=lambda route: f"{route.method} {route.path}"
)
def test_examples_of_bodies_are_taken(route: Route) -> None:
    """What the document shows is what the model accepts."""
    assert route.body is not None
    body = openapi_handlers.encode_document(route.example)
    try:
        parse_body(body, route.body)  # type: ignore[type-var]
    except ApiError as error:
        pytest.fail(f"{error.message}: {error.details}")


def test_routes_are_documented() -> None:
    """Each has a summary, an answer or a file, and, if it takes one, an example of its body."""
    for route in LISTED:
        assert route.summary, route.path
        has_no_model = bool(route.files) or route.status == 101  # A file, or a WebSocket.
        assert (route.answer is None) == has_no_model, route.path
        assert bool(route.example) == (route.body is not None), route.path


def test_what_a_number_is_made_of_is_told() -> None:
    """Where its name may mislead: engaged time beside the duration, samples beside page views."""
    schemas = DOCUMENT["components"]["schemas"]
    assert "may be over `duration_ms`" in schemas["SessionStats"]["description"]
    told = DOCUMENT["paths"][PROJECT + "/performance"]["get"]["description"]
    assert "`samples` are the reports" in told
    vitals = schemas["PageVitals"]["properties"]
    assert "samples" in vitals
    assert "views" not in vitals


def test_ids_that_a_sender_chose_are_texts() -> None:
    """A session is asked for by any id; others are UUIDs."""
    path = PROJECT + "/sessions/{session_id}"
    formats = {
        parameter["name"]: parameter["schema"].get("format")
        for parameter in DOCUMENT["paths"][path]["get"]["parameters"]
    }
    assert formats == {"project_id": "uuid", "session_id": None}
    assert "as it was sent" in DOCUMENT["paths"][path]["get"]["description"]
    assert "as it was sent" in DOCUMENT["paths"][PROJECT + "/events"]["get"]["description"]


def test_parameters_are_those_of_the_models() -> None:
    """Names as callers write them, with their limits."""
    route = next(r for r in LISTED if r.path == PROJECT + "/notes" and r.method == "GET")
    names = [p["name"] for p in operation(route)["parameters"] if p["in"] == "query"]
    assert names == ["start_date", "end_date"]


async def test_the_document_and_its_page_are_served() -> None:
    """All from this process; the page may load and ask nothing else."""
    app = web.Application()
    app[openapi_handlers.OPENAPI] = openapi_handlers.encode_document(DOCUMENT)
    app.router.add_get("/api/v1/openapi.json", openapi_handlers.openapi)
    app.router.add_get("/api/docs", openapi_handlers.docs_page)
    app.router.add_get("/api/docs/{file}", openapi_handlers.docs_file)
    async with TestClient(TestServer(app)) as client:
        async with client.get("/api/v1/openapi.json") as answer:
            assert await answer.json() == DOCUMENT
        async with client.get("/api/docs") as answer:
            page = await answer.text()
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(loaded) == 3
        for path in loaded:
            async with client.get(path) as answer:
                assert answer.status == 200
                assert len(await answer.read()) > 100
            async with client.get(path, headers={"Accept-Encoding": "identity"}) as answer:
                assert "Content-Encoding" not in answer.headers
    assert "//" not in page.replace("<!doctype", "")


@pytest.mark.parametrize("name", ["../app.py", "LICENSE", "", "swagger-ui.css.gz", "..%2fapp.py"])
async def test_no_other_file_is_served(name: str) -> None:
    """The list of files is closed."""
    request = make_mocked_request("GET", "/api/docs/x", match_info={"file": name})
    with pytest.raises(ApiError):
        await openapi_handlers.docs_file(request)
