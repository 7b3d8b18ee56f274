-- why: every firing of a rule, which stays readable after the rule is gone.
-- blocking: no

CREATE TABLE alert_history (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(), -- The alert's own id.
    rule_id             uuid REFERENCES alert_rules (id) ON DELETE SET NULL,
    project_id          uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    triggered_at        timestamptz NOT NULL DEFAULT now(),
    resolved_at         timestamptz,
    metric_value        double precision, -- Null when the condition is the absence of data.
    threshold           double precision,
    -- Rule name, group, window, sample sessions and insights, as they were at the time.
    context             jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(context) = 'object'),
    notification_sent   boolean NOT NULL DEFAULT false,
    notification_error  text
);

CREATE INDEX alert_history_rule_id_idx ON alert_history (rule_id);
CREATE INDEX alert_history_project_id_triggered_at_idx ON alert_history (project_id, triggered_at);
