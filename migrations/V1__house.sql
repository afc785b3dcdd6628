-- The house: organizations, people, teams and what teams own.
--
-- Times are milliseconds since the epoch, booleans 0 or 1, ids short opaque lower-case text.
-- A row that belongs to a team carries its organization too, and its composite foreign key says that both agree:
-- no row can point into another organization, whatever the code above does.

CREATE TABLE installation (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    wrapped_key BLOB NOT NULL,      -- the data key, sealed by the master key
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE organization (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE,     -- the name without regard to case
    teams_enabled INTEGER NOT NULL CHECK (teams_enabled IN (0, 1)),
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,     -- normalized
    name          TEXT NOT NULL,
    password_hash TEXT,                     -- argon2id, PHC string
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE org_member (
    org_id     TEXT NOT NULL REFERENCES organization (id),
    user_id    TEXT NOT NULL REFERENCES user (id),
    role       TEXT NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (org_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX org_member_of_user ON org_member (user_id);
CREATE INDEX org_member_of_role ON org_member (org_id, role);

-- An organization keeps one active admin, also when two try at once.
CREATE TRIGGER last_admin_removed BEFORE DELETE ON org_member
WHEN OLD.role = 'ADMIN' AND NOT EXISTS (
    SELECT 1 FROM org_member WHERE org_id = OLD.org_id AND role = 'ADMIN' AND user_id <> OLD.user_id
)
BEGIN
    SELECT RAISE(ABORT, 'an organization keeps one active admin');
END;

CREATE TRIGGER last_admin_demoted BEFORE UPDATE ON org_member
WHEN OLD.role = 'ADMIN' AND (NEW.role <> 'ADMIN' OR NEW.org_id <> OLD.org_id) AND NOT EXISTS (
    SELECT 1 FROM org_member WHERE org_id = OLD.org_id AND role = 'ADMIN' AND user_id <> OLD.user_id
)
BEGIN
    SELECT RAISE(ABORT, 'an organization keeps one active admin');
END;

CREATE TABLE team (
    id         TEXT PRIMARY KEY,
    org_id     TEXT NOT NULL REFERENCES organization (id),
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL,               -- the name without regard to case
    icon       TEXT,
    is_default INTEGER NOT NULL CHECK (is_default IN (0, 1)),
    created_at INTEGER NOT NULL,
    UNIQUE (org_id, name_key),
    UNIQUE (org_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX team_default ON team (org_id) WHERE is_default = 1;

CREATE TRIGGER default_team_deleted BEFORE DELETE ON team
WHEN OLD.is_default = 1
BEGIN
    SELECT RAISE(ABORT, 'the default team cannot be deleted');
END;

CREATE TRIGGER default_team_changed BEFORE UPDATE ON team
WHEN NEW.is_default <> OLD.is_default OR NEW.org_id <> OLD.org_id
BEGIN
    SELECT RAISE(ABORT, 'the default team cannot be changed');
END;

CREATE TABLE team_member (
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (org_id, user_id, team_id),
    UNIQUE (org_id, team_id, user_id),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id) REFERENCES org_member (org_id, user_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX team_member_of_role ON team_member (org_id, team_id, role);

-- Clustered by what a list asks for; the sealed values stand apart, so that a list never reads past them.
CREATE TABLE secret (
    team_id    TEXT NOT NULL,
    lookup     TEXT NOT NULL,               -- the name, lower-case, with `-` and `.` as `_`
    org_id     TEXT NOT NULL,
    id         TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,               -- as first spelled
    version    INTEGER NOT NULL CHECK (version >= 1),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (team_id, lookup),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE secret_value (
    secret_id TEXT PRIMARY KEY REFERENCES secret (id) ON DELETE CASCADE,
    sealed    BLOB NOT NULL
) STRICT;

-- A key that is revoked keeps its row: its prefix stands in the audit log.
CREATE TABLE api_key (
    hash         BLOB PRIMARY KEY CHECK (length(hash) = 32),
    prefix       TEXT NOT NULL UNIQUE,
    org_id       TEXT NOT NULL REFERENCES organization (id),
    category     TEXT NOT NULL CHECK (category IN (
                     'PERSONAL', 'WORKSPACE_MANAGE_ALL', 'WORKSPACE_INVOKE', 'WORKSPACE_EXPORT_METRICS',
                     'WORKSPACE_MANAGE_API_KEYS')),
    user_id      TEXT,                      -- of a personal key alone
    team_id      TEXT,                      -- of a team key alone
    name         TEXT,
    narrowed_to_models       INTEGER NOT NULL DEFAULT 0 CHECK (narrowed_to_models IN (0, 1)),
    narrowed_to_environments INTEGER NOT NULL DEFAULT 0 CHECK (narrowed_to_environments IN (0, 1)),
    created_by   TEXT,                      -- a user's id or a key's prefix; null for the operator
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER,
    replaced_by  TEXT,                      -- the prefix of the key that rotation made
    UNIQUE (org_id, team_id, prefix),
    CHECK ((category = 'PERSONAL') = (user_id IS NOT NULL)),
    CHECK ((category IN ('PERSONAL', 'WORKSPACE_MANAGE_API_KEYS')) = (team_id IS NULL)),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (user_id) REFERENCES user (id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX api_key_name_in_team ON api_key (team_id, name)
WHERE team_id IS NOT NULL AND name IS NOT NULL AND revoked_at IS NULL AND replaced_by IS NULL;

CREATE UNIQUE INDEX api_key_name_of_user ON api_key (org_id, user_id, name)
WHERE user_id IS NOT NULL AND name IS NOT NULL AND revoked_at IS NULL AND replaced_by IS NULL;

CREATE UNIQUE INDEX api_key_name_in_org ON api_key (org_id, name)
WHERE category = 'WORKSPACE_MANAGE_API_KEYS' AND name IS NOT NULL AND revoked_at IS NULL AND replaced_by IS NULL;

CREATE INDEX api_key_of_team ON api_key (org_id, team_id, created_at) WHERE revoked_at IS NULL;
CREATE INDEX api_key_of_user ON api_key (user_id, org_id) WHERE user_id IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX api_key_made_by ON api_key (created_by, org_id) WHERE user_id IS NULL AND revoked_at IS NULL;

-- What a narrowed key may reach. Deleting a model takes its row, never the fact that the key is narrowed.
CREATE TABLE api_key_model (
    prefix   TEXT NOT NULL,
    model_id TEXT NOT NULL,
    org_id   TEXT NOT NULL,
    team_id  TEXT NOT NULL,
    PRIMARY KEY (prefix, model_id),
    FOREIGN KEY (org_id, team_id, prefix) REFERENCES api_key (org_id, team_id, prefix) ON DELETE CASCADE,
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX api_key_model_of_model ON api_key_model (org_id, team_id, model_id);

CREATE TABLE api_key_environment (
    prefix      TEXT NOT NULL REFERENCES api_key (prefix) ON DELETE CASCADE,
    environment TEXT NOT NULL,
    PRIMARY KEY (prefix, environment)
) STRICT, WITHOUT ROWID;

-- A restricted environment is of a team and a name, and covers every model and Chain of the team that has it.
CREATE TABLE environment_group (
    team_id       TEXT NOT NULL,
    name          TEXT NOT NULL,
    org_id        TEXT NOT NULL,
    is_restricted INTEGER NOT NULL CHECK (is_restricted IN (0, 1)),
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (team_id, name),
    UNIQUE (org_id, team_id, name),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE environment_group_user (
    team_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    org_id  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (team_id, name, user_id),
    FOREIGN KEY (org_id, team_id, name) REFERENCES environment_group (org_id, team_id, name) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id, team_id) REFERENCES team_member (org_id, user_id, team_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX environment_group_user_of_member ON environment_group_user (org_id, user_id, team_id);

CREATE TABLE environment_group_key (
    team_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    org_id  TEXT NOT NULL,
    prefix  TEXT NOT NULL,
    PRIMARY KEY (team_id, name, prefix),
    FOREIGN KEY (org_id, team_id, name) REFERENCES environment_group (org_id, team_id, name) ON DELETE CASCADE,
    FOREIGN KEY (org_id, team_id, prefix) REFERENCES api_key (org_id, team_id, prefix) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX environment_group_key_of_key ON environment_group_key (org_id, team_id, prefix);

CREATE TABLE invitation (
    id          TEXT PRIMARY KEY,
    org_id      TEXT NOT NULL REFERENCES organization (id),
    email       TEXT NOT NULL,              -- normalized
    role        TEXT NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    token_hash  BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    invited_by  TEXT NOT NULL REFERENCES user (id),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    accepted_at INTEGER,
    revoked_at  INTEGER,
    UNIQUE (org_id, id),
    CHECK (accepted_at IS NULL OR revoked_at IS NULL)
) STRICT;

-- One open invitation an address.
CREATE UNIQUE INDEX invitation_open ON invitation (org_id, email) WHERE accepted_at IS NULL AND revoked_at IS NULL;

CREATE INDEX invitation_of_org ON invitation (org_id, created_at, id);

CREATE TABLE invitation_team (
    invitation_id TEXT NOT NULL,
    org_id        TEXT NOT NULL,
    team_id       TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    PRIMARY KEY (invitation_id, team_id),
    FOREIGN KEY (org_id, invitation_id) REFERENCES invitation (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX invitation_team_of_team ON invitation_team (org_id, team_id);

CREATE TABLE model (
    id         TEXT PRIMARY KEY,
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    instance_type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (team_id, name),
    UNIQUE (org_id, team_id, id),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE chain (
    id         TEXT PRIMARY KEY,
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (team_id, name),
    UNIQUE (org_id, team_id, id),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE training_project (
    id         TEXT PRIMARY KEY,
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (team_id, name),
    UNIQUE (org_id, team_id, id),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE
) STRICT;

-- The environments that a model or a Chain has. `production` comes with the model.
CREATE TABLE model_environment (
    model_id   TEXT NOT NULL,
    name       TEXT NOT NULL,
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (model_id, name),
    FOREIGN KEY (org_id, team_id, model_id) REFERENCES model (org_id, team_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX model_environment_of_team ON model_environment (org_id, team_id, name);

CREATE TABLE chain_environment (
    chain_id   TEXT NOT NULL,
    name       TEXT NOT NULL,
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (chain_id, name),
    FOREIGN KEY (org_id, team_id, chain_id) REFERENCES chain (org_id, team_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX chain_environment_of_team ON chain_environment (org_id, team_id, name);

-- Model APIs are of the organization's default team alone: no team stands here.
CREATE TABLE model_api (
    org_id       TEXT NOT NULL REFERENCES organization (id),
    name         TEXT NOT NULL,             -- of the catalogue
    added_at     INTEGER NOT NULL,
    last_used_at INTEGER,
    PRIMARY KEY (org_id, name)
) STRICT, WITHOUT ROWID;

-- What is billed: one row a resource and day. It outlives its resource and its team.
CREATE TABLE usage (
    org_id        TEXT NOT NULL REFERENCES organization (id),
    day           TEXT NOT NULL CHECK (day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
    kind          TEXT NOT NULL CHECK (kind IN ('MODEL_DEPLOYMENT', 'CHAINLET', 'TRAINING_JOB', 'MODEL_API')),
    resource_id   TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    model_id      TEXT,
    model_name    TEXT,
    team_id       TEXT,
    team_name     TEXT,
    environment   TEXT,
    instance_type TEXT,
    minutes       INTEGER NOT NULL DEFAULT 0 CHECK (minutes >= 0),
    requests      INTEGER NOT NULL DEFAULT 0 CHECK (requests >= 0),
    input_tokens  INTEGER NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens INTEGER NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cached_tokens INTEGER NOT NULL DEFAULT 0 CHECK (cached_tokens >= 0),
    micro_usd     INTEGER NOT NULL DEFAULT 0 CHECK (micro_usd >= 0),
    PRIMARY KEY (org_id, day, kind, resource_id)
) STRICT, WITHOUT ROWID;

-- The audit log: it carries names as they were, because what it tells of may be gone.
CREATE TABLE audit (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id        TEXT NOT NULL REFERENCES organization (id),
    created_at    INTEGER NOT NULL,
    event_type    TEXT NOT NULL,
    event_data    TEXT NOT NULL CHECK (json_valid(event_data)),
    team_id       TEXT,
    team_name     TEXT,
    actor_type    TEXT NOT NULL CHECK (actor_type IN ('USER', 'API_KEY', 'BASETEN_SYSTEM')),
    actor_user_id TEXT,
    actor_email   TEXT,
    actor_prefix  TEXT,
    actor_key_name TEXT,
    source        TEXT NOT NULL CHECK (source IN ('UI', 'API', 'MCP', 'SYSTEM', 'OTHER')),
    client_name   TEXT,
    client_version TEXT
) STRICT;

CREATE INDEX audit_of_org ON audit (org_id, id);

CREATE TRIGGER audit_updated BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
