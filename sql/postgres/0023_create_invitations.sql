-- why: a person without an account becomes a member by a link that works once.
-- blocking: no

-- Only open ones: whoever accepts an invitation takes its row away.
CREATE TABLE invitations (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id   uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    email        varchar(255) NOT NULL CHECK (email = lower(email)),
    role         member_role NOT NULL,
    token_hash   varchar(64) NOT NULL UNIQUE CHECK (token_hash ~ '^[0-9a-f]{64}$'),
    invited_by   uuid REFERENCES accounts (id) ON DELETE SET NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    UNIQUE (project_id, email) -- A newer one replaces the one before.
);

CREATE INDEX invitations_invited_by_idx ON invitations (invited_by);
