-- Sessions: who is signed in to the console, and in which organization.
--
-- A session that has ended has no row. The membership ends it too: its row goes with the member's.

CREATE TABLE session (
    id             TEXT PRIMARY KEY,
    token_hash     BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    org_id         TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    roles_hash     BLOB NOT NULL CHECK (length(roles_hash) = 32),  -- of the roles that the token was made with
    previous_hash  BLOB UNIQUE CHECK (length(previous_hash) = 32), -- of the token before it, for requests under way
    previous_until INTEGER,
    signed_in_at   INTEGER NOT NULL,        -- when the password was given: the longest time counts from here
    created_at     INTEGER NOT NULL,
    last_seen_at   INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    user_agent     TEXT NOT NULL,           -- as sent, at most 200 characters
    address        TEXT,                    -- of the peer that signed in
    CHECK ((previous_hash IS NULL) = (previous_until IS NULL)),
    FOREIGN KEY (org_id, user_id) REFERENCES org_member (org_id, user_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX session_of_member ON session (org_id, user_id, created_at, id);
CREATE INDEX session_of_user ON session (user_id, last_seen_at, id);
CREATE INDEX session_expiring ON session (expires_at);

-- Links by which a person sets a password: an admin may make one in a session, and a person may ask for one by mail.

CREATE TABLE new_password_reset (
    token_hash   BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id      TEXT NOT NULL REFERENCES user (id),
    org_id       TEXT REFERENCES organization (id),     -- whose admin made it; null for the operator and for the person
    made_by      TEXT REFERENCES user (id),             -- that admin
    made_with    TEXT REFERENCES api_key (prefix),      -- the key that was sent; null for a session
    is_own       INTEGER NOT NULL DEFAULT 0 CHECK (is_own IN (0, 1)), -- the person asked for it by mail
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER,
    ended_at     INTEGER,                   -- when it was found expired, replaced, or taken back
    CHECK ((org_id IS NULL) = (made_by IS NULL)),
    CHECK (made_with IS NULL OR org_id IS NOT NULL),
    CHECK (is_own = 0 OR org_id IS NULL),
    CHECK (used_at IS NULL OR ended_at IS NULL)
) STRICT, WITHOUT ROWID;

INSERT INTO new_password_reset (token_hash, user_id, org_id, made_by, made_with, created_at, expires_at, used_at, ended_at)
SELECT token_hash, user_id, org_id, made_by, made_with, created_at, expires_at, used_at, ended_at
FROM password_reset
ORDER BY token_hash;

DROP TABLE password_reset;
ALTER TABLE new_password_reset RENAME TO password_reset;

CREATE UNIQUE INDEX password_reset_open ON password_reset (user_id, coalesce(org_id, ''), is_own)
WHERE used_at IS NULL AND ended_at IS NULL;
CREATE INDEX password_reset_expiring ON password_reset (expires_at) WHERE used_at IS NULL AND ended_at IS NULL;
