"""The query parameters of each call, as models that know every allowed name.

An unknown name, a repeated one or a bad value is refused with all faults at once. `from`, `to` and
`limit` are accepted for `start_date`, `end_date` and `per_page`. Source: api.md, section 1.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from multidict import MultiMapping
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from api.errors import ApiError, ErrorCode

PER_PAGE_DEFAULT = 50
PER_PAGE_MAX = 100
TOP_DEFAULT = 10

_Text = Annotated[str, Field(min_length=1, max_length=1024)]


class NoParameters(BaseModel):
    """A call without query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PeriodParameters(NoParameters):
    """A call about a span of time; without a zone, in that of the account or of the project."""

    start_date: _Text | None = Field(
        None, validation_alias=AliasChoices("start_date", "from", "start")
    )
    end_date: _Text | None = Field(None, validation_alias=AliasChoices("end_date", "to", "end"))
    timezone: _Text | None = None


class OverviewParameters(PeriodParameters):
    """GET overview: how many entries each top list has."""

    top: int = Field(TOP_DEFAULT, ge=1, le=PER_PAGE_MAX)


class EventsParameters(PeriodParameters):
    """GET events: filters, and where the page starts."""

    event_type: _Text | None = None
    session_id: _Text | None = None
    user_id: _Text | None = None
    path: _Text | None = None
    cursor: _Text | None = None
    per_page: int = Field(
        PER_PAGE_DEFAULT,
        ge=1,
        le=PER_PAGE_MAX,
        validation_alias=AliasChoices("per_page", "limit"),
    )


ParametersT = TypeVar("ParametersT", bound=NoParameters)


def parse_parameters(model: type[ParametersT], query: MultiMapping[str]) -> ParametersT:
    """Read a request's query into its model.

    Raises:
        ApiError: VALIDATION_ERROR with one entry per parameter at fault.
    """
    faults = {name: "is given more than once" for name in query if len(query.getall(name)) > 1}
    parameters: ParametersT | None = None
    try:
        parameters = model.model_validate({name: query[name] for name in query})
    except ValidationError as error:
        for fault in error.errors():
            name = str(fault["loc"][0]) if fault["loc"] else "query"
            unknown = fault["type"] == "extra_forbidden"
            faults.setdefault(name, "is not a parameter of this call" if unknown else fault["msg"])
    if faults or parameters is None:
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the query is invalid", faults)
    return parameters
