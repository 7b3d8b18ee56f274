-- why: the people who log in. Visitors of the measured sites are never here.
-- blocking: no

CREATE TABLE accounts (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email           varchar(255) NOT NULL,
    password_hash   varchar(255) NOT NULL,
    name            varchar(255) NOT NULL DEFAULT '',
    avatar_url      varchar(500),
    timezone        varchar(64) NOT NULL DEFAULT 'UTC',
    is_active       boolean NOT NULL DEFAULT true,
    email_verified  boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    last_login_at   timestamptz
);

-- One person, one account: Ann@Example.com is ann@example.com. Look-ups use lower(email) too.
CREATE UNIQUE INDEX accounts_email_key ON accounts (lower(email));

CREATE TRIGGER accounts_touch_updated_at BEFORE UPDATE ON accounts
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
