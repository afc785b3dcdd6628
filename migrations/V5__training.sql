-- Training jobs of a team's projects: what they ask for, how they stand, and how many GPUs a team's jobs may hold.

CREATE TABLE training_job (
    id           TEXT PRIMARY KEY,
    org_id       TEXT NOT NULL,
    team_id      TEXT NOT NULL,
    project_id   TEXT NOT NULL,
    name         TEXT,
    status       TEXT NOT NULL CHECK (status IN (
                     'TRAINING_JOB_PENDING', 'TRAINING_JOB_CREATED', 'TRAINING_JOB_QUEUED', 'TRAINING_JOB_DEPLOYING',
                     'TRAINING_JOB_RUNNING', 'TRAINING_JOB_COMPLETED', 'TRAINING_JOB_FAILED', 'TRAINING_JOB_STOPPED',
                     'TRAINING_JOB_DEPLOY_FAILED')),
    priority     INTEGER NOT NULL,          -- higher ones leave the queue first
    availability TEXT NOT NULL CHECK (availability IN ('dedicated', 'spot')),
    nodes        INTEGER NOT NULL CHECK (nodes >= 1),
    cpus         INTEGER NOT NULL CHECK (cpus >= 1),            -- of one node, as are the next three
    memory_mib   INTEGER NOT NULL CHECK (memory_mib >= 1),
    gpu_type     TEXT,
    gpu_count    INTEGER NOT NULL,
    gpus         INTEGER NOT NULL GENERATED ALWAYS AS (nodes * gpu_count) VIRTUAL,
    spec         TEXT NOT NULL CHECK (json_valid(spec)),        -- what recreating it asks for again
    created_by   TEXT NOT NULL,             -- a user's id or a key's prefix
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CHECK ((gpu_type IS NULL) = (gpu_count = 0)),
    FOREIGN KEY (org_id, team_id, project_id) REFERENCES training_project (org_id, team_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX training_job_of_project ON training_job (org_id, team_id, project_id);
CREATE INDEX training_job_of_team ON training_job (team_id, created_at);
-- The queue of a team and GPU, and what holds GPUs.
CREATE INDEX training_job_under_way ON training_job (team_id, gpu_type, status)
WHERE status IN ('TRAINING_JOB_PENDING', 'TRAINING_JOB_CREATED', 'TRAINING_JOB_QUEUED', 'TRAINING_JOB_DEPLOYING',
                 'TRAINING_JOB_RUNNING');

-- The archives that a job was pushed with, in their order.
CREATE TABLE training_job_artifact (
    job_id TEXT NOT NULL REFERENCES training_job (id) ON DELETE CASCADE,
    place  INTEGER NOT NULL,
    s3_key TEXT NOT NULL REFERENCES upload (s3_key),
    PRIMARY KEY (job_id, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX training_job_artifact_of_upload ON training_job_artifact (s3_key);

-- The last job that was pushed with an archive takes the archive along.
CREATE TRIGGER training_job_artifact_deleted AFTER DELETE ON training_job_artifact
WHEN NOT EXISTS (SELECT 1 FROM training_job_artifact WHERE s3_key = OLD.s3_key)
BEGIN
    DELETE FROM upload WHERE s3_key = OLD.s3_key;
END;

-- Every status that a job has had. The number tells what came first, also within a millisecond.
CREATE TABLE training_job_event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES training_job (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL,
    status TEXT NOT NULL
) STRICT;

CREATE INDEX training_job_event_of_job ON training_job_event (job_id, number);

-- No two lines of a job share a millisecond: clients page by it.
CREATE TABLE training_job_log (
    job_id  TEXT NOT NULL REFERENCES training_job (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    level   TEXT NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARNING', 'ERROR')),
    message TEXT NOT NULL,
    PRIMARY KEY (job_id, at)
) STRICT, WITHOUT ROWID;

-- How many GPUs of a type the jobs of a team may hold at once. Without a row there is no ceiling.
CREATE TABLE training_capacity (
    team_id    TEXT NOT NULL,
    gpu_type   TEXT NOT NULL,
    org_id     TEXT NOT NULL,
    max_gpus   INTEGER NOT NULL CHECK (max_gpus >= 0),
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (team_id, gpu_type),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
