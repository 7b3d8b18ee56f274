-- why: the keys with which pages send events and programs read reports; only hashes are stored.
-- blocking: no

CREATE TABLE api_keys (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id    uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- SHA-256 of the whole key: a random key needs no slow hash, and must be found by its hash.
    key_hash      varchar(64) NOT NULL UNIQUE CHECK (key_hash ~ '^[0-9a-f]{64}$'),
    key_prefix    varchar(24) NOT NULL, -- Shown to people, to tell keys apart.
    name          varchar(255) NOT NULL DEFAULT 'Default',
    permissions   text[] NOT NULL DEFAULT '{write}'
        CHECK (permissions <@ ARRAY['write', 'read', 'admin']),
    rate_limit    integer NOT NULL DEFAULT 1000 CHECK (rate_limit > 0), -- Per second.
    burst         integer NOT NULL DEFAULT 5000 CHECK (burst > 0),
    is_active     boolean NOT NULL DEFAULT true,
    revoked_at    timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz, -- Never, when null.
    last_used_at  timestamptz
);

CREATE INDEX api_keys_project_id_idx ON api_keys (project_id);
