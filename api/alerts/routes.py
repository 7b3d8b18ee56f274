"""Alerts: this part of the route table."""

from __future__ import annotations

from typing import Any

from api.access import Access
from api.accounts.fields import Nothing
from api.alerts import handlers, models, trying
from api.parameters import NoParameters
from api.rate_limits import PER_CALLER_SAMPLES
from api.reads.trying_models import JobStarted
from api.route import PROJECT, Route

ALERTS = PROJECT + "/alerts"
ALERT = ALERTS + "/{alert_id}"
_CONDITION: dict[str, Any] = {
    "metric": "rage_clicks",
    "operator": ">",
    "threshold": 10,
    "window": "5m",
    "group_by": ["path"],
}

ALERT_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        ALERTS,
        handlers.rules,
        Access.MEMBER,
        "Alert rules, without their secrets",
        NoParameters,
        answer=models.Rules,
    ),
    Route(
        "POST",
        ALERTS,
        handlers.new_rule,
        Access.ADMIN,
        "Make an alert rule; new secrets are shown once",
        body=models.NewRuleBody,
        answer=models.SavedRule,
        status=201,
        example={
            "name": "Rage Click Spike",
            "condition": _CONDITION,
            "channels": [{"type": "telegram", "chat_id": "-1001234567890"}],
            "cooldown_mins": 30,
        },
    ),
    # Before the rule of that name could be: no id is a word.
    Route(
        "GET",
        ALERTS + "/history",
        handlers.history,
        Access.MEMBER,
        "What fired, what was kept back, and what became of each message",
        models.HistoryParameters,
        answer=models.History,
    ),
    Route(
        "POST",
        ALERTS + "/simulate",
        trying.simulate,
        Access.MEMBER,
        "Run a rule over stored history, in the background",
        body=models.TrialBody,
        answer=JobStarted,
        status=202,
        example={"condition": _CONDITION},
    ),
    Route(
        "GET",
        ALERT,
        handlers.rule,
        Access.MEMBER,
        "One alert rule",
        NoParameters,
        answer=models.Rule,
    ),
    *(
        Route(
            method,
            ALERT,
            handlers.change_rule,
            Access.ADMIN,
            "Change an alert rule; in force within ten seconds",
            body=models.RuleBody,
            answer=models.SavedRule,
            example={"cooldown_mins": 60, "is_active": True},
        )
        for method in ("PATCH", "PUT")
    ),
    Route(
        "DELETE",
        ALERT,
        handlers.delete_rule,
        Access.ADMIN,
        "Delete an alert rule; its history stays",
        answer=Nothing,
    ),
    Route(
        "POST",
        ALERT + "/test",
        trying.send_sample,
        Access.ADMIN,
        "Send a sample to each channel of a rule",
        answer=models.Sample,
        limit=PER_CALLER_SAMPLES,
    ),
    Route(
        "POST",
        ALERT + "/simulate",
        trying.simulate_rule,
        Access.MEMBER,
        "Run a saved rule over stored history, in the background",
        body=models.RuleTrialBody,
        answer=JobStarted,
        status=202,
        example={"condition": {**_CONDITION, "threshold": 5}},
    ),
    Route(
        "POST",
        ALERT + "/mute",
        handlers.mute,
        Access.ADMIN,
        "Send nothing of a rule for a while",
        body=models.MuteBody,
        answer=models.Mute,
        example={"minutes": 60},
    ),
    Route(
        "DELETE",
        ALERT + "/mute",
        handlers.end_mute,
        Access.ADMIN,
        "Let a rule be heard again",
        answer=models.Mute,
    ),
    Route(
        "POST",
        ALERT + "/rotate-secret",
        handlers.rotate_secret,
        Access.ADMIN,
        "New secrets for the webhooks of a rule; they are shown once",
        body=models.RotateBody,
        answer=models.Secrets,
        example={"finish": False},
    ),
)
