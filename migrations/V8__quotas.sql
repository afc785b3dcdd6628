-- What teams and organizations take: bytes and rows in the database, bytes of archives.
--
-- The writer keeps these numbers (`db::quotas::accounting`). It counts everything once when its way of counting changes,
-- which it also does after this migration.

CREATE TABLE organization_usage (
    org_id         TEXT PRIMARY KEY REFERENCES organization (id) ON DELETE CASCADE,
    database_bytes INTEGER NOT NULL DEFAULT 0,
    database_rows  INTEGER NOT NULL DEFAULT 0,
    archive_bytes  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE team_usage (
    team_id        TEXT PRIMARY KEY,
    org_id         TEXT NOT NULL,
    database_bytes INTEGER NOT NULL DEFAULT 0,
    database_rows  INTEGER NOT NULL DEFAULT 0,
    archive_bytes  INTEGER NOT NULL DEFAULT 0,
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX team_usage_of_org ON team_usage (org_id, team_id);

INSERT INTO organization_usage (org_id) SELECT id FROM organization;
INSERT INTO team_usage (team_id, org_id) SELECT id, org_id FROM team;

CREATE TRIGGER organization_usage_begins AFTER INSERT ON organization
BEGIN
    INSERT INTO organization_usage (org_id) VALUES (NEW.id);
END;

CREATE TRIGGER team_usage_begins AFTER INSERT ON team
BEGIN
    INSERT INTO team_usage (team_id, org_id) VALUES (NEW.id, NEW.org_id);
END;

-- By which way of counting the numbers above were made.
CREATE TABLE accounting (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    formula TEXT NOT NULL
) STRICT;

-- Whose key uploaded it; null where a person's key did. It is charged to that team until a deployment or job uses it.
ALTER TABLE upload ADD COLUMN team_id TEXT;

UPDATE upload
SET team_id = (SELECT team_id FROM api_key WHERE api_key.prefix = upload.api_key_prefix)
WHERE user_id IS NULL;

CREATE INDEX upload_untaken_of_person ON upload (org_id, user_id, bytes) WHERE taken_at IS NULL;

-- The archives that a team pays for: each upload that its deployments and jobs use, once.
CREATE TABLE team_upload (
    team_id TEXT NOT NULL,
    s3_key  TEXT NOT NULL,
    org_id  TEXT NOT NULL,
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    uses    INTEGER NOT NULL CHECK (uses >= 0),
    PRIMARY KEY (team_id, s3_key),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX team_upload_of_org ON team_upload (org_id, team_id);
CREATE INDEX team_upload_of_key ON team_upload (s3_key);

INSERT INTO team_upload (team_id, s3_key, org_id, bytes, uses)
SELECT used.team_id, used.s3_key, used.org_id, upload.bytes, count(*)
FROM (
    SELECT team_id, s3_key, org_id FROM deployment WHERE s3_key IS NOT NULL
    UNION ALL
    SELECT team_id, s3_key, org_id FROM chain_deployment WHERE s3_key IS NOT NULL
    UNION ALL
    SELECT training_job.team_id, training_job_artifact.s3_key, training_job.org_id
    FROM training_job_artifact
    JOIN training_job ON training_job.id = training_job_artifact.job_id
) AS used
JOIN upload ON upload.s3_key = used.s3_key
GROUP BY used.team_id, used.s3_key, used.org_id, upload.bytes;

CREATE TRIGGER team_upload_unused AFTER UPDATE OF uses ON team_upload
WHEN NEW.uses = 0
BEGIN
    DELETE FROM team_upload WHERE team_id = NEW.team_id AND s3_key = NEW.s3_key;
END;

CREATE TRIGGER deployment_uses_upload AFTER INSERT ON deployment
WHEN NEW.s3_key IS NOT NULL
BEGIN
    INSERT INTO team_upload (team_id, s3_key, org_id, bytes, uses)
    SELECT NEW.team_id, NEW.s3_key, NEW.org_id, bytes, 1 FROM upload WHERE s3_key = NEW.s3_key
    ON CONFLICT (team_id, s3_key) DO UPDATE SET uses = uses + 1;
END;

CREATE TRIGGER deployment_changes_upload AFTER UPDATE OF s3_key ON deployment
WHEN NEW.s3_key IS NOT OLD.s3_key
BEGIN
    INSERT INTO team_upload (team_id, s3_key, org_id, bytes, uses)
    SELECT NEW.team_id, NEW.s3_key, NEW.org_id, bytes, 1 FROM upload WHERE s3_key = NEW.s3_key
    ON CONFLICT (team_id, s3_key) DO UPDATE SET uses = uses + 1;
    UPDATE team_upload SET uses = uses - 1 WHERE team_id = OLD.team_id AND s3_key = OLD.s3_key;
END;

CREATE TRIGGER deployment_lets_upload_go AFTER DELETE ON deployment
WHEN OLD.s3_key IS NOT NULL
BEGIN
    UPDATE team_upload SET uses = uses - 1 WHERE team_id = OLD.team_id AND s3_key = OLD.s3_key;
END;

CREATE TRIGGER chain_deployment_uses_upload AFTER INSERT ON chain_deployment
WHEN NEW.s3_key IS NOT NULL
BEGIN
    INSERT INTO team_upload (team_id, s3_key, org_id, bytes, uses)
    SELECT NEW.team_id, NEW.s3_key, NEW.org_id, bytes, 1 FROM upload WHERE s3_key = NEW.s3_key
    ON CONFLICT (team_id, s3_key) DO UPDATE SET uses = uses + 1;
END;

CREATE TRIGGER chain_deployment_changes_upload AFTER UPDATE OF s3_key ON chain_deployment
WHEN NEW.s3_key IS NOT OLD.s3_key
BEGIN
    INSERT INTO team_upload (team_id, s3_key, org_id, bytes, uses)
    SELECT NEW.team_id, NEW.s3_key, NEW.org_id, bytes, 1 FROM upload WHERE s3_key = NEW.s3_key
    ON CONFLICT (team_id, s3_key) DO UPDATE SET uses = uses + 1;
    UPDATE team_upload SET uses = uses - 1 WHERE team_id = OLD.team_id AND s3_key = OLD.s3_key;
END;

CREATE TRIGGER chain_deployment_lets_upload_go AFTER DELETE ON chain_deployment
WHEN OLD.s3_key IS NOT NULL
BEGIN
    UPDATE team_upload SET uses = uses - 1 WHERE team_id = OLD.team_id AND s3_key = OLD.s3_key;
END;

CREATE TRIGGER training_job_uses_upload AFTER INSERT ON training_job_artifact
BEGIN
    INSERT INTO team_upload (team_id, s3_key, org_id, bytes, uses)
    SELECT training_job.team_id, NEW.s3_key, training_job.org_id, upload.bytes, 1
    FROM training_job
    JOIN upload ON upload.s3_key = NEW.s3_key
    WHERE training_job.id = NEW.job_id
    ON CONFLICT (team_id, s3_key) DO UPDATE SET uses = uses + 1;
END;

CREATE TRIGGER training_job_lets_upload_go AFTER DELETE ON training_job_artifact
BEGIN
    UPDATE team_upload SET uses = uses - 1
    WHERE s3_key = OLD.s3_key AND team_id = (SELECT team_id FROM training_job WHERE id = OLD.job_id);
END;

-- The team is read from the job, so its artifacts go first.
CREATE TRIGGER training_job_deleted BEFORE DELETE ON training_job
BEGIN
    DELETE FROM training_job_artifact WHERE job_id = OLD.id;
END;

-- What the runner has to do for a team.
CREATE INDEX deployment_in_progress ON deployment (team_id)
WHERE status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'UPDATING', 'DEACTIVATING', 'WAKING_UP');
