"""Goals and funnels: this part of the route table."""

from __future__ import annotations

from typing import Any

from api.access import Access
from api.accounts.fields import Nothing
from api.goals import handlers, models, reports
from api.parameters import NoParameters, PeriodParameters
from api.route import PROJECT, Route

GOALS = PROJECT + "/goals"
GOAL = GOALS + "/{goal_id}"
FUNNELS = PROJECT + "/funnels"
FUNNEL = FUNNELS + "/{funnel_id}"
_STEPS: list[dict[str, Any]] = [
    {"type": "page", "pattern": "/"},
    {"type": "page", "pattern": "/pricing*"},
    {"type": "goal", "name": "signup"},
]

GOAL_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        GOALS,
        handlers.goals,
        Access.VIEWER,
        "What counts as a success",
        NoParameters,
        answer=models.Goals,
    ),
    Route(
        "POST",
        GOALS,
        handlers.new_goal,
        Access.ADMIN,
        "Make a goal",
        body=models.NewGoalBody,
        answer=models.Goal,
        status=201,
        example={"name": "order", "track_method": "page_url", "match_pattern": "/thanks*"},
    ),
    *(
        Route(
            method,
            GOAL,
            handlers.change_goal,
            Access.ADMIN,
            "Change a goal",
            body=models.GoalBody,
            answer=models.Goal,
            example={"display_name": "Orders", "monetary_value": 25},
        )
        for method in ("PATCH", "PUT")
    ),
    Route("DELETE", GOAL, handlers.delete_goal, Access.ADMIN, "Delete a goal", answer=Nothing),
    Route(
        "GET",
        GOAL + "/conversions",
        reports.conversions,
        Access.VIEWER,
        "Completions of a goal by day and source",
        PeriodParameters,
        answer=models.Conversions,
    ),
    Route(
        "GET",
        FUNNELS,
        handlers.funnels,
        Access.VIEWER,
        "The ways that visitors should go",
        NoParameters,
        answer=models.Funnels,
    ),
    Route(
        "POST",
        FUNNELS,
        handlers.new_funnel,
        Access.ADMIN,
        "Make a funnel",
        body=models.NewFunnelBody,
        answer=models.Funnel,
        status=201,
        example={"name": "Signing up", "steps": _STEPS, "time_window_hours": 24},
    ),
    *(
        Route(
            method,
            FUNNEL,
            handlers.change_funnel,
            Access.ADMIN,
            "Change a funnel",
            body=models.FunnelBody,
            answer=models.Funnel,
            example={"time_window_hours": 48},
        )
        for method in ("PATCH", "PUT")
    ),
    Route(
        "DELETE", FUNNEL, handlers.delete_funnel, Access.ADMIN, "Delete a funnel", answer=Nothing
    ),
    Route(
        "GET",
        FUNNEL + "/report",
        reports.funnel_report,
        Access.VIEWER,
        "How many people reached each step of a funnel",
        models.FunnelParameters,
        answer=models.FunnelReport,
    ),
)
