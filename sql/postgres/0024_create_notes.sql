-- why: what people know about a day: a release, a campaign, an outage.
-- blocking: no

CREATE TABLE notes (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id  uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    account_id  uuid REFERENCES accounts (id) ON DELETE SET NULL, -- The note outlives its author.
    content     varchar(2000) NOT NULL CHECK (content <> ''),
    note_date   date NOT NULL,
    tags        text[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX notes_project_id_note_date_idx ON notes (project_id, note_date);
CREATE INDEX notes_account_id_idx ON notes (account_id);

CREATE TRIGGER notes_touch_updated_at BEFORE UPDATE ON notes
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
