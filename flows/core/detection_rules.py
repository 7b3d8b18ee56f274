"""From what a project has set to the detectors that run over its sessions, and its currency.

In: the project's settings document. Out: `SessionRules`. A bad document never stops a flow: what is
good in it counts, what is bad is named in `problems` and its default counts. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.core.detectors.click_chains import DatadogRage, PostHogRage
from flows.core.detectors.dead_click import DeadClick
from flows.core.detectors.dead_rules import datadog_rule, gosight_rule, posthog_rule
from flows.core.detectors.detector import Detector
from flows.core.detectors.error_click import ErrorClick
from flows.core.detectors.excluding import Excluding
from flows.core.detectors.exclusions import exclusions_for
from flows.core.detectors.rage_click import RageClick
from flows.core.detectors.slow_page import SlowPage
from flows.core.detectors.thrashed_cursor import ThrashedCursor
from flows.core.detectors.u_turn import UTurn
from schemas.detection_settings import DetectionSettings, parse_detection
from schemas.settings_checks import Problems, check_currency, check_section

DEAD_RULES = {"gosight": gosight_rule, "posthog": posthog_rule, "datadog": datadog_rule}


class SessionRules:
    """What decides over the sessions of one project. Detectors hold no state: they are shared."""

    def __init__(
        self, settings: DetectionSettings, problems: tuple[str, ...] = (), currency: str = ""
    ) -> None:
        self.settings = settings
        self.problems = problems
        self.currency = currency  # In capitals; empty if the project has set none.
        self._detectors: dict[bool, tuple[Detector[Any], ...]] = {}

    @property
    def hold_ms(self) -> int:
        """How long an event waits for earlier ones before detectors see it."""
        return self.settings.hold_ms

    def detectors(self, explain: bool = False) -> tuple[Detector[Any], ...]:
        """Those that are switched on; with `explain` they also tell why they did not fire."""
        if explain not in self._detectors:
            self._detectors[explain] = tuple(
                self._excluding(detector, explain)
                for detector in self._build(explain)
                if self.settings.params[detector.insight_type].is_ever_enabled
            )
        return self._detectors[explain]

    def _excluding(self, detector: Detector[Any], explain: bool) -> Detector[Any]:
        settings = self.settings
        exclusions = exclusions_for(
            detector.insight_type, settings.exclusions, settings.stepper_labels
        )
        return Excluding(detector, exclusions, explain=explain) if exclusions else detector

    def _build(self, explain: bool) -> tuple[Detector[Any], ...]:
        settings, params = self.settings, self.settings.params
        ignored, cap_ms = settings.ignore_selectors, settings.max_episode_ms
        rages: dict[str, Detector[Any]] = {
            "gosight": RageClick(
                params["rage_click"], ignored=ignored, max_episode_ms=cap_ms, explain=explain
            ),
            "posthog": PostHogRage(params["rage_click"], ignored=ignored, explain=explain),
            "datadog": DatadogRage(params["rage_click"], ignored=ignored, explain=explain),
        }
        return (
            rages[settings.preset],
            DeadClick(
                params["dead_click"],
                rule=DEAD_RULES[settings.preset],
                ignored=ignored,
                explain=explain,
            ),
            ErrorClick(params["error_click"], ignored=ignored, explain=explain),
            ThrashedCursor(params["thrashed_cursor"], max_episode_ms=cap_ms, explain=explain),
            UTurn(params["u_turn"], explain=explain),
            SlowPage(params["slow_page"], explain=explain),
        )


def rules_of_document(document: Mapping[str, Any]) -> SessionRules:
    """The rules of a project whose settings document this is."""
    problems: Problems = []
    section = check_section(document, "insights", problems)
    settings = parse_detection(section, problems)
    currency = check_currency(document, problems)
    return SessionRules(settings, tuple(problems), currency)
