-- why: a project's totals under a public address, for those who want to show them.
-- blocking: no

CREATE TABLE public_dashboards (
    project_id  uuid PRIMARY KEY REFERENCES projects (id) ON DELETE CASCADE,
    slug        varchar(100) NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    is_enabled  boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER public_dashboards_touch_updated_at BEFORE UPDATE ON public_dashboards
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
