"""JSON answers in the API's envelope: `{"success": true, "data": ..., "meta": ...}`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

_ENCODER = msgspec.json.Encoder(enc_hook=str)


def json_answer(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Any JSON document; answers hold data of one project, so nothing may keep them."""
    return web.Response(
        body=_ENCODER.encode(body),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **(headers or {}),
        },
    )


def data_answer(
    data: Any, meta: Mapping[str, Any] | None = None, *, status: int = 200
) -> web.Response:
    """A success with its data and, for lists, where the next page is."""
    body: dict[str, Any] = {"success": True, "data": data}
    if meta is not None:
        body["meta"] = meta
    return json_answer(body, status=status)


def time_text(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds. Source: api.md, section 1."""
    moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
