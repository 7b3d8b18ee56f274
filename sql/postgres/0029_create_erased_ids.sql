-- why: late events of erased visitors must not come back; what writes rows reads this list.
-- blocking: no

-- Hashes are keyed by it, so that a list of known ids cannot be held against them elsewhere.
CREATE TABLE erasure_salts (
    project_id  uuid PRIMARY KEY,
    salt        bytea NOT NULL CHECK (length(salt) = 32)
);

CREATE TABLE erased_ids (
    project_id     uuid NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('visitor', 'session')),
    id_hash        varchar(64) NOT NULL CHECK (id_hash ~ '^[0-9a-f]{64}$'),
    erased_before  timestamptz NOT NULL, -- Events of a visitor up to this moment are left out.
    PRIMARY KEY (project_id, kind, id_hash)
);

CREATE INDEX erased_ids_erased_before_idx ON erased_ids (erased_before);

-- One row; grows with every change of what is to be left out, in the same transaction.
CREATE TABLE erasure_version (
    is_only  boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version  bigint NOT NULL
);

INSERT INTO erasure_version (version) VALUES (1);
