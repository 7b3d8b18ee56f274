"""Requests and answers about alerts. What a rule may say is decided by `schemas.alert_rules`.

The models know the fields and their types; whatever else is wrong with a rule is told by the same
function that reads rules everywhere. Source: alerting.md, sections 1 and 8.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, RootModel, SecretStr, StringConstraints

from api.accounts.fields import UNNAMED, Answer, Line, Moment
from api.bodies import Body
from api.parameters import PER_PAGE_DEFAULT, PER_PAGE_MAX, PeriodParameters
from schemas.alert_rules import (
    ALIASES,
    CHANNELS_MAX,
    CONDITION_TYPES,
    COOLDOWN_MINS,
    COOLDOWN_MINS_MAX,
    DIMENSIONS,
    DIRECTIONS,
    FILTER_CHARS_MAX,
    GROUP_KEYS_MAX,
    METRICS,
    MIN_SESSIONS_MAX,
    OPERATORS,
    RUNBOOK_CHARS_MAX,
    THREAD_ID_MAX,
)

MUTE_MINUTES_MAX = 43_200
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Metric = Annotated[str, Field(json_schema_extra={"enum": [*METRICS, *ALIASES]})]
_ConditionType = Annotated[str, Field(json_schema_extra={"enum": list(CONDITION_TYPES)})]
_Operator = Annotated[str, Field(json_schema_extra={"enum": list(OPERATORS)})]
_Direction = Annotated[str, Field(json_schema_extra={"enum": list(DIRECTIONS)})]
_Dimension = Annotated[str, Field(json_schema_extra={"enum": list(DIMENSIONS)})]
_Filter = Annotated[str, Field(min_length=1, max_length=FILTER_CHARS_MAX)]
_Window = Annotated[str, Field(json_schema_extra={"pattern": r"^[1-9][0-9]{0,3}[mh]$"})]
_Day = Annotated[str, Field(min_length=1, max_length=64)]


class ConditionBody(Body):
    """What is asked, and when the answer is too much, too little or unusual."""

    metric: _Metric
    window: _Window
    operator: _Operator = UNNAMED
    threshold: _Number = UNNAMED
    group_by: Annotated[list[_Dimension], Field(max_length=GROUP_KEYS_MAX)] = UNNAMED
    filters: dict[_Dimension, _Filter] = UNNAMED
    sensitivity: _Number = UNNAMED
    direction: _Direction = UNNAMED
    min_value: _Number = UNNAMED
    min_sessions: Annotated[int, Field(ge=0, le=MIN_SESSIONS_MAX)] = UNNAMED
    notify_resolved: bool = UNNAMED


class TelegramBody(Body):
    """A chat: a number, negative for groups, or `@name`; a thread of it, if it has topics."""

    type: Literal["telegram"]
    chat_id: Annotated[str, Field(min_length=1, max_length=65)] | int
    thread_id: Annotated[int, Field(ge=1, le=THREAD_ID_MAX)] | None = None


class WebhookBody(Body):
    """A receiver. Without a secret it keeps the one it has, or gets one, which is shown once."""

    type: Literal["webhook"]
    url: Annotated[str, Field(min_length=1, max_length=2_048)]
    secret: Annotated[SecretStr, Field(min_length=1, max_length=512)] = UNNAMED


ChannelBody = Annotated[TelegramBody | WebhookBody, Field(discriminator="type")]
Channels = Annotated[list[ChannelBody], Field(max_length=CHANNELS_MAX)]
_Description = Annotated[str, Field(max_length=10_000)] | None
_Runbook = (
    Annotated[
        str,
        Field(max_length=RUNBOOK_CHARS_MAX, json_schema_extra={"pattern": "^https?://"}),
    ]
    | None
)
_Cooldown = Annotated[int, Field(ge=0, le=COOLDOWN_MINS_MAX)]


class NewRuleBody(Body):
    """POST :pid/alerts."""

    name: Line
    description: _Description = None
    condition_type: _ConditionType = "threshold"
    condition: ConditionBody
    channels: Channels = Field(default_factory=list)
    cooldown_mins: _Cooldown = COOLDOWN_MINS
    is_active: bool = True
    runbook_url: _Runbook = None


class RuleBody(Body):
    """PATCH :pid/alerts/:id; what is not named stays. A condition is replaced as a whole."""

    name: Line = UNNAMED
    description: _Description = UNNAMED
    condition_type: _ConditionType = UNNAMED
    condition: ConditionBody = UNNAMED
    channels: Channels = UNNAMED
    cooldown_mins: _Cooldown = UNNAMED
    is_active: bool = UNNAMED
    runbook_url: _Runbook = UNNAMED


class MuteBody(Body):
    """POST :pid/alerts/:id/mute."""

    minutes: Annotated[int, Field(ge=1, le=MUTE_MINUTES_MAX)]


class RotateBody(Body):
    """POST :pid/alerts/:id/rotate-secret; `finish` forgets the old secrets now."""

    finish: bool = False


class RuleTrialBody(Body):
    """POST :pid/alerts/:id/simulate; a type or condition named here is tried instead of its own."""

    start_date: _Day | None = None
    end_date: _Day | None = None
    timezone: _Day | None = None
    condition_type: _ConditionType = UNNAMED
    condition: ConditionBody = UNNAMED


class TrialBody(RuleTrialBody):
    """POST :pid/alerts/simulate."""

    condition: ConditionBody


class HistoryParameters(PeriodParameters):
    """GET :pid/alerts/history; `open` are alerts that are not over, or those that are."""

    rule_id: UUID | None = None
    open: bool | None = None
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=1_024)] | None = None
    per_page: int = Field(PER_PAGE_DEFAULT, ge=1, le=PER_PAGE_MAX)


class Channel(Answer):
    """Who is told. `url` is null for callers who may not write rules: its path may be a secret.

    `disabled_at` is when it was switched off because it kept failing; saving the rule ends that.
    """

    type: Literal["telegram", "webhook"]
    target: str
    chat_id: str | None
    thread_id: int | None
    url: str | None
    old_secret_until: Moment | None
    disabled_at: Moment | None
    last_error: str | None


class Rule(Answer):
    """A rule without its secrets."""

    id: UUID
    name: str
    description: str | None
    condition_type: str
    condition: dict[str, Any]
    channels: list[Channel]
    cooldown_mins: int
    is_active: bool
    runbook_url: str | None
    muted_until: Moment | None
    last_triggered: Moment | None
    created_at: Moment
    updated_at: Moment


class Rules(RootModel[list[Rule]]):
    """All rules of a project, oldest first."""


class Secret(Answer):
    """A new secret of a webhook: it is not shown again."""

    url: str
    secret: str


class SavedRule(Rule):
    """A rule as it was saved, and the secrets that were made for it."""

    secrets: list[Secret]


class Secrets(Answer):
    """New secrets; the old ones sign, too, until then."""

    secrets: list[Secret]
    old_secret_until: Moment | None


class Mute(Answer):
    """Until when nothing of the rule is sent; null: it is not muted."""

    muted_until: Moment | None


class Tried(Answer):
    """What a channel said to the sample; `status` is of HTTP, null without an answer."""

    type: str
    target: str
    ok: bool
    status: int | None
    error: str


class Sample(Answer):
    """`ok` is false if one channel did not take it."""

    ok: bool
    channels: list[Tried]


class Delivery(Answer):
    """One message of a history row to one channel."""

    channel: str
    kind: str
    status: Literal["pending", "sent", "failed", "suppressed", "cancelled"]
    attempts: int
    sent_at: Moment | None
    next_attempt_at: Moment | None
    error: str | None


class HistoryEntry(Answer):
    """One firing, or one that was kept back; `rule_id` is null when the rule is gone.

    `context` is what was known at the time: window, filters, condition, sessions, insights.
    """

    id: UUID
    alert_id: UUID | None
    rule_id: UUID | None
    rule_name: str | None
    kind: Literal["fired", "still_firing", "suppressed", "held"]
    suppressed_by: str
    severity: str
    is_late: bool
    triggered_at: Moment
    resolved_at: Moment | None
    metric_value: float | None
    threshold: float | None
    group: dict[str, str]
    context: dict[str, Any]
    notification_sent: bool
    notification_error: str | None
    deliveries: list[Delivery]


class History(RootModel[list[HistoryEntry]]):
    """A page of the history, newest first."""
