-- why: tokens with which programs act for an account, within their scopes; only hashes are stored.
-- blocking: no

CREATE TABLE api_tokens (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id    uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    token_hash    varchar(64) NOT NULL UNIQUE CHECK (token_hash ~ '^[0-9a-f]{64}$'),
    token_prefix  varchar(8) NOT NULL, -- Shown to people, to tell tokens apart.
    name          varchar(255) NOT NULL CHECK (name <> ''),
    scopes        text[] NOT NULL CHECK (scopes <@ ARRAY['read', 'write'] AND scopes <> '{}'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz, -- Never, when null.
    last_used_at  timestamptz
);

CREATE INDEX api_tokens_account_id_idx ON api_tokens (account_id);
