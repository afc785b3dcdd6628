-- What calls were made, how long they took, and how many replicas ran. Written in batches, a second after the calls.
--
-- Minutes are minutes since the epoch. An environment is '' where the deployment served none. What is here goes with its
-- deployment; what it cost stays in `usage`.

-- Who called: kept for a day.
CREATE TABLE call_minute (
    deployment_id TEXT NOT NULL,
    minute        INTEGER NOT NULL,
    environment   TEXT NOT NULL,
    caller        TEXT NOT NULL,        -- the prefix of the key
    org_id        TEXT NOT NULL,
    team_id       TEXT NOT NULL,
    model_id      TEXT NOT NULL,
    requests      INTEGER NOT NULL CHECK (requests >= 0),
    errors        INTEGER NOT NULL CHECK (errors >= 0),
    milliseconds  INTEGER NOT NULL CHECK (milliseconds >= 0),
    bytes         INTEGER NOT NULL CHECK (bytes >= 0),
    input_tokens  INTEGER NOT NULL CHECK (input_tokens >= 0),      -- where the model says how many it used
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    PRIMARY KEY (deployment_id, minute, environment, caller),
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (model_id, deployment_id) REFERENCES deployment (model_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX call_minute_of_model ON call_minute (org_id, team_id, model_id);
CREATE INDEX call_minute_of_deployment ON call_minute (model_id, deployment_id);
CREATE INDEX call_minute_old ON call_minute (minute);

-- How calls ended: kept for as long as metrics are shown.
CREATE TABLE deployment_minute (
    deployment_id TEXT NOT NULL,
    environment   TEXT NOT NULL,
    minute        INTEGER NOT NULL,
    org_id        TEXT NOT NULL,
    team_id       TEXT NOT NULL,
    model_id      TEXT NOT NULL,
    successes     INTEGER NOT NULL CHECK (successes >= 0),          -- 1xx to 3xx
    client_errors INTEGER NOT NULL CHECK (client_errors >= 0),      -- 4xx
    server_errors INTEGER NOT NULL CHECK (server_errors >= 0),      -- 5xx
    milliseconds  INTEGER NOT NULL CHECK (milliseconds >= 0),
    latencies     BLOB NOT NULL,        -- how many calls took how long (`domain::latencies`)
    PRIMARY KEY (deployment_id, minute, environment),
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (model_id, deployment_id) REFERENCES deployment (model_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX deployment_minute_of_owner ON deployment_minute (org_id, team_id, model_id);
CREATE INDEX deployment_minute_of_deployment ON deployment_minute (model_id, deployment_id);
CREATE INDEX deployment_minute_in_environment ON deployment_minute (model_id, environment, minute);
CREATE INDEX deployment_minute_old ON deployment_minute (minute);

-- The sums of all calls, which only grow, for collectors that compute rates from them.
CREATE TABLE deployment_total (
    deployment_id TEXT NOT NULL,
    environment   TEXT NOT NULL,
    status        INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599),
    is_async      INTEGER NOT NULL CHECK (is_async IN (0, 1)),
    org_id        TEXT NOT NULL,
    team_id       TEXT NOT NULL,
    model_id      TEXT NOT NULL,
    requests      INTEGER NOT NULL CHECK (requests >= 0),
    milliseconds  INTEGER NOT NULL CHECK (milliseconds >= 0),
    latencies     BLOB NOT NULL,
    PRIMARY KEY (deployment_id, environment, status, is_async),
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (model_id, deployment_id) REFERENCES deployment (model_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX deployment_total_of_owner ON deployment_total (org_id, team_id, model_id);
CREATE INDEX deployment_total_of_deployment ON deployment_total (model_id, deployment_id);

-- From when on how many replicas ran. A row is written when the number changes.
CREATE TABLE replica_count (
    deployment_id TEXT NOT NULL,
    at            INTEGER NOT NULL,
    org_id        TEXT NOT NULL,
    team_id       TEXT NOT NULL,
    model_id      TEXT NOT NULL,
    replicas      INTEGER NOT NULL CHECK (replicas >= 0),
    PRIMARY KEY (deployment_id, at),
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (model_id, deployment_id) REFERENCES deployment (model_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX replica_count_of_owner ON replica_count (org_id, team_id, model_id);
CREATE INDEX replica_count_of_deployment ON replica_count (model_id, deployment_id);
CREATE INDEX replica_count_old ON replica_count (at);

-- The last minute whose replicas were charged, so that none is charged twice.
CREATE TABLE metered (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    minute INTEGER NOT NULL
) STRICT;
