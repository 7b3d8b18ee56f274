"""Who may call a route: the least role that it asks for, in order.

Source: api.md, section 3. A project's read key acts as a viewer, a key with the permission `admin`
as an admin; an account as what it is in the project.
"""

from __future__ import annotations

from enum import IntEnum


class Access(IntEnum):
    """What a caller must at least be. From `VIEWER` on it is a role in the project of the path."""

    PUBLIC = 0  # Nobody has to say who they are.
    ACCOUNT = 1  # Anybody who has logged in.
    VIEWER = 2
    MEMBER = 3
    ADMIN = 4
    OWNER = 5
