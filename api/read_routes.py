"""The part of the route table that reads a project's data."""

from __future__ import annotations

from api.access import Access
from api.parameters import NoParameters, PeriodParameters
from api.reads import errors, insight_models, insights, session_models, sessions
from api.route import PROJECT, Route

SESSION = PROJECT + "/sessions/{session_id}"

READ_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        PROJECT + "/sessions",
        sessions.sessions,
        Access.VIEWER,
        "Sessions of a period, filtered and sorted.",
        session_models.SessionsParameters,
        answer=session_models.SessionList,
    ),
    Route(
        "GET",
        SESSION,
        sessions.session,
        Access.VIEWER,
        "One session: pages, counts, insights, device, place.",
        NoParameters,
        answer=session_models.SessionDetail,
    ),
    Route(
        "GET",
        SESSION + "/events",
        sessions.timeline,
        Access.VIEWER,
        "The events of a session in the order they happened.",
        session_models.TimelineParameters,
        answer=session_models.Timeline,
    ),
    Route(
        "GET",
        SESSION + "/journey",
        sessions.journey,
        Access.VIEWER,
        "The pages of a session as steps.",
        NoParameters,
        answer=session_models.Journey,
    ),
    Route(
        "GET",
        SESSION + "/experience",
        sessions.experience,
        Access.VIEWER,
        "Score, issues and emotion of a session.",
        NoParameters,
        answer=session_models.SessionExperience,
    ),
    Route(
        "GET",
        PROJECT + "/insights",
        insights.insights,
        Access.VIEWER,
        "What detectors found: counts, a page of insights, hot spots.",
        insight_models.InsightsParameters,
        answer=insight_models.Insights,
    ),
    Route(
        "GET",
        PROJECT + "/errors",
        errors.errors,
        Access.VIEWER,
        "Errors by fingerprint with their status, or one by one.",
        insight_models.ErrorsParameters,
        answer=insight_models.ErrorList,
    ),
    Route(
        "GET",
        PROJECT + "/errors/{error_id}",
        errors.error,
        Access.VIEWER,
        "One error: stack, days, browsers, pages, sessions.",
        PeriodParameters,
        answer=insight_models.ErrorDetail,
    ),
    Route(
        "PATCH",
        PROJECT + "/errors/{error_id}",
        errors.decide,
        Access.MEMBER,
        "Resolve, ignore or open an error.",
        NoParameters,
        insight_models.ErrorChange,
        insight_models.ErrorDecision,
    ),
)
