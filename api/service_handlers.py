"""`/health`, `/ready`, `/metrics`: for the machines that watch this process, not for users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.answers import json_answer
from api.services import SERVICES
from connectors.dependencies import AsyncProbe, AsyncProbes, all_needed_up

PROBES: web.AppKey[AsyncProbes] = web.AppKey("probes", AsyncProbes)


async def watch_dependencies(app: web.Application) -> AsyncIterator[None]:
    """Ask the stores again and again as long as the application runs."""
    services = app[SERVICES]
    probes = AsyncProbes(
        {name: _probe(check) for name, check in services.checks.items()}, services.vital
    )
    app[PROBES] = probes
    probes.start()
    yield
    probes.stop()


def _probe(check: Callable[[], Awaitable[None]]) -> AsyncProbe:
    async def ask() -> str | None:
        await check()
        return None

    return ask


async def health(_request: web.Request) -> web.Response:
    """The event loop runs; no dependency is asked."""
    return json_answer({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """One entry a dependency; 503 when a vital one is unusable."""
    found = await request.app[PROBES].ask()
    is_ready = all_needed_up(found)
    return json_answer(
        {"status": "ready" if is_ready else "not ready", "dependencies": found},
        status=200 if is_ready else 503,
    )


async def metrics(_request: web.Request) -> web.Response:
    """Prometheus text. A proxy in front must not publish it."""
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
