-- The members of a team are stored together, in the order in which they are listed: a list reads its own team only, however
-- many people the organization has. What a person is in each team is read with every request, from an index that holds the
-- role too.
--
-- The grants on restricted environments refer to memberships, so that table is made again as well.

CREATE TABLE new_team_member (
    org_id     TEXT NOT NULL,
    team_id    TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (org_id, team_id, user_id),
    FOREIGN KEY (org_id, team_id) REFERENCES team (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id) REFERENCES org_member (org_id, user_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE new_environment_group_user (
    team_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    org_id  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (team_id, name, user_id),
    FOREIGN KEY (org_id, team_id, name) REFERENCES environment_group (org_id, team_id, name) ON DELETE CASCADE,
    FOREIGN KEY (org_id, team_id, user_id) REFERENCES new_team_member (org_id, team_id, user_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO new_team_member (org_id, team_id, user_id, role, created_at)
SELECT org_id, team_id, user_id, role, created_at
FROM team_member
ORDER BY org_id, team_id, user_id;

INSERT INTO new_environment_group_user (team_id, name, org_id, user_id)
SELECT team_id, name, org_id, user_id
FROM environment_group_user
ORDER BY team_id, name, user_id;

-- The referring table goes first: dropping a table deletes its rows, and what refers to them.
DROP TABLE environment_group_user;
DROP TABLE team_member;
ALTER TABLE new_team_member RENAME TO team_member;
ALTER TABLE new_environment_group_user RENAME TO environment_group_user;

CREATE INDEX team_member_of_user ON team_member (org_id, user_id, team_id, role);
CREATE INDEX team_member_of_role ON team_member (org_id, team_id, role);
CREATE INDEX environment_group_user_of_member ON environment_group_user (org_id, team_id, user_id);

-- Lists of an organization's teams: the default team first, then by name.
CREATE INDEX team_in_order ON team (org_id, is_default DESC, name_key);

-- Lists of the deployments of a model and of a Chain: the newest first.
CREATE INDEX deployment_in_order ON deployment (model_id, created_at DESC, number DESC);
CREATE INDEX chain_deployment_in_order ON chain_deployment (chain_id, created_at DESC, number DESC);
