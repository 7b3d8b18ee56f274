-- why: a deleted project's data in the other stores is erased by a worker; this is what it has to do.
-- blocking: no

-- No reference to projects: the row of the project is gone when this one is written.
CREATE TABLE project_erasures (
    project_id    uuid PRIMARY KEY,
    name          varchar(255) NOT NULL,
    requested_by  uuid, -- The account's id, also when the account is gone.
    requested_at  timestamptz NOT NULL DEFAULT now(),
    -- Taken by one worker at a time: SELECT ... FOR UPDATE SKIP LOCKED, then a lease.
    leased_until  timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    finished_at   timestamptz,
    receipt       jsonb CHECK (jsonb_typeof(receipt) = 'object') -- Counts by store.
);

CREATE INDEX project_erasures_open_idx ON project_erasures (requested_at)
    WHERE finished_at IS NULL;
