"""What every read begins with: the query of a request as its model, the period, the project.

In: a request whose caller is already checked. Out: an `Asked`, through which alone a handler comes
to the project's data. Answers are described by models of this package; they are made as plain
documents, and a test holds each against its model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from api.answers import time_text
from api.auth import CALLER, Caller
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters, PeriodParameters, parse_parameters
from api.period import Period, parse_period
from api.project_queries import ProjectQueries
from api.reads.stores import ReadStores
from api.services import SERVICES, Services
from connectors.errors import RetryableError
from schemas.identifiers import session_uuid

SESSION_CHARS_MAX = 1_024

ParametersT = TypeVar("ParametersT", bound=NoParameters)
PeriodParametersT = TypeVar("PeriodParametersT", bound=PeriodParameters)


class Answer(BaseModel):
    """A part of an answer, by the names of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Asked(Generic[ParametersT]):
    """A request that was read; `queries` see the caller's project and no other."""

    parameters: ParametersT
    queries: ProjectQueries
    caller: Caller
    services: Services

    @property
    def stores(self) -> ReadStores:
        """What reads need beside the queries.

        Raises:
            RetryableError: this process was made without.
        """
        stores = self.services.reads
        if stores is None:
            raise RetryableError("the stores of reads are not connected")
        return stores

    def period_of(
        self, start_date: str | None, end_date: str | None, timezone: str | None
    ) -> Period:
        """A span of time as it was asked for; without a zone, in the caller's.

        Raises:
            ApiError: VALIDATION_ERROR naming each parameter at fault.
        """
        zone = timezone or self.caller.timezone
        return parse_period(start_date, end_date, zone, self.services.now_ms())


@dataclass(frozen=True, slots=True)
class AskedPeriod(Asked[PeriodParametersT]):
    """The same about a span of time."""

    period: Period


def ask(request: web.Request, model: type[ParametersT]) -> Asked[ParametersT]:
    """Read a request.

    Raises:
        ApiError: VALIDATION_ERROR naming each parameter at fault.
    """
    services, caller = request.app[SERVICES], request[CALLER]
    parameters = parse_parameters(model, request.query)
    return Asked(parameters, ProjectQueries(services.queries, caller.project_id), caller, services)


def ask_period(
    request: web.Request, model: type[PeriodParametersT]
) -> AskedPeriod[PeriodParametersT]:
    """Read a request about a span of time.

    Raises:
        ApiError: VALIDATION_ERROR naming each parameter at fault.
    """
    asked = ask(request, model)
    given = asked.parameters
    period = asked.period_of(given.start_date, given.end_date, given.timezone)
    return AskedPeriod(given, asked.queries, asked.caller, asked.services, period)


def id_of_path(request: web.Request, name: str, what: str) -> str:
    """A UUID of the path in its canonical form.

    Raises:
        ApiError: NOT_FOUND; what is no id names nothing.
    """
    try:
        return str(UUID(request.match_info[name]))
    except ValueError:
        raise not_found(what) from None


def session_of_path(request: web.Request) -> tuple[str, str]:
    """A session's id as it was asked for, and as it is stored: whoever sent it chose the first.

    Raises:
        ApiError: NOT_FOUND; no session has an id that long.
    """
    text = request.match_info["session_id"]
    if len(text) > SESSION_CHARS_MAX:
        raise not_found("session")
    return text, session_uuid(request[CALLER].project_id, text)


def session_filter(text: str | None, project_id: str) -> str:
    """A session to filter by, as it is stored; empty if none was given."""
    return session_uuid(project_id, text) if text else ""


def not_found(what: str) -> ApiError:
    """There is nothing of that id in the project."""
    return ApiError(ErrorCode.NOT_FOUND, f"there is no such {what}")


def optional(value: Any) -> str:
    """A filter as queries take it: empty if it was not given, booleans as words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def time_or_none(at_ms: int | None) -> str | None:
    """RFC 3339, or null for what never was."""
    return None if at_ms is None else time_text(at_ms)
