-- why: a refresh token works once; using an old one again revokes its whole family.
-- blocking: no

-- A family is one login: revoking it is setting auth_sessions.revoked_at.
CREATE TABLE refresh_tokens (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    family_id    uuid NOT NULL REFERENCES auth_sessions (id) ON DELETE CASCADE,
    token_hash   varchar(64) NOT NULL UNIQUE CHECK (token_hash ~ '^[0-9a-f]{64}$'),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz, -- Not null: replaced by the next one.
    replaced_by  uuid UNIQUE REFERENCES refresh_tokens (id) ON DELETE SET NULL
);

CREATE INDEX refresh_tokens_family_id_idx ON refresh_tokens (family_id);
