-- why: one project is one website or application; its settings decide what is collected and kept.
-- blocking: no

CREATE TABLE projects (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id        uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name             varchar(255) NOT NULL,
    slug             varchar(100) NOT NULL UNIQUE,
    allowed_domains  text[] NOT NULL DEFAULT '{}',
    -- Only what differs from the defaults, which live in code: a partial document loses none of them.
    -- Retention is in here too.
    settings         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX projects_tenant_id_idx ON projects (tenant_id);

CREATE TRIGGER projects_touch_updated_at BEFORE UPDATE ON projects
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
