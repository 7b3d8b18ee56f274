"""Credentials of the account side do not get into logs."""

from __future__ import annotations

import pytest

from api.auth_tokens import TokenSigner
from connectors.log_text import clean_text
from connectors.secret_texts import new_api_token, new_invitation, new_key

ACCOUNT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"


@pytest.mark.parametrize(
    "secret",
    [
        new_api_token(),
        new_invitation(),
        new_key("read"),
        TokenSigner(("s" * 32,), access_s=900, refresh_s=900).access(ACCOUNT, ACCOUNT, 1),
    ],
    ids=["API token", "invitation", "key", "access token"],
)
def test_credentials_are_replaced(secret: str) -> None:
    """Whatever line they stand in; what is around them stays."""
    cleaned = clean_text(f"the caller sent {secret} and was refused")
    assert secret not in cleaned
    assert secret.rpartition(".")[2] not in cleaned
    assert cleaned.startswith("the caller sent ")
    assert cleaned.endswith(" and was refused")
