"""Requests and answers about what a project's people keep: filters, notes, the public page.

Source: api.md, sections 6 and 7.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, RootModel, StringConstraints

from api.accounts.fields import UNNAMED, Answer, Line, Moment, Slug
from api.bodies import Body
from api.parameters import NoParameters

FilterType = Literal["sessions", "events", "errors"]
_Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Text = Annotated[str, Field(max_length=1_024)]
_Value = _Text | bool | int | float | Annotated[list[_Text], Field(max_length=100)] | None
Filter = Annotated[
    dict[_Key, _Value],
    Field(max_length=50, json_schema_extra={"additionalProperties": False}),
]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)]


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Content = Annotated[
    str,
    Field(max_length=2_000, json_schema_extra={"pattern": r"\S"}),
    AfterValidator(_written),
]
Tags = Annotated[list[Tag], Field(max_length=10)]


class NewFilterBody(Body):
    """POST :pid/filters; `filter` holds the query keys of that list."""

    name: Line
    filter_type: FilterType
    filter: Filter
    is_shared: bool = False


class FilterBody(Body):
    """PATCH :pid/filters/:id; what is not named stays."""

    name: Line = UNNAMED
    filter: Filter = UNNAMED
    is_shared: bool = UNNAMED


class SavedFilter(Answer):
    """A list that somebody wants to see again."""

    id: UUID
    name: str
    filter_type: FilterType
    filter: dict[str, _Value]
    is_shared: bool
    is_own: bool
    created_at: Moment
    updated_at: Moment


class SavedFilters(RootModel[list[SavedFilter]]):
    """The caller's own and those shared by others, by name."""


class NoteParameters(NoParameters):
    """GET :pid/notes: days, both included."""

    start_date: date | None = None
    end_date: date | None = None


class NewNoteBody(Body):
    """POST :pid/notes."""

    content: Content
    note_date: date
    tags: Tags = Field(default_factory=list)


class NoteBody(Body):
    """PATCH :pid/notes/:id; what is not named stays."""

    content: Content = UNNAMED
    note_date: date = UNNAMED
    tags: Tags = UNNAMED


class Note(Answer):
    """What somebody knows about a day; `author` is null when their account is gone."""

    id: UUID
    content: str
    note_date: date
    tags: list[str]
    author: str | None
    created_at: Moment
    updated_at: Moment


class Notes(RootModel[list[Note]]):
    """The newest day first."""


class PublicDashboardBody(Body):
    """PUT :pid/public-dashboard; without a slug it stays, or the project's own is taken."""

    enabled: bool
    slug: Slug | None = None


class PublicDashboard(Answer):
    """Whether totals are public, and under which name."""

    enabled: bool
    slug: str | None


class PublicParameters(NoParameters):
    """GET /public/:slug/overview."""

    days: Literal["1", "7", "30", "90"] = "7"


class PublicTotals(Answer):
    """Totals of the period and their change in percent against the one before."""

    page_views: int
    page_views_change: float | None
    visitors: int
    visitors_change: float | None


class PublicPeriod(Answer):
    """Whole days in UTC; the end is exclusive."""

    start: str
    end: str


class PublicOverview(Answer):
    """What everybody may know of a project, and nothing else."""

    name: str
    period: PublicPeriod
    summary: PublicTotals
