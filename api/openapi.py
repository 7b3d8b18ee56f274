"""The OpenAPI 3.1 document, made from the route table: what the router runs, and nothing else.

In: routes with their models. Out: a document. Schemas are those of the models, so that what is
documented is what is checked. Pure. Source: api.md, sections 1 and 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.access import Access
from api.errors import STATUS, ErrorCode
from api.route import BASE, Route

REF = "#/components/schemas/{model}"
OPENAPI_PATH = BASE + "/openapi.json"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_RATE_HEADERS = {
    "X-RateLimit-Limit": "Calls a minute.",
    "X-RateLimit-Remaining": "Calls that are left.",
    "X-RateLimit-Reset": "When all are there again, in Unix seconds.",
}
_ABOUT = """Everything that GoSight knows can be read here, and everything that a project's owner \
decides can be set. Log in with `POST /api/v1/auth/login` and send the access token as \
`Authorization: Bearer`, or send an API token in the same way, or a project's key as \
`X-GoSight-Key`. Every answer is `{"success": true, "data": ...}` or `{"success": false, \
"error": {"code", "message", "details"}}`. A project that you have no part in answers 404."""

Document = dict[str, Any]


def build_document(routes: Sequence[Route], version: str) -> Document:
    """The document of these routes; routes outside of `/api` are for operators and not in it."""
    listed = [r for r in routes if r.path.startswith(BASE) and r.path != OPENAPI_PATH]
    schemas, refs = _schemas(listed)
    paths: dict[str, Document] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GoSight",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(route) for route in listed)],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _error_schema()},
            "responses": _failure_responses(),
            "headers": _header_components(),
            "securitySchemes": {
                "login": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apiToken": {"type": "http", "scheme": "bearer", "bearerFormat": "gst_..."},
                "projectKey": {"type": "apiKey", "in": "header", "name": "X-GoSight-Key"},
            },
        },
    }


_Refs = dict[tuple[type[BaseModel], JsonSchemaMode], Document]


def _schemas(routes: Sequence[Route]) -> tuple[Document, _Refs]:
    """The schemas of all models by their names, and where each model's is."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for route in routes:
        if route.body is not None:
            wanted[route.body, "validation"] = None
        if route.answer is not None:
            wanted[route.answer, "serialization"] = None
    refs, definitions = models_json_schema(list(wanted), ref_template=REF)
    found = {(model, mode): refs[model, mode] for model, mode in wanted}
    return definitions.get("$defs", {}), found


def _operation(route: Route, refs: _Refs) -> Document:
    operation: Document = {
        "operationId": f"{route.method.lower()}_{_id_of(route.path)}",
        "tags": [_tag(route)],
        "description": _description(route),
        "security": _security(route),
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.parameters)],
        "responses": _responses(route, refs),
    }
    if route.summary:
        operation["summary"] = route.summary.rstrip(".")
    if route.body is not None:
        content: Document = {"schema": refs[route.body, "validation"]}
        if route.example:
            content["example"] = route.example
        operation["requestBody"] = {
            "required": bool(_required(route.body)),
            "content": {"application/json": content},
        }
    return operation


def _is_websocket(route: Route) -> bool:
    return route.status == 101


def _description(route: Route) -> str:
    """What the handler says of itself, and who may call it."""
    text = cleandoc(route.handler.__doc__ or "").partition("Raises:")[0].strip()
    return f"{text}\n\nFor: {_who(route)}." if text else f"For: {_who(route)}."


def _who(route: Route) -> str:
    if _is_websocket(route):
        return "viewers of the project and above, as the first message says"
    if route.access is Access.PUBLIC:
        return "everybody"
    if route.is_personal:
        return "accounts, logged in; no API token will do"
    if route.access is Access.ACCOUNT:
        return "accounts"
    return f"{route.access.name.lower()}s of the project and above"


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access is Access.PUBLIC:
        return []
    names = ["login"]
    if not route.is_personal:
        names.append("apiToken")
    if Access.VIEWER <= route.access <= Access.ADMIN:
        names.append("projectKey")
    return [{name: []} for name in names]


def _path_parameters(path: str) -> Iterator[Document]:
    for name in _PLACEHOLDER.findall(path):
        schema: Document = {"type": "string"}
        # A session's id is whatever its sender chose.
        if name.endswith("_id") and name != "session_id":
            schema["format"] = "uuid"
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(model: type[BaseModel] | None) -> Iterator[Document]:
    if model is None:
        return
    schema = model.model_json_schema(ref_template=REF)
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _inlined(field, schema.get("$defs", {})),
        }


def _inlined(schema: Any, definitions: Document) -> Any:
    """A parameter's schema without references: its definitions are not in the components."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items()}


def _responses(route: Route, refs: _Refs) -> Document:
    data = refs[route.answer, "serialization"] if route.answer is not None else {}
    success = {
        "type": "object",
        "required": ["success", "data"],
        "properties": {
            "success": {"const": True},
            "data": data,
            "meta": {"type": "object", "description": "Where the next page of a list is."},
            "message": {"type": "string"},
        },
    }
    content: Document = {name: {} for name in route.files}
    responses: Document = {
        str(route.status): {
            "description": "Done." if route.status != 202 else "Accepted; it goes on.",
            "headers": _headers(),
            "content": content or {"application/json": {"schema": success}},
        }
    }
    if _is_websocket(route):
        responses = {"101": {"description": "The protocol is a WebSocket's from here on."}}
    for status in _failures(route):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return dict(sorted(responses.items()))


def _failures(route: Route) -> set[int]:
    """Which failures a caller has to expect, by status."""
    codes = {ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL_ERROR}
    codes.add(ErrorCode.VALIDATION_ERROR)
    if route.access is not Access.PUBLIC or "/auth/" in route.path:
        codes |= {ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN}
    if "{" in route.path:
        codes.add(ErrorCode.NOT_FOUND)
    if not route.is_read:
        codes.add(ErrorCode.CONFLICT)
    if route.body is not None:
        codes |= {ErrorCode.PAYLOAD_TOO_LARGE, ErrorCode.REQUEST_TIMEOUT}
    return {STATUS[code] for code in codes}


def _failure_responses() -> Document:
    """What each failing status means: its codes."""
    by_status: dict[int, list[str]] = {}
    for code, status in STATUS.items():
        by_status.setdefault(status, []).append(code.value)
    content = {"application/json": {"schema": {"$ref": REF.format(model="Error")}}}
    found: Document = {
        str(status): {"description": ", ".join(codes), "headers": _headers(), "content": content}
        for status, codes in by_status.items()
    }
    # A request line or header that is too long ends in the HTTP parser, before any of this.
    plain = {"text/plain": {"schema": {"type": "string"}}}
    found["400"]["content"] = content | plain
    return found


def _header_components() -> Document:
    return {
        name: {"description": text, "schema": {"type": "integer"}}
        for name, text in _RATE_HEADERS.items()
    }


def _headers() -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _RATE_HEADERS}


def _error_schema() -> Document:
    return {
        "type": "object",
        "required": ["success", "error"],
        "properties": {
            "success": {"const": False},
            "error": {
                "type": "object",
                "required": ["code", "message", "details"],
                "properties": {
                    "code": {"enum": [code.value for code in ErrorCode]},
                    "message": {"type": "string"},
                    "details": {
                        "type": "object",
                        "description": "Fields at fault, each with what is wrong.",
                        "additionalProperties": {"type": "string"},
                    },
                },
            },
        },
    }


def _required(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.is_required()]


def _tag(route: Route) -> str:
    """The group of a route: the first part of its path that is no placeholder."""
    parts = [part for part in route.path.removeprefix(BASE).split("/") if part]
    if len(parts) > 2 and parts[0] == "projects":
        return parts[2]
    return parts[0]


def _id_of(path: str) -> str:
    parts = path.removeprefix(BASE).replace("{", "by_").replace("}", "")
    return re.sub(r"[^a-z0-9]+", "_", parts.lower()).strip("_")
