"""Answers about exports and erasures."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import RootModel

from api.accounts.fields import Answer, Moment


class VisitorJob(Answer):
    """Where to ask how far it is: GET jobs."""

    job_id: UUID
    state: Literal["queued"]


class ProjectErasure(Answer):
    """A project that is gone; `receipt` says what was erased, null until it is done."""

    id: UUID
    name: str
    requested_at: Moment
    finished_at: Moment | None
    receipt: dict[str, Any] | None


class ProjectErasures(RootModel[list[ProjectErasure]]):
    """The newest first."""
