"""A running API over a project with all scenes, and what tests ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp.test_utils import TestClient

from api.routes import ROUTES
from tests.stored_scenes import StoredScenes


@dataclass(frozen=True)
class Reader:
    """A caller with a read key; answers are held against the model that the table promises."""

    client: TestClient[Any, Any]
    key: str
    scenes: StoredScenes
    other_project: str = ""
    checked: set[str] = field(default_factory=set)

    async def ask(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        project: str | None = None,
        method: str = "GET",
        body: Any = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of a call under the project."""
        async with self.client.request(
            method,
            f"/api/v1/projects/{project or self.scenes.project_id}/{path}",
            params={name: str(value) for name, value in (query or {}).items()},
            headers={"X-GoSight-Key": self.key if key is None else key},
            json=body,
        ) as answer:
            document = await answer.json()
            if answer.status == 200:
                self._check(method, path, document)
            return answer.status, document

    async def get(self, path: str, /, **query: Any) -> Any:
        """The data of an answer over all the time of the scenes, if nothing else is said."""
        return (await self.whole(path, **query))["data"]

    async def whole(self, path: str, /, **query: Any) -> dict[str, Any]:
        """The same with its meta."""
        status, document = await self.ask(path, query)
        assert status == 200, document
        return document

    def ever(self, timezone: str = "UTC") -> dict[str, str]:
        """A period that holds all scenes."""
        scenes = self.scenes
        return {
            "start_date": scenes.first_day,
            "end_date": scenes.last_day,
            "timezone": timezone,
        }

    def _check(self, method: str, path: str, document: dict[str, Any]) -> None:
        parts = f"/api/v1/projects/x/{path}".split("/")
        for route in ROUTES:
            pattern = route.path.split("/")
            is_same = len(pattern) == len(parts) and all(
                wanted.startswith("{") or wanted == part
                for wanted, part in zip(pattern, parts, strict=True)
            )
            if route.method == method and is_same:
                if route.answer is not None:
                    route.answer.model_validate(document["data"])
                return
        raise AssertionError(f"no route for {method} {path}")
