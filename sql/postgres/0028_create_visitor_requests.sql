-- why: exports and erasures that a person asked for: what is to be done, how far it is, the receipt.
-- blocking: no

-- No reference to projects: a receipt outlives its project.
CREATE TABLE visitor_requests (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sequence      bigint GENERATED ALWAYS AS IDENTITY,
    project_id    uuid NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('export', 'erasure')),
    subject       text, -- The visitor's id; gone when the work is done.
    subject_hash  varchar(64) NOT NULL CHECK (subject_hash ~ '^[0-9a-f]{64}$'),
    requested_by  uuid, -- The account's id, also when the account is gone.
    requested_at  timestamptz NOT NULL DEFAULT now(),
    -- Taken by one worker at a time: SELECT ... FOR UPDATE SKIP LOCKED, then a lease under its name.
    leased_by     uuid,
    leased_until  timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    step          text NOT NULL DEFAULT '', -- The last one that is done.
    -- The ids that were found, and counts; gone when the work is done.
    work          jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(work) = 'object'),
    finished_at   timestamptz,
    receipt       jsonb CHECK (jsonb_typeof(receipt) = 'object') -- Counts; no personal data.
);

CREATE INDEX visitor_requests_open_idx ON visitor_requests (requested_at)
    WHERE finished_at IS NULL;
CREATE INDEX visitor_requests_project_id_idx ON visitor_requests (project_id, subject_hash);

-- The file of an export, in order; gone a day after it was made.
CREATE TABLE visitor_export_parts (
    request_id  uuid NOT NULL REFERENCES visitor_requests (id) ON DELETE CASCADE,
    part        integer NOT NULL,
    content     bytea NOT NULL,
    PRIMARY KEY (request_id, part)
);
