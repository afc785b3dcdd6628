-- The outbox: mails that are written with what they are about, and sent afterwards.

CREATE TABLE mail (
    id              TEXT PRIMARY KEY,
    org_id          TEXT REFERENCES organization (id),  -- of the invitation
    invitation_id   TEXT UNIQUE REFERENCES invitation (id) ON DELETE CASCADE,
    user_id         TEXT UNIQUE REFERENCES user (id) ON DELETE CASCADE,   -- whose password its link sets
    recipient       TEXT NOT NULL,          -- the stored address
    subject         TEXT NOT NULL,
    sealed          BLOB,                   -- the text with the link, sealed; null once it is sent or given up
    status          TEXT NOT NULL CHECK (status IN ('QUEUED', 'SENT', 'FAILED')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    problem         TEXT,                   -- the mail server's words at the last attempt, at most 200 characters
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,       -- with its link
    CHECK ((status = 'QUEUED') = (sealed IS NOT NULL)),
    CHECK ((invitation_id IS NULL) <> (user_id IS NULL)),
    CHECK ((invitation_id IS NULL) = (org_id IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX mail_due ON mail (next_attempt_at, id) WHERE status = 'QUEUED';
