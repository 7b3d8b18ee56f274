"""A project with one of everything, people of every role, and callers of every kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from api.access import Access
from api.route import Route
from connectors.secret_texts import KEY_PREFIX_LENGTH, hash_of, new_key
from tests.integration.api.account_world import PASSWORD, Person, World, person_of

# Words that nobody outside of the project may ever see.
MARK = "marzipan"


@dataclass(frozen=True)
class Estate:
    """Ids by the placeholder of a path, and the people of the project by their role."""

    project_id: str
    ids: dict[str, str]
    people: dict[Access, Person]
    keys: dict[str, str]
    tokens: dict[str, str]

    def path(self, route: Route, **other: str) -> str:
        """The route's path with the ids of this estate; what it has not is made up."""
        ids = {**self.ids, **other}
        return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], str(uuid4())), route.path)

    def has_all_of(self, route: Route) -> bool:
        """Whether each id of the route's path is of something that is there."""
        return set(re.findall(r"\{(\w+)\}", route.path)) <= set(self.ids)

    def headers(self, caller: str) -> dict[str, str]:
        """Of a person by role, a key by permission, or an API token by scope."""
        if caller in self.keys:
            return {"X-GoSight-Key": self.keys[caller]}
        if caller in self.tokens:
            return {"Authorization": f"Bearer {self.tokens[caller]}"}
        return self.people[Access[caller.upper()]].headers


async def make_estate(world: World) -> Estate:
    """A project with one of everything."""
    mark = f"{MARK}-{uuid4().hex[:8]}"
    owner = await world.register(mark)
    project_id, _ = await world.project(owner, mark)
    path = f"/projects/{project_id}"

    async def made(where: str, who: Person = owner, method: str = "POST", **body: Any) -> Any:
        reply = await world.call(method, where, who, json=body)
        assert reply.status in (200, 201), reply.document
        return reply.data

    people = {Access.OWNER: owner}
    for role in (Access.ADMIN, Access.MEMBER, Access.VIEWER):
        people[role] = person_of(
            await world.call(
                "POST",
                "/auth/register",
                json={
                    "email": f"{role.name.lower()}-{mark}-{uuid4().hex[:6]}@example.com",
                    "password": PASSWORD,
                    "name": f"{mark} {role.name.lower()}",
                },
            )
        )
        await made(f"{path}/members", email=people[role].email, role=role.name.lower())
    extra = await world.join(owner, project_id, "viewer")
    invitation = await made(
        f"{path}/members", email=f"{mark}-{uuid4().hex[:6]}@example.com", role="member"
    )
    key = await made(f"{path}/api-keys", name=mark, permissions=["read"])
    saved = await made(
        f"{path}/filters",
        people[Access.MEMBER],
        name=mark,
        filter_type="sessions",
        filter={"path": mark},
        is_shared=True,
    )
    note = await made(f"{path}/notes", people[Access.MEMBER], content=mark, note_date="2026-11-20")
    alert = await made(
        f"{path}/alerts",
        name=mark,
        condition={"metric": "errors", "threshold": 5, "window": "5m"},
        channels=[{"type": "webhook", "url": f"https://127.0.0.1/{mark}"}],
    )
    goal = await made(f"{path}/goals", name=mark, track_method="javascript")
    funnel = await made(
        f"{path}/funnels",
        name=mark,
        steps=[{"type": "page", "pattern": f"/{mark}"}, {"type": "goal", "name": mark}],
    )
    page = await made(f"{path}/public-dashboard", method="PUT", enabled=True)
    tokens = {
        f"token {scope}": (await made("/me/api-tokens", name=scope, scopes=[scope]))["token"]
        for scope in ("read", "write")
    }
    token = await made("/me/api-tokens", name="t", scopes=["read"])
    (login,) = (await world.call("GET", "/me/logins", owner)).data
    return Estate(
        project_id,
        {
            "project_id": project_id,
            "key_id": key["id"],
            "user_id": extra.id,
            "invitation_id": invitation["invitation"]["id"],
            "filter_id": saved["id"],
            "note_id": note["id"],
            "alert_id": alert["id"],
            "goal_id": goal["id"],
            "funnel_id": funnel["id"],
            "slug": page["slug"],
            "token_id": token["id"],
            "login_id": login["id"],
        },
        people,
        {f"key {name}": await _key(world, project_id, name) for name in ("read", "write", "admin")},
        tokens,
    )


async def _key(world: World, project_id: str, permission: str) -> str:
    """A key of this permission, made as the command makes it."""
    text = new_key(permission)
    await world.accounts.database.run(
        "INSERT INTO api_keys (project_id, key_hash, key_prefix, permissions) "
        "VALUES (%(project)s, %(hash)s, %(prefix)s, %(permissions)s)",
        project=project_id,
        hash=hash_of(text),
        prefix=text[:KEY_PREFIX_LENGTH],
        permissions=[permission],
    )
    return text
