"""What the handlers of the account side work with."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from api.accounts.key_caches import KeyCaches
from api.accounts.login_guard import Attempts
from api.accounts.passwords import Passwords
from api.auth_tokens import TokenSigner
from api.rate_limits import RateLimits
from connectors.database import Database


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """What an operator decides.

    `dashboard_url` is where links lead; `cors_origins` are the origins of dashboards that browsers
    let call this API.
    """

    is_registration_open: bool = False
    trusted_proxy_count: int = 0
    dashboard_url: str = ""
    cors_origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccountServices:
    """Everything a handler of the account side may use."""

    database: Database
    signer: TokenSigner
    passwords: Passwords
    limits: RateLimits
    key_caches: KeyCaches
    options: AccountOptions
    attempts: Attempts = field(default_factory=Attempts)


ACCOUNTS: web.AppKey[AccountServices] = web.AppKey("accounts", AccountServices)
