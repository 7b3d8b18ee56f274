"""Logins and their refresh tokens in PostgreSQL.

A login is a family of refresh tokens, of which one works at a time. Using one replaces it. An
answer may be lost on its way, so the old one may come again: between one and ten seconds later it
gets the same successor again, as long as that was not used. Any other second use means that two
people hold the family, and ends it. All moments are the caller's clock. Source: api.md, section 2;
RFC 9700, section 4.14.2; ADR 23.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import uuid4

from api.auth_tokens import Claims, TokenSigner
from connectors.database import Database, Transaction
from connectors.secret_texts import hash_of, random_text

GRACE_MS = 10_000
# Calls at the same moment are not lost answers: one of them gets the successor.
TOGETHER_MS = 1_000
LOGINS_MAX = 50  # Of one account; the ones used longest ago end first.
USED_KEPT = timedelta(hours=1)
USER_AGENT_CHARS_MAX = 512


class Outcome(Enum):
    """What became of a refresh token."""

    RENEWED = "renewed"
    TOGETHER = "together"  # Another call renews it at this moment.
    ENDED = "ended"  # The login is over or its account is closed.
    REUSED = "reused"  # The login has been ended because of it.


@dataclass(frozen=True, slots=True)
class Rotation:
    """The outcome and, if renewed, the successor and the moment it was made."""

    outcome: Outcome
    claims: Claims | None = None
    made_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """From where somebody logs in, as they see it in their list."""

    address: str
    user_agent: str


async def start_login(
    transaction: Transaction, signer: TokenSigner, account_id: str, device: Device, now_ms: int
) -> Claims:
    """Begin a login; gives its first refresh token's claims."""
    now = moment(now_ms)
    claims = Claims(account_id, str(uuid4()), random_text(32))
    token_hash = hash_of(claims.token_id)
    expires_at = now + timedelta(seconds=signer.refresh_s)
    await transaction.run(
        "DELETE FROM auth_sessions WHERE account_id = %(account)s "
        "AND (expires_at <= %(now)s OR revoked_at <= %(now)s OR id IN ("
        "  SELECT id FROM auth_sessions WHERE account_id = %(account)s "
        "  ORDER BY last_seen_at DESC OFFSET %(kept)s))",
        account=account_id,
        now=now,
        kept=LOGINS_MAX - 1,
    )
    await transaction.run(
        "INSERT INTO auth_sessions "
        "(id, account_id, token_hash, ip, user_agent, created_at, last_seen_at, expires_at) "
        "VALUES (%(id)s, %(account)s, %(hash)s, %(ip)s, %(agent)s, %(now)s, %(now)s, %(expires)s)",
        id=claims.session_id,
        account=account_id,
        hash=token_hash,
        ip=device.address or None,
        agent=device.user_agent[:USER_AGENT_CHARS_MAX],
        now=now,
        expires=expires_at,
    )
    await _insert_token(transaction, claims, now, expires_at)
    await transaction.run(
        "UPDATE accounts SET last_login_at = %(now)s WHERE id = %(account)s",
        account=account_id,
        now=now,
    )
    return claims


async def rotate(database: Database, signer: TokenSigner, claims: Claims, now_ms: int) -> Rotation:
    """Use a refresh token, whose signature was checked."""
    async with database.transaction() as transaction:
        # Whoever uses a token of this family at the same time waits here.
        login = await transaction.row(
            "SELECT a.is_active AND s.revoked_at IS NULL AND s.expires_at > %(now)s AS is_alive "
            "FROM auth_sessions s JOIN accounts a ON a.id = s.account_id "
            "WHERE s.id = %(session)s AND s.account_id = %(account)s FOR UPDATE OF s",
            session=claims.session_id,
            account=claims.account_id,
            now=moment(now_ms),
        )
        if login is None or not login["is_alive"]:
            return Rotation(Outcome.ENDED)
        return await _use(transaction, signer, claims, now_ms)


async def end_login(database: Database, account_id: str, session_id: str, now_ms: int) -> bool:
    """End one login of an account; False if it has no such login."""
    changed = await database.run(
        "UPDATE auth_sessions SET revoked_at = %(now)s "
        "WHERE id = %(session)s AND account_id = %(account)s AND revoked_at IS NULL",
        session=session_id,
        account=account_id,
        now=moment(now_ms),
    )
    return changed > 0


async def end_all_logins(transaction: Transaction, account_id: str, now_ms: int) -> None:
    """End every login of an account."""
    await transaction.run(
        "UPDATE auth_sessions SET revoked_at = %(now)s "
        "WHERE account_id = %(account)s AND revoked_at IS NULL",
        account=account_id,
        now=moment(now_ms),
    )


def moment(at_ms: int) -> datetime:
    """A time as rows hold it."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


async def _use(
    transaction: Transaction, signer: TokenSigner, claims: Claims, now_ms: int
) -> Rotation:
    successor = Claims(claims.account_id, claims.session_id, signer.next_token_id(claims.token_id))
    token = await transaction.row(
        "SELECT t.id, t.used_at, n.used_at IS NOT NULL AS is_next_used, n.created_at AS made_at, "
        "n.token_hash AS next_hash "
        "FROM refresh_tokens t LEFT JOIN refresh_tokens n ON n.id = t.replaced_by "
        "WHERE t.family_id = %(session)s AND t.token_hash = %(hash)s",
        session=claims.session_id,
        hash=hash_of(claims.token_id),
    )
    if token is not None and token["used_at"] is None:
        await _replace(transaction, token["id"], successor, signer.refresh_s, now_ms)
        return Rotation(Outcome.RENEWED, successor, now_ms)
    # A signed token that is not there was used so long ago that it is not kept any more.
    age_ms = GRACE_MS + 1 if token is None else now_ms - _ms(token["used_at"])
    if token is not None and age_ms <= GRACE_MS and not token["is_next_used"]:
        if age_ms < TOGETHER_MS or token["next_hash"] != hash_of(successor.token_id):
            return Rotation(Outcome.TOGETHER)
        return Rotation(Outcome.RENEWED, successor, _ms(token["made_at"]))
    await transaction.run(
        "UPDATE auth_sessions SET revoked_at = %(now)s WHERE id = %(session)s",
        session=claims.session_id,
        now=moment(now_ms),
    )
    return Rotation(Outcome.REUSED)


async def _replace(
    transaction: Transaction, token_id: str, successor: Claims, refresh_s: int, now_ms: int
) -> None:
    now = moment(now_ms)
    expires_at = now + timedelta(seconds=refresh_s)
    await transaction.run(
        "DELETE FROM refresh_tokens WHERE family_id = %(session)s AND used_at < %(before)s",
        session=successor.session_id,
        before=now - USED_KEPT,
    )
    new_id = await _insert_token(transaction, successor, now, expires_at)
    await transaction.run(
        "UPDATE refresh_tokens SET used_at = %(now)s, replaced_by = %(new)s WHERE id = %(id)s",
        now=now,
        new=new_id,
        id=token_id,
    )
    await transaction.run(
        "UPDATE auth_sessions SET last_seen_at = %(now)s, expires_at = %(expires)s "
        "WHERE id = %(session)s",
        now=now,
        expires=expires_at,
        session=successor.session_id,
    )


async def _insert_token(
    transaction: Transaction, claims: Claims, now: datetime, expires_at: datetime
) -> str:
    row = await transaction.row(
        "INSERT INTO refresh_tokens (family_id, token_hash, created_at, expires_at) "
        "VALUES (%(session)s, %(hash)s, %(now)s, %(expires)s) RETURNING id::text",
        session=claims.session_id,
        hash=hash_of(claims.token_id),
        now=now,
        expires=expires_at,
    )
    assert row is not None
    return str(row["id"])


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
