-- why: what counts as a success of a project's visitors, so that reports can say how many had one.
-- blocking: no

CREATE TYPE goal_track_method AS ENUM ('data_attribute', 'javascript', 'page_url');

CREATE TABLE goals (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id      uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name            varchar(100) NOT NULL CHECK (name ~ '^[A-Za-z0-9_-]+$'),
    display_name    varchar(255),
    track_method    goal_track_method NOT NULL,
    -- Of a page: its path, with a * at the end for all that begin so. Of an attribute: a selector.
    match_pattern   varchar(500),
    monetary_value  double precision CHECK (monetary_value >= 0), -- Of a completion that names none.
    is_active       boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, name),
    CHECK (track_method <> 'page_url' OR match_pattern LIKE '/%')
);

CREATE TRIGGER goals_touch_updated_at BEFORE UPDATE ON goals
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
