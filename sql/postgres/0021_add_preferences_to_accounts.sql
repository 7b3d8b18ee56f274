-- why: in which currency an account reads money; its time zone is there already.
-- blocking: no

ALTER TABLE accounts ADD COLUMN currency varchar(3) NOT NULL DEFAULT ''
    CHECK (currency ~ '^([A-Z]{3})?$'); -- Empty: the project's.
