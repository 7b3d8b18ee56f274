"""Names as they can stand in a URL. Pure."""

from __future__ import annotations

import re
from collections.abc import Container

SLUG_CHARS_MAX = 80


def slug_of(name: str) -> str:
    """A name as it can stand in a URL: lower-case letters, digits and single hyphens."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug[:SLUG_CHARS_MAX].strip("-") or "project"


def free_slug(wanted: str, taken: Container[str]) -> str:
    """The wanted slug, with a number after it if it is taken."""
    slug, number = wanted, 2
    while slug in taken:
        slug, number = f"{wanted}-{number}", number + 1
    return slug
