-- why: what a project wants to be told about.
-- blocking: no

CREATE TYPE alert_condition_type AS ENUM ('threshold', 'anomaly', 'absence');

CREATE TABLE alert_rules (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id      uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name            varchar(255) NOT NULL CHECK (name <> ''),
    description     text,
    condition_type  alert_condition_type NOT NULL DEFAULT 'threshold',
    -- metric, operator, threshold, window, group_by, filters ...
    condition       jsonb NOT NULL CHECK (jsonb_typeof(condition) = 'object'),
    -- [{"type": "telegram", "chat_id": ...}, {"type": "webhook", "url": ...}]
    channels        jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(channels) = 'array'),
    cooldown_mins   integer NOT NULL DEFAULT 15 CHECK (cooldown_mins BETWEEN 0 AND 1440),
    is_active       boolean NOT NULL DEFAULT true,
    created_by      uuid REFERENCES accounts (id) ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    last_triggered  timestamptz
);

CREATE INDEX alert_rules_project_id_idx ON alert_rules (project_id);
CREATE INDEX alert_rules_created_by_idx ON alert_rules (created_by);

CREATE TRIGGER alert_rules_touch_updated_at BEFORE UPDATE ON alert_rules
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
