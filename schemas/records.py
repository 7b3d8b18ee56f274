"""Records that pass between modules: plain, slotted, without behaviour beyond construction.

`ProjectSettings` is the parsed `projects.settings` document; `ProjectKey` is what a presented key
stands for. Both are immutable and safe to share between tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Categories of event types that a project can switch; events.md, section 3.
CATEGORY_DEFAULTS: Mapping[str, bool] = {
    "session": True,
    "page": True,
    "mouse": True,
    "scroll": True,
    "input": True,
    "form": True,
    "error": True,
    "performance": True,
    "network": False,
    "media": False,
    "resize": True,
    "custom": True,
    "replay": True,
    "clipboard": False,
    "selection": False,
    "revenue": True,
}
EVENT_RETENTION_DAYS = 90  # deployment.md, section 6; a project may choose 1 to 730.
RESULT_RETENTION_DAYS = 365  # Of sessions and insights; the same source and bounds.
RETENTION_DAYS_MAX = 730


@dataclass(frozen=True, slots=True)
class PrivacyPolicy:
    """What a project asks to be masked or refused; privacy.md, sections 1, 4, 5, 6 and 7."""

    level: int = 1  # 1 essential, 2 enhanced, 3 maximum.
    ip_method: str = "full"  # full, truncate, hash, remove
    scrub_email: bool = False  # Everywhere, not only in URLs and error texts.
    scrub_phone: bool = False
    scrub_ipv4: bool = False
    scrub_dob: bool = False
    scrub_traits: bool = False
    custom_patterns: tuple[str, ...] = ()
    block_urls: tuple[str, ...] = ()
    allow_urls: tuple[str, ...] = ()
    exclude_from_storage: frozenset[str] = frozenset()
    respect_dnt: bool = False
    respect_gpc: bool = True


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """The settings document of one project with all defaults filled in."""

    disabled_categories: frozenset[str] = frozenset(
        name for name, is_on in CATEGORY_DEFAULTS.items() if not is_on
    )
    privacy: PrivacyPolicy = field(default_factory=PrivacyPolicy)
    retain_days: int = EVENT_RETENTION_DAYS
    document: Mapping[str, Any] = field(default_factory=dict)  # As stored, for GET /v1/config.


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """What one API key stands for.

    `key_hash` is the SHA-256 of the whole key in hex; a key itself is never stored.
    """

    key_hash: str
    project_id: str
    permissions: frozenset[str]
    rate_limit_per_s: int
    burst: int
    is_active: bool
    expires_at_ms: int | None
    allowed_domains: tuple[str, ...]
    settings: ProjectSettings
