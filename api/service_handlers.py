"""`/health`, `/ready`, `/metrics`: for the machines that watch this process, not for users."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.answers import json_answer
from api.services import SERVICES
from connectors.errors import ConnectorError

CHECK_TIMEOUT_S = 5.0


async def health(_request: web.Request) -> web.Response:
    """The event loop runs; no dependency is asked."""
    return json_answer({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """One line a dependency; 503 when a vital one is unusable."""
    services = request.app[SERVICES]
    names = list(services.checks)
    faults = await asyncio.gather(*(_fault(services.checks[name]) for name in names))
    found = dict(zip(names, faults, strict=True))
    is_ready = not any(found[name] for name in services.vital)
    lines = {name: fault or "ok" for name, fault in found.items()}
    return json_answer(
        {"status": "ready" if is_ready else "not ready", "dependencies": lines},
        status=200 if is_ready else 503,
    )


async def _fault(check: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except (ConnectorError, TimeoutError) as error:
        return type(error).__name__
    return None


async def metrics(_request: web.Request) -> web.Response:
    """Prometheus text. A proxy in front must not publish it."""
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
