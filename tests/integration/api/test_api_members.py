"""Members, roles and invitations: who lets whom in, and who may not be put out."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from api.accounts.services import AccountOptions
from connectors.database import DatabaseRow
from tests.integration.api.account_world import (
    PASSWORD,
    Person,
    World,
    account_world,
    person_of,
)
from tests.stack import RunningStack


async def test_roles_decide_who_manages_members(world: World) -> None:
    """Admins manage all but owners; owners all; others nobody but themselves."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    path = f"/projects/{project_id}/members"
    admin, member, viewer = [
        await world.join(owner, project_id, role) for role in ("admin", "member", "viewer")
    ]

    async def status(who: Person, method: str, whom: Person, role: str = "") -> int:
        body = {"role": role} if role else None
        return (await world.call(method, f"{path}/{whom.id}", who, json=body)).status

    assert await status(admin, "PATCH", viewer, "member") == 200
    assert await status(admin, "PATCH", viewer, "owner") == 403
    assert await status(admin, "PATCH", admin, "owner") == 403
    assert await status(admin, "PATCH", owner, "viewer") == 403
    assert await status(admin, "DELETE", owner) == 403
    assert await status(member, "PATCH", member, "admin") == 403
    assert await status(member, "DELETE", viewer) == 403
    assert await status(viewer, "DELETE", member) == 403
    assert await status(member, "DELETE", member) == 200
    assert (await world.call("GET", path, member)).status == 404
    new_owner = {"email": (await world.register("eve")).email, "role": "owner"}
    assert (await world.call("POST", path, admin, json=new_owner)).status == 403
    assert await status(admin, "DELETE", viewer) == 200
    roles = [person["role"] for person in (await world.call("GET", path, owner)).data]
    assert roles == ["owner", "admin"]


async def test_the_last_owner_stays(world: World) -> None:
    """Neither leaving nor demoting oneself works until there is another owner."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}/members"
    mine = f"{path}/{ann.id}"
    assert (await world.call("DELETE", mine, ann)).status == 409
    assert (await world.call("PATCH", mine, ann, json={"role": "admin"})).status == 409
    assert (await world.call("PATCH", mine, ann, json={"role": "owner"})).status == 200
    await world.join(ann, project_id, "owner")
    assert (await world.call("DELETE", mine, ann)).status == 200


async def test_two_owners_cannot_demote_each_other_at_once(world: World) -> None:
    """Whatever the order, one owner is left."""
    ann = await world.register()
    for _ in range(5):
        project_id, _ = await world.project(ann)
        bob = await world.join(ann, project_id, "owner")
        path = f"/projects/{project_id}/members"
        await asyncio.gather(
            world.call("PATCH", f"{path}/{bob.id}", ann, json={"role": "viewer"}),
            world.call("PATCH", f"{path}/{ann.id}", bob, json={"role": "viewer"}),
        )
        query = "SELECT role::text FROM project_members WHERE project_id = %(id)s"
        rows = await world.accounts.database.rows(query, id=project_id)
        assert sorted(row["role"] for row in rows) == ["owner", "viewer"]


async def test_a_role_counts_with_the_next_request(world: World) -> None:
    """There is no cache that keeps a right alive."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    bob = await world.join(ann, project_id, "admin")
    path = f"/projects/{project_id}"
    assert (await world.call("GET", f"{path}/api-keys", bob)).status == 200
    await world.call("PATCH", f"{path}/members/{bob.id}", ann, json={"role": "viewer"})
    assert (await world.call("GET", f"{path}/api-keys", bob)).status == 403
    await world.call("DELETE", f"{path}/members/{bob.id}", ann)
    assert (await world.call("GET", path, bob)).status == 404


async def invited(world: World, owner: Person, project_id: str, email: str) -> DatabaseRow:
    """An invitation of somebody who has no account."""
    body = {"email": email, "role": "member"}
    reply = await world.call("POST", f"/projects/{project_id}/members", owner, json=body)
    assert (reply.status, reply.data["state"]) == (201, "invited")
    invitation: DatabaseRow = reply.data["invitation"]
    return invitation


async def test_an_invited_person_registers_although_registration_is_closed(
    databases: RunningStack,
) -> None:
    """The link lets one person in, once."""
    async with account_world(databases) as world:
        ann = await world.register()
        project_id, _ = await world.project(ann)
    options = AccountOptions(dashboard_url="https://dash.example")
    async with account_world(databases, options=options) as world:
        email = f"{uuid4().hex}@example.com"
        invitation = await invited(world, ann, project_id, email)
        assert invitation["link"] == f"https://dash.example/invitation#{invitation['token']}"
        body = {"email": email, "password": PASSWORD, "name": "Bob"}
        body["invitation"] = invitation["token"]
        stranger = {**body, "email": f"{uuid4().hex}@example.com"}
        assert (await world.call("POST", "/auth/register", json=stranger)).status == 403
        bob = person_of(await world.call("POST", "/auth/register", json=body))
        reply = await world.call("GET", f"/projects/{project_id}", bob)
        assert reply.data["role"] == "member"
        again = await world.call("POST", "/auth/register", json=body)
        assert again.status == 403
        listed = await world.call("GET", f"/projects/{project_id}/invitations", ann)
        assert listed.data == []


async def test_an_invitation_is_for_one_email_once_within_seven_days(world: World) -> None:
    """Forwarded, used, replaced, withdrawn and old links open nothing, and all answer the same."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    email = f"{uuid4().hex}@example.com"
    replaced = (await invited(world, ann, project_id, email))["token"]
    invitation = await invited(world, ann, project_id, email)
    token = invitation["token"]
    bob = person_of(
        await world.call(
            "POST", "/auth/register", json={"email": email, "password": PASSWORD, "name": "Bob"}
        )
    )
    eve = await world.register("eve")

    async def accept(who: Person, text: str) -> tuple[int, str]:
        reply = await world.call("POST", "/invitations/accept", who, json={"token": text})
        return reply.status, "" if reply.status == 200 else reply.document["error"]["message"]

    refused = await accept(eve, token)
    assert refused[0] == 403
    assert await accept(bob, replaced) == refused
    assert await accept(bob, "gsi_" + "0" * 40) == refused
    world.clock.forward(7 * 86_400)
    bob, eve = await world.log_in(bob), await world.log_in(eve)
    assert await accept(bob, token) == refused
    world.clock.forward(-1)
    bob, ann = await world.log_in(bob), await world.log_in(ann)
    assert (await accept(bob, token))[0] == 200
    assert await accept(bob, token) == refused
    assert (await world.call("GET", f"/projects/{project_id}", bob)).data["role"] == "member"


async def test_invitations_are_listed_and_withdrawn(world: World) -> None:
    """An admin withdraws one; one for an owner needs an owner; other projects see none."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}/invitations"
    admin = await world.join(ann, project_id, "admin")
    body = {"email": f"{uuid4().hex}@example.com", "role": "owner"}
    added = await world.call("POST", f"/projects/{project_id}/members", ann, json=body)
    owner_invitation = added.data["invitation"]["id"]
    plain = await invited(world, admin, project_id, f"{uuid4().hex}@example.com")
    assert len((await world.call("GET", path, admin)).data) == 2
    assert (await world.call("DELETE", f"{path}/{owner_invitation}", admin)).status == 403
    eve = await world.register("eve")
    evil_id, _ = await world.project(eve)
    evil = f"/projects/{evil_id}/invitations/{plain['id']}"
    assert (await world.call("DELETE", evil, eve)).status == 404
    assert (await world.call("DELETE", f"{path}/{plain['id']}", admin)).status == 200
    again = await invited(world, admin, project_id, f"{uuid4().hex}@example.com")
    body = {"role": "viewer"}
    await world.call("PATCH", f"/projects/{project_id}/members/{admin.id}", ann, json=body)
    left = (await world.call("GET", path, ann)).data
    assert again["id"] not in {invitation["id"] for invitation in left}


async def test_a_link_opens_no_more_than_who_gave_it_still_could(world: World) -> None:
    """An owner who is an admin now, and who is none any more, made no owners for later."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    path = f"/projects/{project_id}"
    former = await world.join(ann, project_id, "owner")

    async def given_by(who: Person, role: str) -> str:
        body = {"email": f"{uuid4().hex}@example.com", "role": role}
        reply = await world.call("POST", f"{path}/members", who, json=body)
        return str(reply.data["invitation"]["id"])

    owner, admin = await given_by(former, "owner"), await given_by(former, "admin")
    of_ann = await given_by(ann, "owner")
    body = {"role": "admin"}
    await world.call("PATCH", f"{path}/members/{former.id}", ann, json=body)

    async def left() -> set[str]:
        listed = (await world.call("GET", f"{path}/invitations", ann)).data
        return {str(invitation["id"]) for invitation in listed}

    assert await left() == {admin, of_ann}, owner
    reply = await world.call("DELETE", "/me", former, json={"password": PASSWORD})
    assert reply.status == 200
    assert await left() == {of_ann}


async def test_who_was_removed_has_no_link_to_come_back_by(world: World) -> None:
    """Also if they were made a member without using it."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    members = f"/projects/{project_id}/members"
    email = f"{uuid4().hex}@example.com"
    token = (await invited(world, ann, project_id, email))["token"]
    body = {"email": email, "password": PASSWORD, "name": "Eve"}
    eve = person_of(await world.call("POST", "/auth/register", json=body))
    body = {"email": email, "role": "viewer"}
    assert (await world.call("POST", members, ann, json=body)).status == 201
    assert (await world.call("DELETE", f"{members}/{eve.id}", ann)).status == 200
    reply = await world.call("POST", "/invitations/accept", eve, json={"token": token})
    assert reply.status == 403
    assert (await world.call("GET", f"/projects/{project_id}", eve)).status == 404


@pytest.mark.parametrize("by_registering", [True, False], ids=["registering", "accepting"])
async def test_joining_by_a_link_is_told_in_the_audit_log(
    world: World, by_registering: bool
) -> None:
    """However the link is used."""
    ann = await world.register()
    project_id, _ = await world.project(ann)
    email = f"{uuid4().hex}@example.com"
    token = (await invited(world, ann, project_id, email))["token"]
    body = {"email": email, "password": PASSWORD, "name": "Bob"}
    more = {"invitation": token} if by_registering else {}
    bob = person_of(await world.call("POST", "/auth/register", json=body | more))
    if not by_registering:
        reply = await world.call("POST", "/invitations/accept", bob, json={"token": token})
        assert reply.data == {"project_id": project_id, "role": "member"}
    told = (await world.call("GET", f"/projects/{project_id}/audit", ann)).data[0]
    assert (told["action"], told["target"]) == ("member.joined", bob.id)
    assert (told["actor"]["id"], told["details"]) == (bob.id, {"role": "member"})
