"""Tokens that log in: short access tokens and refresh tokens, both JWT with HMAC-SHA-256.

In: who, and the clock. Out: texts, and what a text stands for. Pure. A token is good only if it is
signed by one of our secrets with the one algorithm, is of the kind asked for, from us, for us, and
not expired: nothing of it is believed before. Two secrets are taken while they rotate; the first
one signs. Source: api.md, section 2; ADR 23.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from uuid import uuid4

import jwt

ALGORITHM = "HS256"
ISSUER = "gosight"
AUDIENCE = "gosight-api"
ACCESS = "access"
REFRESH = "refresh"
TOKEN_CHARS_MAX = 1_024  # Ours have some 400.
_REQUIRED = ["exp", "iat", "sub", "jti", "iss", "aud", "typ", "sid"]
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class TokenError(Exception):
    """The text is no token of ours."""


class ExpiredError(TokenError):
    """It is one, of the kind asked for, but too old."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. `session_id` is the login that it belongs to, its family.

    `expires_at_ms` is that of a token that was read.
    """

    account_id: str
    session_id: str
    token_id: str
    expires_at_ms: int = field(default=0, compare=False)


class TokenSigner:
    """Makes and reads tokens; `secrets` are the present one and, while rotating, the one before."""

    def __init__(self, secrets: tuple[str, ...], *, access_s: int, refresh_s: int) -> None:
        assert secrets
        assert all(len(secret) >= 32 for secret in secrets)
        self._secrets = tuple(secret.encode() for secret in secrets)
        self.access_s = access_s
        self.refresh_s = refresh_s

    def access(self, account_id: str, session_id: str, now_ms: int) -> str:
        """A fresh access token."""
        claims = Claims(account_id, session_id, uuid4().hex)
        return self._sign(ACCESS, claims, now_ms, self.access_s)

    def refresh(self, claims: Claims, now_ms: int) -> str:
        """A refresh token; the same claims and clock give the same text."""
        return self._sign(REFRESH, claims, now_ms, self.refresh_s)

    def next_token_id(self, token_id: str) -> str:
        """The id of the refresh token that replaces this one.

        It follows from the old one, so that an answer that was lost can be given again although
        only a hash of the id is stored.
        """
        return hmac.digest(self._secrets[0], f"next {token_id}".encode(), hashlib.sha256).hex()

    def read_access(self, text: str, now_ms: int) -> Claims:
        """The claims of a valid access token.

        Raises:
            TokenError: it is none; ExpiredError if it was one.
        """
        return self._read(text, ACCESS, now_ms)

    def read_refresh(self, text: str, now_ms: int) -> Claims:
        """The claims of a valid refresh token; whether it was used is for the store to say.

        Raises:
            TokenError: it is none; ExpiredError if it was one.
        """
        return self._read(text, REFRESH, now_ms)

    def _sign(self, kind: str, claims: Claims, now_ms: int, ttl_s: int) -> str:
        now_s = now_ms // 1000
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": kind,
            "sub": claims.account_id,
            "sid": claims.session_id,
            "jti": claims.token_id,
            "iat": now_s,
            "exp": now_s + ttl_s,
        }
        return jwt.encode(payload, self._secrets[0], algorithm=ALGORITHM)

    def _read(self, text: str, kind: str, now_ms: int) -> Claims:
        if len(text) > TOKEN_CHARS_MAX:
            raise TokenError("too long")
        payload = self._payload(text)
        expires_s = payload["exp"]
        if payload["typ"] != kind or type(expires_s) is not int:
            raise TokenError("of another kind")
        account_id, session_id, token_id = (str(payload[name]) for name in ("sub", "sid", "jti"))
        claims = Claims(account_id, session_id, token_id, expires_s * 1000)
        if not _UUID.fullmatch(claims.account_id) or not _UUID.fullmatch(claims.session_id):
            raise TokenError("of nobody")
        if expires_s * 1000 <= now_ms:
            raise ExpiredError("expired")
        return claims

    def _payload(self, text: str) -> dict[str, object]:
        for secret in self._secrets:
            try:
                return jwt.decode(
                    text,
                    secret,
                    algorithms=[ALGORITHM],
                    issuer=ISSUER,
                    audience=AUDIENCE,
                    # The clock is passed to us, so expiry is checked by us.
                    options={
                        "require": _REQUIRED,
                        "verify_exp": False,
                        "verify_iat": False,
                        "verify_nbf": False,
                        "strict_aud": True,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                raise TokenError(type(error).__name__) from error
        raise TokenError("signed by somebody else")
