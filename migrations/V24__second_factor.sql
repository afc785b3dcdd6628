-- The second factor of people who want one: codes of an authenticator, and recovery codes for when it is lost.

CREATE TABLE second_factor (
    user_id      TEXT PRIMARY KEY REFERENCES user (id) ON DELETE CASCADE,
    sealed       BLOB NOT NULL,             -- the secret that the authenticator has too
    confirmed_at INTEGER,                   -- null until the authenticator has shown its first code
    last_step    INTEGER NOT NULL,          -- of the last code that was accepted: no code is accepted twice
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_code (
    user_id   TEXT NOT NULL REFERENCES second_factor (user_id) ON DELETE CASCADE,
    code_hash BLOB NOT NULL CHECK (length(code_hash) = 32),
    used_at   INTEGER,
    PRIMARY KEY (user_id, code_hash)
) STRICT, WITHOUT ROWID;
