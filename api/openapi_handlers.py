"""The OpenAPI document and the page that shows it, without any other host.

The page is swagger-ui-dist 5.35.0 (Apache-2.0), kept compressed beside `index.html` and `start.js`,
which are ours. It may load and ask what this process serves, and nothing else.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
from aiohttp import web

from api.errors import ApiError, ErrorCode
from api.openapi import Document

OPENAPI: web.AppKey[bytes] = web.AppKey("openapi", bytes)
_FOLDER = Path(__file__).parent / "swagger_ui"
_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
    "index.html": "text/html",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_DAY_S = 86_400


def encode_document(document: Document) -> bytes:
    """The document as it is served."""
    return msgspec.json.encode(document)


async def openapi(request: web.Request) -> web.Response:
    """This document."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def docs_page(request: web.Request) -> web.Response:
    """The document for people."""
    return _file(request, "index.html")


async def docs_file(request: web.Request) -> web.Response:
    """What the page loads."""
    return _file(request, request.match_info["file"])


def _file(request: web.Request, name: str) -> web.Response:
    # A closed list: no path of the request becomes a path of the disk.
    if name not in _FILES:
        raise ApiError(ErrorCode.NOT_FOUND, "there is no such file")
    headers = {
        "Content-Security-Policy": _PAGE_POLICY,
        "Cache-Control": f"public, max-age={_DAY_S}",
        "Vary": "Accept-Encoding",
    }
    packed = _FOLDER / f"{name}.gz"
    if not packed.exists():
        body = (_FOLDER / name).read_bytes()
    elif "gzip" in request.headers.get("Accept-Encoding", ""):
        body = packed.read_bytes()
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(packed.read_bytes())
    return web.Response(body=body, content_type=_FILES[name], charset="utf-8", headers=headers)
