-- why: who did what to a project, and when; readable by its owners.
-- blocking: no

-- No references: a line outlives its account, whose id is then nobody's name, and its project.
CREATE TABLE audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  uuid NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    actor_id    uuid, -- Null: a key of the project.
    action      text NOT NULL,
    target      text NOT NULL DEFAULT '', -- What it was done to: an id, never a secret.
    details     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object')
);

CREATE INDEX audit_log_project_id_idx ON audit_log (project_id, id);
CREATE INDEX audit_log_at_idx ON audit_log (at);
