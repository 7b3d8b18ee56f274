-- why: ways that visitors should go, so that reports can say where they leave them.
-- blocking: no

CREATE TABLE funnels (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id         uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name               varchar(255) NOT NULL CHECK (name <> ''),
    -- [{"type": "page", "pattern": "/pricing*"}, {"type": "goal", "name": "signup"}]
    steps              jsonb NOT NULL CHECK (
        jsonb_typeof(steps) = 'array' AND jsonb_array_length(steps) BETWEEN 2 AND 10
    ),
    time_window_hours  integer NOT NULL DEFAULT 24 CHECK (time_window_hours BETWEEN 1 AND 720),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX funnels_project_id_idx ON funnels (project_id);

CREATE TRIGGER funnels_touch_updated_at BEFORE UPDATE ON funnels
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
