-- Where Model APIs are answered: the operator's upstreams, for the default teams of all organizations.

CREATE TABLE model_api_upstream (
    slug       TEXT PRIMARY KEY,        -- the name of the model in requests
    id         TEXT NOT NULL UNIQUE,    -- the credential is sealed for this id: another upstream cannot use it
    url        TEXT NOT NULL,
    sealed     BLOB,                    -- the credential; null: the upstream wants none
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was used of it, by key and minute: kept for a day.
CREATE TABLE model_api_minute (
    org_id        TEXT NOT NULL,
    minute        INTEGER NOT NULL,     -- since the epoch
    slug          TEXT NOT NULL,
    caller        TEXT NOT NULL,        -- the prefix of the key
    team_id       TEXT NOT NULL,
    requests      INTEGER NOT NULL CHECK (requests >= 0),
    errors        INTEGER NOT NULL CHECK (errors >= 0),
    milliseconds  INTEGER NOT NULL CHECK (milliseconds >= 0),
    input_tokens  INTEGER NOT NULL CHECK (input_tokens >= 0),
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    cached_tokens INTEGER NOT NULL CHECK (cached_tokens >= 0),
    PRIMARY KEY (org_id, minute, slug, caller),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX model_api_minute_of_team ON model_api_minute (org_id, team_id);
CREATE INDEX model_api_minute_old ON model_api_minute (minute);
