-- Archives that came in. The file stands once in the data directory, under its content's hash, however many uploads name
-- it; a file that no row names is swept.

CREATE TABLE upload (
    s3_key         TEXT PRIMARY KEY,        -- made here, with the credentials
    org_id         TEXT NOT NULL REFERENCES organization (id),
    user_id        TEXT REFERENCES user (id),   -- whose personal key asked for the credentials; null for a team key
    api_key_prefix TEXT NOT NULL,           -- the key that asked
    sha256         BLOB NOT NULL CHECK (length(sha256) = 32),
    bytes          INTEGER NOT NULL CHECK (bytes >= 0),
    uploaded_at    INTEGER NOT NULL,
    taken_at       INTEGER                  -- when a deployment first used it; until then it is kept for a day
) STRICT, WITHOUT ROWID;

CREATE INDEX upload_of_org ON upload (org_id, bytes);
CREATE INDEX upload_of_archive ON upload (sha256);
CREATE INDEX upload_untaken ON upload (uploaded_at) WHERE taken_at IS NULL;
