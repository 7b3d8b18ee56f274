"""The part of the route table that reads a project's data."""

from __future__ import annotations

from api.access import Access
from api.parameters import NoParameters
from api.reads import session_models, sessions
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
)
