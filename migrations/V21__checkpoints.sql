-- What running training jobs leave: why they failed, their checkpoints, the files of these and of the cache, and metrics.

ALTER TABLE training_job ADD COLUMN error_message TEXT;
-- How often the job was begun. One that crashed the server twice is not begun again.
ALTER TABLE training_job ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

-- The trainer looks for these again and again.
CREATE INDEX training_job_deploying ON training_job (team_id) WHERE status = 'TRAINING_JOB_DEPLOYING';

-- A folder in the checkpoint folder of a job.
CREATE TABLE training_checkpoint (
    job_id              TEXT NOT NULL REFERENCES training_job (id) ON DELETE CASCADE,
    name                TEXT NOT NULL,
    kind                TEXT NOT NULL CHECK (kind IN ('full', 'lora', 'whisper')),
    base_model          TEXT,
    lora_adapter_config TEXT CHECK (lora_adapter_config IS NULL OR json_valid(lora_adapter_config)),
    size_bytes          INTEGER NOT NULL CHECK (size_bytes >= 0),
    created_at          INTEGER NOT NULL,
    PRIMARY KEY (job_id, name)
) STRICT, WITHOUT ROWID;

-- Every file in the checkpoint folder of a job, by its path from there.
CREATE TABLE training_checkpoint_file (
    job_id      TEXT NOT NULL REFERENCES training_job (id) ON DELETE CASCADE,
    path        TEXT NOT NULL,
    size_bytes  INTEGER NOT NULL CHECK (size_bytes >= 0),
    modified_at INTEGER NOT NULL,
    PRIMARY KEY (job_id, path)
) STRICT, WITHOUT ROWID;

-- The files in the cache of a project when its last job ended.
CREATE TABLE training_cache_file (
    project_id  TEXT NOT NULL REFERENCES training_project (id) ON DELETE CASCADE,
    path        TEXT NOT NULL,
    size_bytes  INTEGER NOT NULL CHECK (size_bytes >= 0),
    modified_at INTEGER NOT NULL,
    permissions INTEGER NOT NULL,
    PRIMARY KEY (project_id, path)
) STRICT, WITHOUT ROWID;

-- What the processes of a job took at a time.
CREATE TABLE training_job_sample (
    job_id       TEXT NOT NULL REFERENCES training_job (id) ON DELETE CASCADE,
    at           INTEGER NOT NULL,
    millicpu     INTEGER NOT NULL CHECK (millicpu >= 0),
    memory_bytes INTEGER NOT NULL CHECK (memory_bytes >= 0),
    disk_bytes   INTEGER NOT NULL CHECK (disk_bytes >= 0),
    PRIMARY KEY (job_id, at)
) STRICT, WITHOUT ROWID;
