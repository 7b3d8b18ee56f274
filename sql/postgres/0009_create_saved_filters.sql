-- why: lists that an account wants to see again, for itself or for the whole project.
-- blocking: no

CREATE TABLE saved_filters (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id   uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    account_id   uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         varchar(255) NOT NULL CHECK (name <> ''),
    filter_type  varchar(50) NOT NULL CHECK (filter_type IN ('sessions', 'events', 'errors')),
    filter       jsonb NOT NULL CHECK (jsonb_typeof(filter) = 'object'),
    is_shared    boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, account_id, filter_type, name)
);

CREATE INDEX saved_filters_account_id_idx ON saved_filters (account_id);

CREATE TRIGGER saved_filters_touch_updated_at BEFORE UPDATE ON saved_filters
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
