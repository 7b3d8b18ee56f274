-- why: that a rule has fired or is muted is no edit: updated_at names the version that is evaluated.
-- blocking: no

DROP TRIGGER alert_rules_touch_updated_at ON alert_rules;

CREATE TRIGGER alert_rules_touch_updated_at
    BEFORE UPDATE OF name, description, condition_type, condition, channels, cooldown_mins,
        is_active, runbook_url ON alert_rules
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
