-- why: what people decided about an error; the error itself is in the events.
-- blocking: no

-- `id` is the fingerprint. A group without a row is open; one that is resolved is open again when
-- it happens after `updated_at`, which is found out when it is read.
CREATE TABLE error_groups (
    project_id  uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    id          varchar(16) NOT NULL CHECK (id ~ '^[0-9a-f]{16}$'),
    status      varchar(16) NOT NULL CHECK (status IN ('open', 'resolved', 'ignored')),
    updated_by  uuid REFERENCES accounts (id) ON DELETE SET NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, id)
);

CREATE INDEX error_groups_updated_by_idx ON error_groups (updated_by);
