"""Register, log in, renew, log out, change the password: on the real PostgreSQL."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from api.accounts.services import AccountOptions
from api.auth_tokens import TokenSigner
from tests.integration.api.account_world import PASSWORD, World, account_world, person_of
from tests.stack import RunningStack


def refreshed(token: str) -> dict[str, str]:
    """The body of a renewal."""
    return {"refresh_token": token}


async def test_registering_logs_in_and_sets_the_login(world: World) -> None:
    """A new account has tokens at once, a profile, and the time of its login."""
    ann = await world.register()
    reply = await world.call("GET", "/me", ann)
    assert reply.data["email"] == ann.email
    assert reply.data["last_login_at"] == "2026-11-21T10:00:00.000Z"
    assert "password" not in str(reply.document)


async def test_one_person_has_one_account(world: World) -> None:
    """The same e-mail in other letters is taken."""
    ann = await world.register()
    body = {"email": ann.email.upper(), "password": PASSWORD, "name": "Ann"}
    assert (await world.call("POST", "/auth/register", json=body)).status == 409


async def test_registration_is_closed_once_there_is_an_account(databases: RunningStack) -> None:
    """The first account gets in, the next one only if the setting says so."""
    async with account_world(databases) as world:
        await world.register()
    async with account_world(databases, options=AccountOptions()) as world:
        body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "name": "Bob"}
        reply = await world.call("POST", "/auth/register", json=body)
        assert (reply.status, reply.code) == (403, "FORBIDDEN")


async def test_two_first_registrations_at_once_make_one_account(
    running_stack: RunningStack, databases: RunningStack
) -> None:
    """Who is first is decided in the transaction."""
    async with account_world(databases, options=AccountOptions()) as world:
        await world.accounts.database.run("DELETE FROM accounts")
        bodies = [
            {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "name": "First"}
            for _ in range(6)
        ]
        replies = await asyncio.gather(
            *(world.call("POST", "/auth/register", json=body) for body in bodies)
        )
    statuses = [reply.status for reply in replies]
    assert statuses.count(201) == 1
    assert set(statuses) <= {201, 403, 503}  # 503: a busy machine that waited too long.


async def test_a_wrong_password_and_an_unknown_email_get_one_answer(world: World) -> None:
    """Status, code, words and headers are the same."""
    ann = await world.register()
    wrong = {"email": ann.email, "password": "wrong horse battery"}
    unknown = {"email": f"{uuid4().hex}@example.com", "password": "wrong horse battery"}
    replies = [await world.call("POST", "/auth/login", json=body) for body in (wrong, unknown)]
    assert [reply.status for reply in replies] == [401, 401]
    assert replies[0].document == replies[1].document
    assert set(replies[0].headers) == set(replies[1].headers)


async def test_a_closed_account_does_not_log_in_and_is_logged_out(world: World) -> None:
    """An account that an operator closes ends with the next request."""
    ann = await world.register()
    await world.accounts.database.run(
        "UPDATE accounts SET is_active = false WHERE id = %(id)s", id=ann.id
    )
    assert (await world.call("GET", "/me", ann)).status == 401
    body = {"email": ann.email, "password": PASSWORD}
    assert (await world.call("POST", "/auth/login", json=body)).status == 401
    reply = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    assert reply.status == 401


async def test_an_access_token_lives_as_long_as_it_says(world: World) -> None:
    """Then the answer is TOKEN_EXPIRED, and renewing helps."""
    ann = await world.register()
    world.clock.forward(899)
    assert (await world.call("GET", "/me", ann)).status == 200
    world.clock.forward(1)
    reply = await world.call("GET", "/me", ann)
    assert (reply.status, reply.code) == (401, "TOKEN_EXPIRED")
    renewed = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    headers = {"Authorization": f"Bearer {renewed.data['access_token']}"}
    assert (await world.call("GET", "/me", headers=headers)).status == 200


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_login(world: World) -> None:
    """After the grace a second use answers TOKEN_REUSED, and nothing of the family works."""
    ann = await world.register()
    first = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    world.clock.forward(11)
    again = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    assert (again.status, again.code) == (401, "TOKEN_REUSED")
    successor = await world.call(
        "POST", "/auth/refresh", json=refreshed(first.data["refresh_token"])
    )
    assert (successor.status, successor.code) == (401, "UNAUTHORIZED")
    headers = {"Authorization": f"Bearer {first.data['access_token']}"}
    assert (await world.call("GET", "/me", headers=headers)).status == 401


async def test_a_lost_answer_is_given_again_for_ten_seconds(world: World) -> None:
    """The same successor, not a second one; once that is used, the old token is a reuse."""
    ann = await world.register()
    first = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    world.clock.forward(5)
    again = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    assert again.data["refresh_token"] == first.data["refresh_token"]
    used = await world.call("POST", "/auth/refresh", json=refreshed(first.data["refresh_token"]))
    assert used.status == 200
    late = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    assert late.code == "TOKEN_REUSED"


async def test_a_hundred_parallel_refreshes_give_one_success(world: World) -> None:
    """One call renews; the others are told so and end nothing."""
    ann = await world.register()
    replies = await asyncio.gather(
        *(
            world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
            for _ in range(100)
        )
    )
    statuses = [reply.status for reply in replies]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 503}  # 503: a busy machine that waited too long.
    (winner,) = [reply for reply in replies if reply.status == 200]
    reply = await world.call("POST", "/auth/refresh", json=refreshed(winner.data["refresh_token"]))
    assert reply.status == 200


async def test_a_token_used_long_ago_is_a_reuse_although_it_is_not_kept(world: World) -> None:
    """Used tokens are removed after an hour; their signature still tells the family."""
    ann = await world.register()
    token = ann.refresh_token
    for _ in range(3):
        world.clock.forward(4_000)
        reply = await world.call("POST", "/auth/refresh", json=refreshed(token))
        token = reply.data["refresh_token"]
    row = await world.accounts.database.row(
        "SELECT count(*) AS kept FROM refresh_tokens t JOIN auth_sessions s ON s.id = t.family_id "
        "WHERE s.account_id = %(id)s",
        id=ann.id,
    )
    assert row is not None
    assert row["kept"] == 2
    reply = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    assert reply.code == "TOKEN_REUSED"


async def test_a_refresh_token_expires(world: World) -> None:
    """Somebody who does not come for thirty days logs in again."""
    ann = await world.register()
    world.clock.forward(30 * 86_400)
    reply = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    assert (reply.status, reply.code) == (401, "TOKEN_EXPIRED")


async def test_a_signed_token_of_nobody_renews_nothing(world: World) -> None:
    """A login that does not exist, or is another account's, is over."""
    ann, bob = await world.register(), await world.register("bob")
    signer = world.accounts.signer
    claims = signer.read_refresh(ann.refresh_token, world.clock.now_ms)
    stranger = type(claims)(bob.id, claims.session_id, claims.token_id)
    for text in (
        signer.refresh(stranger, world.clock.now_ms),
        signer.refresh(type(claims)(ann.id, str(uuid4()), "x"), world.clock.now_ms),
    ):
        reply = await world.call("POST", "/auth/refresh", json=refreshed(text))
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED")
    assert (await world.call("GET", "/me", ann)).status == 200


async def test_logging_out_makes_the_tokens_useless_at_once(world: World) -> None:
    """The access token is refused with the next request, the refresh token too; others go on."""
    ann = await world.register()
    other = await world.log_in(ann)
    assert (await world.call("POST", "/auth/logout", ann)).status == 200
    assert (await world.call("GET", "/me", ann)).status == 401
    reply = await world.call("POST", "/auth/refresh", json=refreshed(ann.refresh_token))
    assert reply.status == 401
    assert (await world.call("GET", "/me", other)).status == 200


async def test_logging_out_with_a_foreign_refresh_token_ends_nothing_of_others(
    world: World,
) -> None:
    """Another account's login goes on."""
    ann, bob = await world.register(), await world.register("bob")
    body = refreshed(bob.refresh_token)
    assert (await world.call("POST", "/auth/logout", ann, json=body)).status == 200
    assert (await world.call("GET", "/me", bob)).status == 200


async def test_a_new_password_ends_every_login(world: World) -> None:
    """Old tokens and the old password are worth nothing; the answer has tokens that work."""
    ann = await world.register()
    other = await world.log_in(ann)
    body = {"old_password": PASSWORD, "new_password": "staple battery horse"}
    fresh = person_of(await world.call("POST", "/me/password", ann, json=body))
    for old in (ann, other):
        assert (await world.call("GET", "/me", old)).status == 401
        reply = await world.call("POST", "/auth/refresh", json=refreshed(old.refresh_token))
        assert reply.status == 401
    assert (await world.call("GET", "/me", fresh)).status == 200
    login = {"email": ann.email, "password": PASSWORD}
    assert (await world.call("POST", "/auth/login", json=login)).status == 401
    login["password"] = "staple battery horse"
    assert (await world.call("POST", "/auth/login", json=login)).status == 200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts SET password_hash = 'another' WHERE id = %(id)s",
        "UPDATE accounts SET is_active = false WHERE id = %(id)s",
        "DELETE FROM accounts WHERE id = %(id)s",
    ],
    ids=["password", "closed", "deleted"],
)
async def test_an_account_changed_while_its_password_is_looked_at_lets_nobody_in(
    world: World, change: str
) -> None:
    """The old password was right when it was looked at; the login would outlive the change."""
    ann = await world.register()
    body = {"email": ann.email, "password": PASSWORD}
    async with world.accounts.database.transaction() as other:
        await other.run(change, id=ann.id)
        login = asyncio.create_task(world.call("POST", "/auth/login", json=body))
        await until_somebody_waits(world)
    reply = await login
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (409, "CONFLICT", "1")
    assert (await world.call("POST", "/auth/login", json=body)).status == 401


async def until_somebody_waits(world: World) -> None:
    """For a row that another transaction has changed."""
    waiting = (
        "SELECT count(*) AS waiting FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(2.5):
        while True:
            row = await world.accounts.database.row(waiting)
            if row is not None and row["waiting"]:
                return
            await asyncio.sleep(0.01)


async def test_the_old_password_is_asked_for(world: World) -> None:
    """A stolen access token does not change the password."""
    ann = await world.register()
    body = {"old_password": "wrong horse battery", "new_password": "staple battery horse"}
    assert (await world.call("POST", "/me/password", ann, json=body)).status == 401
    assert (await world.call("GET", "/me", ann)).status == 200


async def test_logins_are_listed_and_ended(world: World) -> None:
    """A person sees where they are logged in, and ends one of it."""
    ann = await world.register()
    other = await world.log_in(ann, headers={"User-Agent": "Pocket browser"})
    listed = (await world.call("GET", "/me/logins", ann)).data
    assert sorted(login["is_current"] for login in listed) == [False, True]
    (pocket,) = [login for login in listed if login["user_agent"] == "Pocket browser"]
    assert pocket["ip"] == "127.0.0.1"
    bob = await world.register("bob")
    path = f"/me/logins/{pocket['id']}"
    assert (await world.call("DELETE", path, bob)).status == 404
    assert (await world.call("DELETE", path, ann)).status == 200
    assert (await world.call("GET", "/me", other)).status == 401
    assert (await world.call("DELETE", path, ann)).status == 404


async def test_logins_of_an_account_are_bounded(world: World) -> None:
    """The one used longest ago ends when there are too many."""
    ann = await world.register()
    for _ in range(50):
        world.clock.forward(1)
        last = await world.log_in(ann)
    assert (await world.call("GET", "/me", ann)).status == 401
    assert len((await world.call("GET", "/me/logins", last)).data) == 50


async def test_profile_changes_what_is_named(world: World) -> None:
    """Other fields stay; bad values are all told."""
    ann = await world.register()
    body = {"timezone": "Asia/Tokyo", "currency": "JPY"}
    reply = await world.call("PATCH", "/me", ann, json=body)
    assert (reply.data["name"], reply.data["timezone"]) == ("ann", "Asia/Tokyo")
    body = {"timezone": "Mars/Base", "currency": "yen", "avatar_url": "javascript:alert(1)"}
    reply = await world.call("PATCH", "/me", ann, json=body)
    assert reply.status == 400
    assert set(reply.document["error"]["details"]) == {"timezone", "currency", "avatar_url"}


@pytest.mark.parametrize(
    "extra", ["id", "is_active", "email_verified", "password_hash", "email", "role", "created_at"]
)
async def test_mass_assignment_of_the_profile_is_refused(world: World, extra: str) -> None:
    """Fields that a caller may not set are unknown, not ignored."""
    ann = await world.register()
    reply = await world.call("PATCH", "/me", ann, json={"name": "Eve", extra: "true"})
    assert (reply.status, list(reply.document["error"]["details"])) == (400, [extra])
    assert (await world.call("GET", "/me", ann)).data["name"] == "ann"


async def test_mass_assignment_while_registering_is_refused(world: World) -> None:
    """Nobody registers with an id, a role or as verified."""
    for extra in ("id", "is_active", "email_verified", "role", "tenant_id"):
        body = {"email": "e@example.com", "password": PASSWORD, "name": "E", extra: "x"}
        assert (await world.call("POST", "/auth/register", json=body)).status == 400


async def test_api_tokens_act_within_their_scopes(world: World) -> None:
    """Read reads, write writes; the account itself is for logins alone; revoked is revoked."""
    ann = await world.register()
    made = {}
    for scopes in (["read"], ["write"], ["read", "write"]):
        body = {"name": "+".join(scopes), "scopes": scopes}
        reply = await world.call("POST", "/me/api-tokens", ann, json=body)
        assert reply.status == 201
        assert reply.data["token"].startswith("gst_")
        assert len(reply.data["token"]) == 44
        made["+".join(scopes)] = reply.data
    listed = (await world.call("GET", "/me/api-tokens", ann)).data
    prefixes = {token["token_prefix"] for token in listed}
    assert prefixes == {data["token"][:8] for data in made.values()}
    assert not any("token" in token for token in listed)
    statuses = {
        name: (await world.call("GET", "/me", headers=bearer(data["token"]))).status
        for name, data in made.items()
    }
    assert statuses == {"read": 200, "write": 403, "read+write": 200}
    both = bearer(made["read+write"]["token"])
    for method, path in (("GET", "/me/api-tokens"), ("GET", "/me/logins"), ("PATCH", "/me")):
        assert (await world.call(method, path, headers=both)).status == 403
    path = f"/me/api-tokens/{made['read']['id']}"
    bob = await world.register("bob")
    assert (await world.call("DELETE", path, bob)).status == 404
    assert (await world.call("DELETE", path, ann)).status == 200
    assert (await world.call("GET", "/me", headers=bearer(made["read"]["token"]))).status == 401


async def test_an_api_token_expires_and_tells_its_use(world: World) -> None:
    """Expired it is refused; its last use is in the list."""
    ann = await world.register()
    body = {"name": "t", "scopes": ["read"], "expires_at": "2026-11-21T11:00:00Z"}
    token = (await world.call("POST", "/me/api-tokens", ann, json=body)).data["token"]
    assert (await world.call("GET", "/me", headers=bearer(token))).status == 200
    (listed,) = (await world.call("GET", "/me/api-tokens", ann)).data
    assert listed["last_used_at"] == "2026-11-21T10:00:00.000Z"
    world.clock.forward(3_600)
    assert (await world.call("GET", "/me", headers=bearer(token))).status == 401
    body["expires_at"] = "2020-01-01T00:00:00Z"
    ann = await world.log_in(ann)
    assert (await world.call("POST", "/me/api-tokens", ann, json=body)).status == 400


def bearer(text: str) -> dict[str, str]:
    """A credential as a header."""
    return {"Authorization": f"Bearer {text}"}


async def test_forged_and_misplaced_tokens_do_not_get_in(world: World) -> None:
    """Another secret, a refresh token as access, a token as key: all the same 401."""
    ann = await world.register()
    other = TokenSigner(("another secret that is not ours 0123",), access_s=900, refresh_s=900)
    claims = world.accounts.signer.read_access(ann.access_token, world.clock.now_ms)
    forged = other.access(claims.account_id, claims.session_id, world.clock.now_ms)
    for headers in (
        bearer(forged),
        bearer(ann.refresh_token),
        bearer("gst_" + "0" * 40),
        bearer("gst_short"),
        bearer("gs_api_" + "0" * 32),
        {"X-GoSight-Key": ann.access_token},
        {"Authorization": f"Basic {ann.access_token}"},
        {},
    ):
        reply = await world.call("GET", "/me", headers=headers)
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED")
        assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_a_hash_of_other_parameters_is_renewed_by_logging_in(world: World) -> None:
    """After the cost changes, each login brings its own hash up to date."""
    ann = await world.register()
    costly = type(world.accounts.passwords)(1, memory_kib=128, rounds=1, lanes=1)
    old = await costly.hash(PASSWORD)
    costly.close()
    update = "UPDATE accounts SET password_hash = %(hash)s WHERE id = %(id)s"
    await world.accounts.database.run(update, hash=old, id=ann.id)
    await world.log_in(ann)
    row = await world.accounts.database.row(
        "SELECT password_hash FROM accounts WHERE id = %(id)s", id=ann.id
    )
    assert row is not None
    assert row["password_hash"] != old
    await world.log_in(ann)


async def test_nothing_that_opens_a_door_is_stored_readably(world: World) -> None:
    """Neither passwords nor tokens are in any column of any table."""
    ann = await world.register()
    body = {"name": "t", "scopes": ["read"]}
    token = (await world.call("POST", "/me/api-tokens", ann, json=body)).data["token"]
    tables = await world.accounts.database.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    signer = world.accounts.signer
    refresh_id = signer.read_refresh(ann.refresh_token, world.clock.now_ms).token_id
    for table in tables:
        rows = await world.accounts.database.rows(f"SELECT t::text FROM {table['table_name']} t")
        text = "\n".join(str(row["t"]) for row in rows)
        for secret in (PASSWORD, token, refresh_id, ann.refresh_token, ann.access_token):
            assert secret not in text
