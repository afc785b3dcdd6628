-- Deployments that run: their replicas, the attempts to start them, and what they print.

-- How many replicas serve; null while this installation does not run models.
ALTER TABLE deployment ADD COLUMN replicas INTEGER CHECK (replicas >= 0);
-- How often a build or a start began and did not end, because the server ended meanwhile.
ALTER TABLE deployment ADD COLUMN start_attempts INTEGER NOT NULL DEFAULT 0 CHECK (start_attempts >= 0);

-- Deployments that the runner keeps in the state that their status says.
CREATE INDEX deployment_kept ON deployment (created_at, id)
WHERE status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'ACTIVE', 'UNHEALTHY', 'UPDATING', 'SCALED_TO_ZERO', 'WAKING_UP',
                 'DEACTIVATING');

-- The replicas that serve. The rows end with the server that wrote them.
CREATE TABLE replica (
    id            TEXT PRIMARY KEY,
    org_id        TEXT NOT NULL,
    team_id       TEXT NOT NULL,
    deployment_id TEXT NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    started_at    INTEGER NOT NULL,
    is_unwanted   INTEGER NOT NULL DEFAULT 0 CHECK (is_unwanted IN (0, 1)),    -- somebody terminated it
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX replica_of_deployment ON replica (deployment_id);
CREATE INDEX replica_of_team ON replica (org_id, team_id);

-- Which replica printed a line, and while it answered which request; null for lines of the runner.
ALTER TABLE deployment_log ADD COLUMN replica TEXT;
ALTER TABLE deployment_log ADD COLUMN request_id TEXT;
