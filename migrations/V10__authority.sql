-- What was once found ended stays ended, links by which a person sets a password, and who made which key.

-- When it was found expired. A key that is found expired is revoked as of its expiry.
ALTER TABLE invitation ADD COLUMN ended_at INTEGER;

-- Invitations of whoever may not invite any more are revoked.
UPDATE invitation
SET revoked_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE accepted_at IS NULL AND revoked_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM org_member
    WHERE org_member.org_id = invitation.org_id AND org_member.user_id = invitation.invited_by
      AND org_member.role = 'ADMIN'
);

-- A key is traced to its maker also by way of keys that work no more.
DROP INDEX api_key_made_by;
CREATE INDEX api_key_made_by ON api_key (created_by, org_id) WHERE user_id IS NULL;

-- What waits to be found expired.
CREATE INDEX api_key_expiring ON api_key (expires_at) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX invitation_expiring ON invitation (expires_at)
WHERE accepted_at IS NULL AND revoked_at IS NULL AND ended_at IS NULL;

-- One-time links by which a person sets a password.
CREATE TABLE password_reset (
    token_hash   BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id      TEXT NOT NULL REFERENCES user (id),
    org_id       TEXT REFERENCES organization (id),     -- whose admin made it; null for the operator
    made_by      TEXT REFERENCES user (id),             -- that admin
    made_with    TEXT REFERENCES api_key (prefix),      -- the key that was sent: the link works while it does
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER,
    ended_at     INTEGER,                   -- when it was found expired, replaced, or taken back
    CHECK ((org_id IS NULL) = (made_by IS NULL) AND (org_id IS NULL) = (made_with IS NULL)),
    CHECK (used_at IS NULL OR ended_at IS NULL)
) STRICT, WITHOUT ROWID;

-- One open link a person and maker.
CREATE UNIQUE INDEX password_reset_open ON password_reset (user_id, coalesce(org_id, ''))
WHERE used_at IS NULL AND ended_at IS NULL;
CREATE INDEX password_reset_expiring ON password_reset (expires_at) WHERE used_at IS NULL AND ended_at IS NULL;
