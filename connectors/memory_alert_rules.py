"""In-memory twin of `connectors.alert_rules`."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.alert_rules import AlertRule


class MemoryAlertRules:
    """Twin of `PostgresAlertRules`: the test says what is in force."""

    def __init__(self, *rules: AlertRule) -> None:
        self._active: Mapping[str, AlertRule] = {rule.id: rule for rule in rules}

    def put(self, *rules: AlertRule) -> None:
        """These are the rules from now on."""
        self._active = {rule.id: rule for rule in rules if rule.is_active}

    def active(self) -> Mapping[str, AlertRule]:
        """See `AlertRules.active`."""
        return self._active
