"""Random texts that open doors: keys of projects, tokens of accounts, links of invitations.

Each is made here, given out once and stored as its SHA-256: a text of 32 random characters needs no
slow hash and has to be found by it. Its first characters tell what it is for, so that people and
scanners know one that has leaked. Source: api.md, section 2.
"""

from __future__ import annotations

import hashlib
import secrets
import string

CHARACTERS = string.digits + string.ascii_letters
KEY_LENGTH = 32
KEY_PREFIX_LENGTH = 12  # Of a key as lists show it.
KEY_PREFIXES = {"write": "gs_live_", "read": "gs_api_", "admin": "gs_api_"}
API_TOKEN_PREFIX = "gst_"  # noqa: S105 - how tokens begin is no secret.
API_TOKEN_LENGTH = 40
API_TOKEN_PREFIX_LENGTH = 8  # Of a token as lists show it.
INVITATION_PREFIX = "gsi_"
INVITATION_LENGTH = 40


def new_key(permission: str) -> str:
    """A fresh random key of a project that may do this."""
    return KEY_PREFIXES[permission] + random_text(KEY_LENGTH)


def new_api_token() -> str:
    """A fresh random token that acts for an account."""
    return API_TOKEN_PREFIX + random_text(API_TOKEN_LENGTH)


def new_invitation() -> str:
    """A fresh random text that makes its bearer a member."""
    return INVITATION_PREFIX + random_text(INVITATION_LENGTH)


def random_text(length: int) -> str:
    """Letters and digits from the system's source of randomness."""
    return "".join(secrets.choice(CHARACTERS) for _ in range(length))


def hash_of(text: str) -> str:
    """What is stored of it: SHA-256 in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
