"""Tokens of logins: what is believed, and every forged one that is not."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth_tokens import Claims, ExpiredError, TokenError, TokenSigner

NOW_MS = 1_795_255_200_000
SECRET = "present secret of the tests 0123456789"
OLD_SECRET = "previous secret of the tests 987654321"
ACCOUNT, SESSION = str(uuid4()), str(uuid4())
CLAIMS = Claims(ACCOUNT, SESSION, "r1")


def signer(*secrets: str) -> TokenSigner:
    """A signer with these secrets."""
    return TokenSigner(secrets or (SECRET,), access_s=900, refresh_s=2_592_000)


def payload(**changes: Any) -> dict[str, Any]:
    """What a good access token holds, with changes; None takes a claim away."""
    claims = {
        "iss": "gosight",
        "aud": "gosight-api",
        "typ": "access",
        "sub": ACCOUNT,
        "sid": SESSION,
        "jti": "a1",
        "iat": NOW_MS // 1000,
        "exp": NOW_MS // 1000 + 900,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def forged(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A token with a changed payload, signed by whoever has `secret`."""
    return jwt.encode(payload(**changes), secret, algorithm=algorithm)


def test_a_fresh_access_token_says_who_it_is() -> None:
    """Account and login come back, until it expires to the second."""
    text = signer().access(ACCOUNT, SESSION, NOW_MS)
    claims = signer().read_access(text, NOW_MS + 899_999)
    assert (claims.account_id, claims.session_id) == (ACCOUNT, SESSION)
    with pytest.raises(ExpiredError):
        signer().read_access(text, NOW_MS + 900_000)


def test_each_access_token_has_an_id_of_its_own() -> None:
    """Two tokens of the same moment differ."""
    assert signer().access(ACCOUNT, SESSION, NOW_MS) != signer().access(ACCOUNT, SESSION, NOW_MS)


def part(value: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_with_algorithm_none_is_refused() -> None:
    """No signature is no token, however `none` is spelt."""
    for name in ("none", "None", "NONE", "nOnE"):
        head, body = part({"alg": name, "typ": "JWT"}), part(payload())
        for signature in ("", "x", "AAAA"):
            with pytest.raises(TokenError):
                signer().read_access(f"{head}.{body}.{signature}", NOW_MS)


def test_another_algorithm_with_the_right_secret_is_refused() -> None:
    """The algorithm is pinned: stronger ones are not believed either."""
    for algorithm in ("HS384", "HS512"):
        with pytest.raises(TokenError):
            signer().read_access(forged(SECRET + "x" * 64, algorithm), NOW_MS)
    with pytest.raises(TokenError):
        signer().read_access(forged(algorithm="HS384", secret=SECRET + "0" * 16), NOW_MS)


def test_key_confusion_is_refused() -> None:
    """A token that says RS256 or ES256, signed with our secret as if it were a key, is refused."""
    good = forged().split(".")
    for name in ("RS256", "ES256", "PS256", "EdDSA"):
        head = part({"alg": name, "typ": "JWT"})
        with pytest.raises(TokenError):
            signer().read_access(f"{head}.{good[1]}.{good[2]}", NOW_MS)


def test_keys_named_in_the_head_are_ignored() -> None:
    """A token that brings or names its own key is judged by ours."""
    other = "attacker's own secret 0123456789 abcdef"
    text = jwt.encode(
        payload(),
        other,
        algorithm="HS256",
        headers={"jwk": {"kty": "oct", "k": "YQ"}, "kid": "../../dev/null", "jku": "http://e.vil"},
    )
    with pytest.raises(TokenError):
        signer().read_access(text, NOW_MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "gosight"},
        {"aud": ["gosight-api", "other"]},
        {"aud": None},
        {"iss": "somebody"},
        {"iss": None},
        {"typ": "refresh"},
        {"typ": "Access"},
        {"typ": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 1e12},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "1' OR '1'='1"},
        {"sid": None},
        {"sid": "x"},
        {"jti": None},
    ],
    ids=str,
)
def test_a_signed_token_with_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    """Audience, issuer, kind, times and ids must be there and right, although we signed it."""
    text = forged(**changes)
    with pytest.raises(TokenError):
        signer().read_access(text, NOW_MS)


def test_an_expired_token_is_expired_and_nothing_else() -> None:
    """Expiry has an answer of its own: the client renews."""
    with pytest.raises(ExpiredError):
        signer().read_access(forged(exp=NOW_MS // 1000), NOW_MS)


def test_refresh_tokens_do_not_log_in_nor_access_tokens_renew() -> None:
    """Each kind is refused in the other's place."""
    with pytest.raises(TokenError):
        signer().read_access(signer().refresh(CLAIMS, NOW_MS), NOW_MS)
    with pytest.raises(TokenError):
        signer().read_refresh(signer().access(ACCOUNT, SESSION, NOW_MS), NOW_MS)


def test_the_secret_before_is_believed_while_rotating_and_then_no_more() -> None:
    """Tokens of both secrets are good with two; new ones are signed by the first."""
    old = signer(OLD_SECRET).access(ACCOUNT, SESSION, NOW_MS)
    both = signer(SECRET, OLD_SECRET)
    assert both.read_access(old, NOW_MS).account_id == ACCOUNT
    assert signer(SECRET).read_access(both.access(ACCOUNT, SESSION, NOW_MS), NOW_MS)
    with pytest.raises(TokenError):
        signer(SECRET).read_access(old, NOW_MS)


def test_a_refresh_token_can_be_made_again() -> None:
    """Same claims, same clock, same text: a lost answer is repeated; the next id follows."""
    assert signer().refresh(CLAIMS, NOW_MS) == signer().refresh(CLAIMS, NOW_MS)
    assert signer().next_token_id("r1") == signer().next_token_id("r1")
    assert signer().next_token_id("r1") != signer().next_token_id("r2")
    assert signer().next_token_id("r1") != signer(OLD_SECRET).next_token_id("r1")


@given(st.text(max_size=2_000))
def test_any_text_is_a_token_error(text: str) -> None:
    """Whatever is sent, the answer is the same."""
    with pytest.raises(TokenError):
        signer().read_access(text, NOW_MS)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_character_is_refused(place: int, code: int) -> None:
    """No bit of a good token can be changed."""
    text = forged()
    changed = text[:place] + chr(code) + text[place + 1 :]
    try:
        assert signer().read_access(changed, NOW_MS) == signer().read_access(text, NOW_MS)
    except TokenError:
        return
    # The last character of a part has bits that mean nothing.
    assert base64_same(changed, text)


def base64_same(one: str, other: str) -> bool:
    """Whether two tokens decode to the same bytes."""

    def decoded(text: str) -> list[bytes]:
        return [base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in text.split(".")]

    return decoded(one) == decoded(other)
