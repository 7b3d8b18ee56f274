"""Register, log in, renew, log out, change the password. Source: api.md, sections 2 and 4."""

from __future__ import annotations

from aiohttp import web
from psycopg.errors import UniqueViolation

from api.accounts.auth_models import (
    LoginAnswer,
    LoginBody,
    LogoutBody,
    PasswordBody,
    RefreshBody,
    RegisterBody,
    TokensAnswer,
)
from api.accounts.fields import nothing, one_answer
from api.accounts.invitations import accept_invitation, find_invitation
from api.accounts.login_guard import check_attempt, note_failure
from api.accounts.logins import (
    Device,
    Outcome,
    end_all_logins,
    end_login,
    rotate,
    start_login,
)
from api.accounts.services import ACCOUNTS, AccountServices
from api.auth import CALLER
from api.auth_tokens import Claims, ExpiredError, TokenError
from api.bodies import read_body
from api.client import address_of
from api.errors import ApiError, ErrorCode
from api.services import SERVICES
from connectors.database import DatabaseRow, Transaction

_FIND = "SELECT id::text, email, name, password_hash, is_active FROM accounts WHERE "
_BY_EMAIL = _FIND + "lower(email) = lower(%(email)s)"
_BY_ID = _FIND + "id = %(id)s"


async def register(request: web.Request) -> web.Response:
    """Make an account and log it in: the first one, with an invitation, or if all may."""
    accounts = request.app[ACCOUNTS]
    body = await read_body(request, RegisterBody)
    now_ms = request.app[SERVICES].now_ms()
    await _check_may_register(accounts, body, now_ms)
    password_hash = await accounts.passwords.hash(body.password.get_secret_value())
    try:
        async with accounts.database.transaction() as transaction:
            if body.invitation is None and not accounts.options.is_registration_open:
                await _check_is_first(transaction)
            account = await transaction.row(
                "INSERT INTO accounts (email, password_hash, name) "
                "VALUES (%(email)s, %(hash)s, %(name)s) RETURNING id::text, email, name",
                email=body.email,
                hash=password_hash,
                name=body.name,
            )
            assert account is not None
            if body.invitation is not None:
                await accept_invitation(transaction, body.invitation, account, now_ms)
            claims = await start_login(
                transaction, accounts.signer, account["id"], _device(request, accounts), now_ms
            )
    except UniqueViolation:
        raise ApiError(ErrorCode.CONFLICT, "there is an account with this e-mail") from None
    return _logged_in(accounts, account, claims, now_ms, status=201)


async def login(request: web.Request) -> web.Response:
    """Tokens for an e-mail and its password; what of the two was wrong is not told."""
    accounts = request.app[ACCOUNTS]
    body = await read_body(request, LoginBody)
    now_ms = request.app[SERVICES].now_ms()
    account = await accounts.database.row(_BY_EMAIL, email=body.email)
    password = body.password.get_secret_value()
    await _check_password(request, body.email, account, password)
    assert account is not None
    new_hash = None
    if accounts.passwords.is_outdated(account["password_hash"]):
        new_hash = await accounts.passwords.hash(password)
    async with accounts.database.transaction() as transaction:
        await _check_is_unchanged(transaction, account)
        if new_hash is not None:
            await transaction.run(
                "UPDATE accounts SET password_hash = %(new)s WHERE id = %(id)s",
                new=new_hash,
                id=account["id"],
            )
        claims = await start_login(
            transaction, accounts.signer, account["id"], _device(request, accounts), now_ms
        )
    return _logged_in(accounts, account, claims, now_ms)


async def refresh(request: web.Request) -> web.Response:
    """A fresh pair of tokens for a refresh token, which is used up by it."""
    now_ms = request.app[SERVICES].now_ms()  # Before anything waits: it tells who came together.
    accounts = request.app[ACCOUNTS]
    body = await read_body(request, RefreshBody)
    claims = _refresh_claims(accounts, body.refresh_token, now_ms)
    rotation = await rotate(accounts.database, accounts.signer, claims, now_ms)
    if rotation.outcome is Outcome.REUSED:
        raise ApiError(
            ErrorCode.TOKEN_REUSED, "this token was used before: the login is ended; log in again"
        )
    if rotation.outcome is Outcome.TOGETHER:
        raise ApiError(
            ErrorCode.CONFLICT,
            "another call renews this token now; use its answer",
            retry_after_s=1,
        )
    if rotation.claims is None:
        raise ApiError(ErrorCode.UNAUTHORIZED, "the login is over; log in again")
    signer = accounts.signer
    return one_answer(
        TokensAnswer,
        {
            "access_token": signer.access(claims.account_id, claims.session_id, now_ms),
            "refresh_token": signer.refresh(rotation.claims, rotation.made_at_ms),
            "expires_in": signer.access_s,
        },
    )


async def logout(request: web.Request) -> web.Response:
    """End this login: its access token and refresh token are worth nothing from now on."""
    caller = request[CALLER]
    accounts = request.app[ACCOUNTS]
    body = await read_body(request, LogoutBody)
    now_ms = request.app[SERVICES].now_ms()
    await end_login(accounts.database, caller.account_id, caller.session_id, now_ms)
    if body.refresh_token is not None:
        claims = _refresh_claims(accounts, body.refresh_token, now_ms)
        # Ends nothing if it is somebody else's.
        await end_login(accounts.database, caller.account_id, claims.session_id, now_ms)
    return nothing()


async def change_password(request: web.Request) -> web.Response:
    """A new password ends every login; the caller gets a new one."""
    accounts = request.app[ACCOUNTS]
    body = await read_body(request, PasswordBody)
    now_ms = request.app[SERVICES].now_ms()
    account = await check_own_password(request, body.old_password.get_secret_value())
    new_hash = await accounts.passwords.hash(body.new_password.get_secret_value())
    async with accounts.database.transaction() as transaction:
        changed = await transaction.run(
            "UPDATE accounts SET password_hash = %(new)s "
            "WHERE id = %(id)s AND password_hash = %(old)s",
            new=new_hash,
            old=account["password_hash"],
            id=account["id"],
        )
        if not changed:
            raise ApiError(ErrorCode.CONFLICT, "the password was changed by somebody else just now")
        await end_all_logins(transaction, account["id"], now_ms)
        claims = await start_login(
            transaction, accounts.signer, account["id"], _device(request, accounts), now_ms
        )
    return _logged_in(accounts, account, claims, now_ms)


async def check_own_password(request: web.Request, password: str) -> DatabaseRow:
    """The caller's account, if the password is theirs.

    Raises:
        ApiError: UNAUTHORIZED, RATE_LIMITED.
    """
    account = await request.app[ACCOUNTS].database.row(_BY_ID, id=request[CALLER].account_id)
    email = account["email"] if account else ""
    await _check_password(request, email, account, password)
    assert account is not None
    return account


async def _check_may_register(accounts: AccountServices, body: RegisterBody, now_ms: int) -> None:
    """Refuse before the costly hash; the transaction decides."""
    if body.invitation is not None:
        found = await find_invitation(accounts.database, body.invitation, now_ms)
        if found is None or found["email"] != body.email:
            raise ApiError(
                ErrorCode.FORBIDDEN, "the invitation is for somebody else, used, or expired"
            )
        return
    if accounts.options.is_registration_open:
        return
    if await accounts.database.row("SELECT 1 FROM accounts LIMIT 1") is not None:
        raise _closed()


async def _check_is_first(transaction: Transaction) -> None:
    """The first one is let in without being asked; two at once must not both be first."""
    await transaction.run("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
    if await transaction.row("SELECT 1 FROM accounts LIMIT 1") is not None:
        raise _closed()


def _closed() -> ApiError:
    return ApiError(ErrorCode.FORBIDDEN, "registration is closed; ask for an invitation")


async def _check_password(
    request: web.Request, email: str, account: DatabaseRow | None, password: str
) -> None:
    """Refuse in equal words and time, whether there is such an account or not."""
    accounts = request.app[ACCOUNTS]
    address = address_of(request, accounts.options.trusted_proxy_count)
    async with accounts.attempts.turn(email, address):
        await check_attempt(accounts.limits, email, address)
        stored = account["password_hash"] if account is not None else None
        is_right = await accounts.passwords.is_right(stored, password)
        if not is_right or account is None or not account["is_active"]:
            await note_failure(accounts.limits, email, address)
            raise ApiError(ErrorCode.UNAUTHORIZED, "the e-mail or the password is wrong")


async def _check_is_unchanged(transaction: Transaction, account: DatabaseRow) -> None:
    """The password that was looked at is still the account's, until the transaction ends.

    Looking takes a while. A password that is changed meanwhile ends all logins, and one that began
    with the old one just after that would outlive them.
    """
    row = await transaction.row(
        "SELECT 1 FROM accounts WHERE id = %(id)s AND password_hash = %(hash)s AND is_active "
        "FOR NO KEY UPDATE",
        id=account["id"],
        hash=account["password_hash"],
    )
    if row is None:
        raise ApiError(
            ErrorCode.CONFLICT, "the account was changed just now; log in again", retry_after_s=1
        )


def _refresh_claims(accounts: AccountServices, text: str, now_ms: int) -> Claims:
    try:
        return accounts.signer.read_refresh(text, now_ms)
    except ExpiredError:
        raise ApiError(ErrorCode.TOKEN_EXPIRED, "the refresh token is too old; log in") from None
    except TokenError:
        raise ApiError(ErrorCode.UNAUTHORIZED, "this is no refresh token") from None


def _device(request: web.Request, accounts: AccountServices) -> Device:
    user_agent = request.headers.get("User-Agent", "")
    # What a header may hold and a text of PostgreSQL may not.
    readable = user_agent.encode("utf-8", "replace").decode().replace("\0", "")
    return Device(address_of(request, accounts.options.trusted_proxy_count), readable)


def _logged_in(
    accounts: AccountServices, account: DatabaseRow, claims: Claims, now_ms: int, status: int = 200
) -> web.Response:
    signer = accounts.signer
    return one_answer(
        LoginAnswer,
        {
            "access_token": signer.access(claims.account_id, claims.session_id, now_ms),
            "refresh_token": signer.refresh(claims, now_ms),
            "expires_in": signer.access_s,
            "user": dict(account),
        },
        status=status,
    )
