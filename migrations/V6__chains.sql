-- Deployments of Chains, the chainlets that they are made of, and the environments that they serve.
--
-- A chainlet runs as a deployment of a model. That model is its Chain's: it is not among the models of the team.

ALTER TABLE model ADD COLUMN chain_id TEXT REFERENCES chain (id) ON DELETE CASCADE;

CREATE INDEX model_of_chain ON model (chain_id) WHERE chain_id IS NOT NULL;

-- What a composite foreign key would say, had the column been there from the beginning.
CREATE TRIGGER model_of_another_teams_chain BEFORE INSERT ON model
WHEN NEW.chain_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM chain WHERE id = NEW.chain_id AND org_id = NEW.org_id AND team_id = NEW.team_id
)
BEGIN
    SELECT RAISE(ABORT, 'a chainlet is of its Chain''s team');
END;

CREATE TRIGGER model_moved_between_chains BEFORE UPDATE OF chain_id, org_id, team_id ON model
WHEN NEW.chain_id IS NOT OLD.chain_id
     OR OLD.chain_id IS NOT NULL AND (NEW.org_id <> OLD.org_id OR NEW.team_id <> OLD.team_id)
BEGIN
    SELECT RAISE(ABORT, 'a chainlet keeps its Chain');
END;

-- How many published deployments a Chain has had: the next is named after this number, also when others are gone.
ALTER TABLE chain ADD COLUMN published INTEGER NOT NULL DEFAULT 0;

-- Null is as set by default.
ALTER TABLE chain_environment ADD COLUMN promotion TEXT CHECK (promotion IS NULL OR json_valid(promotion));

-- Every Chain has `production` from here on.
INSERT INTO chain_environment (chain_id, name, org_id, team_id, created_at)
SELECT id, 'production', org_id, team_id, created_at FROM chain WHERE true
ON CONFLICT (chain_id, name) DO NOTHING;

-- What an environment sets a chainlet to, by the chainlet's name; null is as its deployment is set.
CREATE TABLE chainlet_setting (
    chain_id      TEXT NOT NULL,
    environment   TEXT NOT NULL,
    chainlet_name TEXT NOT NULL,
    autoscaling   TEXT CHECK (autoscaling IS NULL OR json_valid(autoscaling)),
    instance_type TEXT,
    PRIMARY KEY (chain_id, environment, chainlet_name),
    FOREIGN KEY (chain_id, environment) REFERENCES chain_environment (chain_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE chain_deployment (
    id            TEXT PRIMARY KEY,
    org_id        TEXT NOT NULL,
    team_id       TEXT NOT NULL,
    chain_id      TEXT NOT NULL,
    name          TEXT NOT NULL,
    number        INTEGER NOT NULL,     -- of a published one; 0 is the development deployment
    environment   TEXT,                 -- the environment that it serves
    candidate_for TEXT,                 -- the environment that it takes over once all its chainlets are active
    cleanup       TEXT CHECK (cleanup IN ('KEEP', 'SCALE_TO_ZERO', 'DEACTIVATE')),  -- of the one it takes over from
    user_env      TEXT CHECK (user_env IS NULL OR json_valid(user_env)),
    s3_key        TEXT REFERENCES upload (s3_key),      -- the source as it was written, if it was sent
    created_by    TEXT NOT NULL,        -- the prefix of the key that was sent
    created_at    INTEGER NOT NULL,
    UNIQUE (chain_id, number),
    UNIQUE (org_id, team_id, id),
    CHECK (number > 0 OR (environment IS NULL AND candidate_for IS NULL)),
    CHECK ((candidate_for IS NULL) = (cleanup IS NULL)),
    FOREIGN KEY (org_id, team_id, chain_id) REFERENCES chain (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (chain_id, environment) REFERENCES chain_environment (chain_id, name),
    FOREIGN KEY (chain_id, candidate_for) REFERENCES chain_environment (chain_id, name)
) STRICT;

CREATE UNIQUE INDEX chain_deployment_in_environment ON chain_deployment (chain_id, environment)
WHERE environment IS NOT NULL;
-- One promotion at a time.
CREATE UNIQUE INDEX chain_deployment_candidate ON chain_deployment (chain_id, candidate_for)
WHERE candidate_for IS NOT NULL;
CREATE INDEX chain_deployment_of_source ON chain_deployment (s3_key) WHERE s3_key IS NOT NULL;
CREATE INDEX chain_deployment_of_owner ON chain_deployment (org_id, team_id, chain_id);

-- The last deployment of a source takes it along.
CREATE TRIGGER chain_deployment_deleted AFTER DELETE ON chain_deployment
WHEN OLD.s3_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM chain_deployment WHERE s3_key = OLD.s3_key)
BEGIN
    DELETE FROM upload WHERE s3_key = OLD.s3_key;
END;

CREATE TRIGGER chain_deployment_pushed_again AFTER UPDATE OF s3_key ON chain_deployment
WHEN OLD.s3_key IS NOT NULL AND OLD.s3_key IS NOT NEW.s3_key
     AND NOT EXISTS (SELECT 1 FROM chain_deployment WHERE s3_key = OLD.s3_key)
BEGIN
    DELETE FROM upload WHERE s3_key = OLD.s3_key;
END;

CREATE TABLE chainlet (
    id                  TEXT PRIMARY KEY,
    org_id              TEXT NOT NULL,
    team_id             TEXT NOT NULL,
    chain_deployment_id TEXT NOT NULL,
    place               INTEGER NOT NULL CHECK (place >= 0),    -- 0 is the entrypoint
    name                TEXT NOT NULL,
    model_id            TEXT NOT NULL,
    deployment_id       TEXT NOT NULL UNIQUE,
    UNIQUE (chain_deployment_id, name),
    UNIQUE (chain_deployment_id, place),
    FOREIGN KEY (org_id, team_id, chain_deployment_id)
        REFERENCES chain_deployment (org_id, team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id),
    FOREIGN KEY (model_id, deployment_id) REFERENCES deployment (model_id, id)
) STRICT;

CREATE INDEX chainlet_of_model ON chainlet (org_id, team_id, model_id);
CREATE INDEX chainlet_of_model_deployment ON chainlet (model_id, deployment_id);
CREATE INDEX chainlet_of_chain_deployment ON chainlet (org_id, team_id, chain_deployment_id);

-- What ran of a chainlet goes with it, and its model with the last of them.
CREATE TRIGGER chainlet_deleted AFTER DELETE ON chainlet
BEGIN
    DELETE FROM deployment WHERE id = OLD.deployment_id;
    DELETE FROM model
    WHERE id = OLD.model_id AND NOT EXISTS (SELECT 1 FROM chainlet WHERE model_id = OLD.model_id);
END;
