-- Deployments of models, the environments they serve, and what they log.
--
-- A chainlet is a deployment too: of a model that belongs to a Chain.

-- How many published deployments a model has had: the next is named after this number, also when others are gone.
ALTER TABLE model ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
ALTER TABLE model ADD COLUMN is_downloadable INTEGER NOT NULL DEFAULT 1 CHECK (is_downloadable IN (0, 1));

-- What an environment is set to; null is as set by default.
ALTER TABLE model_environment ADD COLUMN autoscaling TEXT CHECK (autoscaling IS NULL OR json_valid(autoscaling));
ALTER TABLE model_environment ADD COLUMN promotion TEXT CHECK (promotion IS NULL OR json_valid(promotion));
ALTER TABLE model_environment ADD COLUMN backpressure TEXT;
ALTER TABLE model_environment ADD COLUMN instance_type TEXT;

CREATE TABLE deployment (
    id             TEXT PRIMARY KEY,
    org_id         TEXT NOT NULL,
    team_id        TEXT NOT NULL,
    model_id       TEXT NOT NULL,
    name           TEXT NOT NULL,
    number         INTEGER NOT NULL,    -- of a published one; 0 is the development deployment
    status         TEXT NOT NULL CHECK (status IN (
                       'BUILDING', 'DEPLOYING', 'DEPLOY_FAILED', 'LOADING_MODEL', 'ACTIVE', 'UNHEALTHY', 'BUILD_FAILED',
                       'BUILD_STOPPED', 'DEACTIVATING', 'INACTIVE', 'FAILED', 'UPDATING', 'SCALED_TO_ZERO', 'WAKING_UP')),
    environment    TEXT,                -- the environment that it serves
    candidate_for  TEXT,                -- the environment that it takes over once it is active
    cleanup        TEXT CHECK (cleanup IN ('KEEP', 'SCALE_TO_ZERO', 'DEACTIVATE')),  -- of the one it takes over from
    config         TEXT NOT NULL CHECK (json_valid(config)),    -- as the client parsed it
    raw_config     TEXT,                -- config.yaml as it was sent, byte for byte
    labels         TEXT CHECK (labels IS NULL OR json_valid(labels)),
    user_env       TEXT CHECK (user_env IS NULL OR json_valid(user_env)),
    instance_type  TEXT NOT NULL,
    autoscaling    TEXT NOT NULL CHECK (json_valid(autoscaling)),
    backpressure   TEXT NOT NULL CHECK (backpressure IN ('QUEUE_ON_FULL', 'REJECT_ON_FULL')),
    s3_key         TEXT REFERENCES upload (s3_key),     -- null: committed from its configuration alone
    truss_hash     TEXT,                -- of what it runs; null until its archive was read
    truss_signature TEXT,
    is_patched     INTEGER NOT NULL DEFAULT 0 CHECK (is_patched IN (0, 1)),     -- since it was pushed
    timeout_minutes INTEGER CHECK (timeout_minutes BETWEEN 10 AND 1440),
    created_by     TEXT NOT NULL,       -- the prefix of the key that was sent
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    UNIQUE (model_id, id),
    CHECK (number > 0 OR (environment IS NULL AND candidate_for IS NULL)),
    CHECK ((candidate_for IS NULL) = (cleanup IS NULL)),
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (model_id, environment) REFERENCES model_environment (model_id, name),
    FOREIGN KEY (model_id, candidate_for) REFERENCES model_environment (model_id, name)
) STRICT;

-- The one development deployment of a model, and the order of the others.
CREATE UNIQUE INDEX deployment_of_model ON deployment (model_id, number);
CREATE UNIQUE INDEX deployment_in_environment ON deployment (model_id, environment) WHERE environment IS NOT NULL;
-- One promotion at a time.
CREATE UNIQUE INDEX deployment_candidate ON deployment (model_id, candidate_for) WHERE candidate_for IS NOT NULL;
CREATE INDEX deployment_under_way ON deployment (created_at, id)
WHERE status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'UPDATING', 'DEACTIVATING', 'WAKING_UP');
CREATE INDEX deployment_of_archive ON deployment (s3_key) WHERE s3_key IS NOT NULL;
CREATE INDEX deployment_of_owner ON deployment (org_id, team_id, model_id);

-- The last deployment of an archive takes the archive along.
CREATE TRIGGER deployment_deleted AFTER DELETE ON deployment
WHEN OLD.s3_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deployment WHERE s3_key = OLD.s3_key)
BEGIN
    DELETE FROM upload WHERE s3_key = OLD.s3_key;
END;

CREATE TRIGGER deployment_pushed_again AFTER UPDATE OF s3_key ON deployment
WHEN OLD.s3_key IS NOT NULL AND OLD.s3_key IS NOT NEW.s3_key
     AND NOT EXISTS (SELECT 1 FROM deployment WHERE s3_key = OLD.s3_key)
BEGIN
    DELETE FROM upload WHERE s3_key = OLD.s3_key;
END;

-- Patches of a development deployment that its archive does not hold yet.
CREATE TABLE deployment_patch (
    deployment_id TEXT NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    number        INTEGER NOT NULL,
    operations    TEXT NOT NULL CHECK (json_valid(operations)),
    hash          TEXT NOT NULL,        -- of what it leads to
    signature     TEXT NOT NULL,
    is_synced     INTEGER NOT NULL DEFAULT 0 CHECK (is_synced IN (0, 1)),
    PRIMARY KEY (deployment_id, number)
) STRICT, WITHOUT ROWID;

-- No two lines of a deployment share a millisecond: clients page by it.
CREATE TABLE deployment_log (
    deployment_id TEXT NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    at            INTEGER NOT NULL,
    level         TEXT NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARNING', 'ERROR')),
    message       TEXT NOT NULL,
    PRIMARY KEY (deployment_id, at)
) STRICT, WITHOUT ROWID;
