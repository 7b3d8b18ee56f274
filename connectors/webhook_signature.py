"""Signatures of webhooks: the Standard Webhooks form, and GoSight's own older one. Pure.

In: secrets, an id, a time and the body's bytes. Out: the headers that a receiver checks. With two
secrets, while one is being replaced, there are two signatures; who knows either of them accepts.

    webhook-id          constant over all attempts of one message
    webhook-timestamp   Unix seconds of this attempt
    webhook-signature   v1,BASE64 of HMAC-SHA256(key, "{id}.{timestamp}.{body}"); by spaces
    X-GoSight-Signature v1=HEX of HMAC-SHA256(secret, "{timestamp}.{body}"); by commas

The key of the first is what stands in base64 behind `whsec_`; that of the second is the secret as
it is written, prefix included. Source: Standard Webhooks specification 1.0; alerting.md, section 6.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets as random_secrets
from collections.abc import Sequence
from hashlib import sha256

PREFIX = "whsec_"
# The specification asks for 24 to 64 bytes.
SECRET_BYTES = 32
SECRETS_MAX = 2
TOLERANCE_S = 300  # Receivers should refuse what is older or newer. Source: the same specification.


def new_secret() -> str:
    """A secret that nobody has seen."""
    return PREFIX + base64.b64encode(random_secrets.token_bytes(SECRET_BYTES)).decode()


def signing_key(secret: str) -> bytes:
    """The bytes that a secret stands for; one that is not base64 stands for itself."""
    try:
        bare = secret.removeprefix(PREFIX)
        key = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()
    return key or secret.encode()


def signature_headers(
    secrets: Sequence[str], message_id: str, at_s: int, event: str, body: bytes
) -> dict[str, str]:
    """All headers that go with a body; without a secret there are no signatures."""
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "X-GoSight-Event": event,
        "X-GoSight-Delivery": message_id,
        "X-GoSight-Timestamp": str(at_s),
    }
    used = secrets[:SECRETS_MAX]
    if used:
        headers["webhook-signature"] = " ".join(
            standard_signature(secret, message_id, at_s, body) for secret in used
        )
        headers["X-GoSight-Signature"] = ",".join(
            own_signature(secret, at_s, body) for secret in used
        )
    return headers


def standard_signature(secret: str, message_id: str, at_s: int, body: bytes) -> str:
    """One signature in the Standard Webhooks form."""
    content = f"{message_id}.{at_s}.".encode() + body
    digest = hmac.digest(signing_key(secret), content, sha256)
    return "v1," + base64.b64encode(digest).decode()


def own_signature(secret: str, at_s: int, body: bytes) -> str:
    """One signature in GoSight's own form."""
    return "v1=" + hmac.digest(secret.encode(), f"{at_s}.".encode() + body, sha256).hex()
