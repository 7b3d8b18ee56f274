"""How much of everything a process allows, and how often it looks. Source: api.md, section 8."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RealtimeLimits:
    """Seconds and counts of one process."""

    auth_s: float = 5.0  # Until the first message.
    recheck_s: float = 60.0
    recheck_retry_s: float = 5.0  # While the store of accounts is away,
    recheck_grace_s: float = 300.0  # and for how long an old answer is believed, as of keys.
    ping_s: float = 30.0
    silence_s: float = 60.0
    stuck_s: float = 30.0  # For how long a client may take nothing.
    close_s: float = 3.0  # For a client to answer that we end.
    metrics_s: float = 5.0
    rate_s: float = 15.0  # How often events per minute are asked for.
    look_s: float = 1.0  # Between two looks at all connections.
    per_subject: int = 5  # By account or key, and project.
    connections_max: int = 2_000
    unknown_max: int = 200  # That have not said who they are.
    messages_per_s: float = 5.0  # From one client,
    messages_burst: int = 30  # and at once.
    rechecks_at_once: int = 8
