-- What workers begin is recorded before they begin it: what ends the process twice is not begun a third time. What came of
-- reading an archive is kept by its content, so it is read once however often it is pushed.

CREATE TABLE archive_reading (
    hash            BLOB PRIMARY KEY CHECK (length(hash) = 32),
    rules           INTEGER NOT NULL,   -- the version of the reader; what another version found is read again
    attempts        INTEGER NOT NULL CHECK (attempts >= 0),     -- begun and not ended
    failure         TEXT,               -- why it cannot be deployed
    truss_hash      TEXT,               -- of its content, as truss computes it
    truss_signature TEXT,
    updated_at      INTEGER NOT NULL,
    CHECK ((truss_hash IS NULL) = (truss_signature IS NULL)),
    CHECK (failure IS NULL OR truss_hash IS NULL)
) STRICT;

ALTER TABLE deployment_patch ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0);
