"""The rules of each project, made from its settings and made again when those change.

In: documents of projects, what the installation sets for all of them, and detectors of a user's
own. Out: rules, at once. Projects without a document share the default rules. What is bad in a
document is told; the rest of it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from prometheus_client import Counter

from connectors.project_documents import Documents
from connectors.telemetry import get_logger
from flows.core.detection_rules import SessionRules, rules_of_document
from flows.core.detectors.detector import Detector
from schemas.detection_settings import merged_detection

RULES_MAX = 10_000
SECTION = "insights"  # Of a project's settings.
BESIDE = ("currency",)

UNREADABLE = Counter(
    "gosight_settings_unreadable_total", "Changed settings of projects that are bad in part."
)


class RulesWithOwn:
    """The rules of a project, with detectors of a user's own beside the built-in ones."""

    def __init__(self, rules: SessionRules, own: tuple[Detector[Any], ...]) -> None:
        self.settings = rules.settings
        self.hold_ms = rules.hold_ms
        self.currency = rules.currency
        self._rules = rules
        self._own = own

    def detectors(self, explain: bool = False) -> tuple[Detector[Any], ...]:
        """See `SessionRules.detectors`; own ones do not explain here."""
        return (*self._rules.detectors(explain), *self._own)


class ProjectRules:
    """Called with a project's id, gives its rules; the same object until they change."""

    def __init__(
        self,
        documents: Documents,
        own: tuple[Detector[Any], ...] = (),
        of_all: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """`of_all` is what each project's section is laid over."""
        self._documents = documents
        self._own = own
        self._of_all = of_all
        self._default = RulesWithOwn(rules_of_document({SECTION: of_all}), own)
        self._made: dict[str, tuple[int, RulesWithOwn]] = {}

    def __call__(self, project_id: str) -> RulesWithOwn:
        """The rules that are in force now."""
        document = self._documents.get(project_id)
        if document is None:
            return self._default
        made = self._made.get(project_id)
        if made is not None and made[0] == document.version:
            return made[1]
        section = merged_detection(self._of_all, document.content)
        rules = rules_of_document({**document.beside, SECTION: section})
        if rules.problems:
            UNREADABLE.inc()
            get_logger().warning(
                "settings_unreadable", project_id=project_id, detail="; ".join(rules.problems)[:500]
            )
        if made is None and len(self._made) >= RULES_MAX:
            self._made.pop(next(iter(self._made)))
        self._made[project_id] = (document.version, RulesWithOwn(rules, self._own))
        return self._made[project_id][1]
