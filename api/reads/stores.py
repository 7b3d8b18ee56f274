"""What reads need beside the queries: stores behind small interfaces.

The real ones are built in `api.__main__`; tests pass in-memory twins.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.reads.answer_cache import AnswerCache
from api.reads.commands import Commands
from api.reads.jobs import Jobs
from api.reads.sql_runner import SqlRunner
from connectors.error_groups import ErrorGroups
from connectors.live_figures import LiveFigures
from connectors.project_settings import ProjectSettingsReader


@dataclass(frozen=True, slots=True)
class ReadStores:
    """One instance a process. Without `answers` each answer is made anew."""

    error_groups: ErrorGroups
    live: LiveFigures
    settings: ProjectSettingsReader
    commands: Commands
    jobs: Jobs
    sql: SqlRunner
    answers: AnswerCache | None = None
