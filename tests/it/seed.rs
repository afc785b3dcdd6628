//! A world that is written directly into the database, so that tests of the API do not depend on the API: two
//! organizations with their teams, people, keys and all resources of the teams. People are named after their roles.
//!
//! ```text
//! acme     home (default)   dora member
//!          research         tess admin, max member, crew member
//!          inference        ian member, crew member
//!          empty            nobody, and nothing in it
//!          no team          ada and grace (organization admins), lone
//! globex   globexhome (default), abroad (fern member); fay its only admin, fred in no team
//! solo     solohome (default), teams off; sol and sal admins, sam member
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use guildhall::token::{PlainKey, link_hash};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, named_params};

use crate::test_server::{BEGIN, TestServer};

/// Everybody who calls, by what they are. A key's name is its category and team.
pub struct Keys(BTreeMap<&'static str, PlainKey>);

impl Keys {
    pub fn text(&self, name: &str) -> &str {
        self.of(name).reveal()
    }

    pub fn prefix(&self, name: &str) -> &str {
        self.of(name).prefix()
    }

    fn of(&self, name: &str) -> &PlainKey {
        self.0.get(name).unwrap_or_else(|| panic!("the world has no key named {name}"))
    }
}

/// The world's keys and the files of its data directory, each server a copy of them.
pub struct World {
    pub keys: Keys,
    files: Vec<(&'static str, Vec<u8>)>,
}

pub static WORLD: LazyLock<World> = LazyLock::new(World::build);

/// Open invitations by the text of their links.
pub const LINK_OF_A_NEW_PERSON: &str = "newpersonsinvitation";
/// A link by which crew sets a password.
pub const LINK_OF_A_RESET: &str = "crewsnewpassword";
pub const LINK_OF_FAY: &str = "faysinvitation";

impl World {
    /// A server of its own on this world.
    pub fn server(&self) -> TestServer {
        let data = tempfile::tempdir().expect("a directory for the test");
        for (name, bytes) in &self.files {
            std::fs::write(data.path().join(name), bytes).expect("it can be written");
        }
        TestServer::at(data)
    }

    fn build() -> World {
        let server = TestServer::empty();
        let mut seed = Seed::on(server.data());
        acme(&mut seed);
        globex(&mut seed);
        solo(&mut seed);
        seed.keys.insert("bad", PlainKey::generate(&mut seed.rng)); // well-formed, and nobody's
        let keys = Keys(seed.keys);
        drop(seed.sql);
        let data = server.shut();
        let read = |name| (name, std::fs::read(data.path().join(name)).expect("the server wrote it"));
        World { keys, files: vec![read("guildhall.db"), read("master.key")] }
    }
}

fn acme(seed: &mut Seed) {
    seed.organization("acme", "Acme", "home");
    seed.team("acme", "research", "Research");
    seed.team("acme", "inference", "Inference");
    seed.team("acme", "empty", "Empty");
    for (user, role) in [("ada", "ADMIN"), ("grace", "ADMIN")] {
        seed.person("acme", user, role);
    }
    for user in ["lone", "tess", "max", "ian", "dora", "crew"] {
        seed.person("acme", user, "MEMBER");
    }
    seed.member("acme", "research", "tess", "ADMIN");
    seed.member("acme", "research", "max", "MEMBER");
    seed.member("acme", "inference", "ian", "MEMBER");
    seed.member("acme", "home", "dora", "MEMBER");
    for team in ["research", "inference", "home"] {
        seed.member("acme", team, "crew", "MEMBER");
        seed.belongings("acme", team);
    }
    seed.key("manage-all", "acme", "WORKSPACE_MANAGE_ALL", Some("research"));
    seed.key("invoke", "acme", "WORKSPACE_INVOKE", Some("research"));
    seed.key("metrics", "acme", "WORKSPACE_EXPORT_METRICS", Some("research"));
    seed.key("spare", "acme", "WORKSPACE_INVOKE", Some("research"));
    seed.key("inference-manage-all", "acme", "WORKSPACE_MANAGE_ALL", Some("inference"));
    seed.key("inference-spare", "acme", "WORKSPACE_INVOKE", Some("inference"));
    seed.key("home-manage-all", "acme", "WORKSPACE_MANAGE_ALL", Some("home"));
    seed.key("home-spare", "acme", "WORKSPACE_INVOKE", Some("home"));
    seed.key("key-manager", "acme", "WORKSPACE_MANAGE_API_KEYS", None);
    seed.key("spare-key-manager", "acme", "WORKSPACE_MANAGE_API_KEYS", None);
    seed.key("to-environments", "acme", "WORKSPACE_MANAGE_ALL", Some("research"));
    seed.narrow_to_environments("to-environments", &["preview", "trial"]);
    seed.key("to-model", "acme", "WORKSPACE_EXPORT_METRICS", Some("research"));
    seed.narrow_to_model("to-model", "acme", "research", "researchmodel");
    seed.invitation("acme", "pending", "pending@acme.example", "linkofpending", "ada", &["research"]);
    seed.invitation("acme", "newperson", "new@acme.example", LINK_OF_A_NEW_PERSON, "ada", &["research"]);
    seed.password_reset("acme", "crew", LINK_OF_A_RESET, "ada");
    seed.invitation("acme", "forfay", "fay@example.com", LINK_OF_FAY, "ada", &[]);
    seed.invitation("acme", "accepted", "crew@example.com", "linkofaccepted", "ada", &[]);
    seed.invitation("acme", "revoked", "revoked@acme.example", "linkofrevoked", "ada", &[]);
    seed.run("UPDATE invitation SET accepted_at = created_at WHERE id = 'accepted'");
    seed.run("UPDATE invitation SET revoked_at = created_at WHERE id = 'revoked'");
}

fn globex(seed: &mut Seed) {
    seed.organization("globex", "Globex", "globexhome");
    seed.team("globex", "abroad", "Abroad");
    seed.person("globex", "fay", "ADMIN");
    for user in ["fred", "fern"] {
        seed.person("globex", user, "MEMBER");
    }
    seed.member("globex", "abroad", "fern", "MEMBER");
    seed.belongings("globex", "globexhome");
    seed.belongings("globex", "abroad");
    seed.key("abroad-manage-all", "globex", "WORKSPACE_MANAGE_ALL", Some("abroad"));
    seed.key("abroad-spare", "globex", "WORKSPACE_INVOKE", Some("abroad"));
    seed.invitation("globex", "theirs", "theirs@globex.example", "linkoftheirs", "fay", &[]);
}

fn solo(seed: &mut Seed) {
    seed.organization("solo", "Solo", "solohome");
    seed.run("UPDATE organization SET teams_enabled = 0 WHERE id = 'solo'");
    for user in ["sol", "sal"] {
        seed.person("solo", user, "ADMIN");
    }
    seed.person("solo", "sam", "MEMBER");
    seed.member("solo", "solohome", "sam", "MEMBER");
    seed.belongings("solo", "solohome");
}

/// Writes rows. Ids are what the rows are called.
pub struct Seed {
    sql: Connection,
    rng: StdRng,
    keys: BTreeMap<&'static str, PlainKey>,
}

impl Seed {
    pub fn on(data: &Path) -> Seed {
        let sql = open(data);
        Seed { sql, rng: StdRng::from_seed([11; 32]), keys: BTreeMap::new() }
    }

    pub fn run(&self, sql: &str) {
        self.sql.execute(sql, []).unwrap_or_else(|cause| panic!("{cause}: {sql}"));
    }

    fn organization(&self, org: &str, name: &str, default_team: &str) {
        self.sql
            .execute(
                "INSERT INTO organization (id, name, name_key, teams_enabled, created_at)
                 VALUES (:org, :name, :name_key, 1, :now)",
                named_params! { ":org": org, ":name": name, ":name_key": name.to_lowercase(), ":now": BEGIN },
            )
            .unwrap();
        self.insert_team(org, default_team, "Default", true);
    }

    fn team(&self, org: &str, team: &str, name: &str) {
        self.insert_team(org, team, name, false);
    }

    fn insert_team(&self, org: &str, team: &str, name: &str, is_default: bool) {
        self.sql
            .execute(
                "INSERT INTO team (id, org_id, name, name_key, is_default, created_at)
                 VALUES (:team, :org, :name, :name_key, :is_default, :now)",
                named_params! {
                    ":team": team, ":org": org, ":name": name, ":name_key": name.to_lowercase(),
                    ":is_default": is_default, ":now": BEGIN,
                },
            )
            .unwrap();
    }

    /// A person with a personal key of their own name.
    fn person(&mut self, org: &str, user: &'static str, role: &str) {
        self.sql
            .execute(
                "INSERT INTO user (id, email, name, created_at)
                 VALUES (:user, :user || '@example.com', upper(substr(:user, 1, 1)) || substr(:user, 2), :now)",
                named_params! { ":user": user, ":now": BEGIN },
            )
            .unwrap();
        self.sql
            .execute(
                "INSERT INTO org_member (org_id, user_id, role, created_at) VALUES (:org, :user, :role, :now)",
                named_params! { ":org": org, ":user": user, ":role": role, ":now": BEGIN },
            )
            .unwrap();
        self.insert_key(user, org, "PERSONAL", Some(user), None);
        self.session(org, user);
    }

    /// A session that lasts longer than any test.
    fn session(&self, org: &str, user: &str) {
        self.sql
            .execute(
                "INSERT INTO session (id, token_hash, org_id, user_id, roles_hash, signed_in_at, created_at, last_seen_at,
                                      expires_at, user_agent)
                 VALUES ('session_' || :user, :hash, :org, :user, zeroblob(32), :now, :now, :now, :expires, 'Browser/1')",
                named_params! {
                    ":user": user, ":hash": link_hash(user), ":org": org, ":now": BEGIN,
                    ":expires": BEGIN.plus_seconds(10 * 366 * 24 * 3600),
                },
            )
            .unwrap();
    }

    fn member(&self, org: &str, team: &str, user: &str, role: &str) {
        self.sql
            .execute(
                "INSERT INTO team_member (org_id, team_id, user_id, role, created_at)
                 VALUES (:org, :team, :user, :role, :now)",
                named_params! { ":org": org, ":team": team, ":user": user, ":role": role, ":now": BEGIN },
            )
            .unwrap();
    }

    fn key(&mut self, name: &'static str, org: &str, category: &str, team: Option<&str>) {
        self.insert_key(name, org, category, None, team);
    }

    /// Its use was noted just now, so that a test that only reads writes nothing.
    fn insert_key(&mut self, name: &'static str, org: &str, category: &str, user: Option<&str>, team: Option<&str>) {
        let key = PlainKey::generate(&mut self.rng);
        self.sql
            .execute(
                "INSERT INTO api_key (hash, prefix, org_id, category, user_id, team_id, name, created_at, last_used_at)
                 VALUES (:hash, :prefix, :org, :category, :user, :team, :name, :now, :now)",
                named_params! {
                    ":hash": key.hash(), ":prefix": key.prefix(), ":org": org, ":category": category, ":user": user,
                    ":team": team, ":name": name, ":now": BEGIN,
                },
            )
            .unwrap();
        self.keys.insert(name, key);
    }

    fn narrow_to_environments(&self, name: &str, environments: &[&str]) {
        let prefix = self.keys[name].prefix();
        self.sql.execute("UPDATE api_key SET narrowed_to_environments = 1 WHERE prefix = ?1", [prefix]).unwrap();
        for environment in environments {
            self.sql
                .execute("INSERT INTO api_key_environment (prefix, environment) VALUES (?1, ?2)", [prefix, environment])
                .unwrap();
        }
    }

    fn narrow_to_model(&self, name: &str, org: &str, team: &str, model: &str) {
        let prefix = self.keys[name].prefix();
        self.sql.execute("UPDATE api_key SET narrowed_to_models = 1 WHERE prefix = ?1", [prefix]).unwrap();
        self.sql
            .execute(
                "INSERT INTO api_key_model (prefix, model_id, org_id, team_id) VALUES (?1, ?2, ?3, ?4)",
                [prefix, model, org, team],
            )
            .unwrap();
    }

    /// What each team has: a secret, a model and a Chain with deployments in and out of environments, a training project with
    /// a job that waits, two restricted environments, of which its Chain has `guarded` and nobody `staging`, and a day of
    /// usage. An id is the team's with what it is; what is of a chainlet goes by its deployment's with its own.
    fn belongings(&self, org: &str, team: &str) {
        let rows = "
            INSERT INTO secret (team_id, lookup, org_id, id, name, version, created_at, updated_at)
                VALUES (:team, 'token', :org, :team || 'secret', 'Token', 1, :now, :now);
            INSERT INTO secret_value (secret_id, sealed) VALUES (:team || 'secret', x'00');
            INSERT INTO model (id, org_id, team_id, name, instance_type, published, created_at)
                VALUES (:team || 'model', :org, :team, 'llama', '1x2', 5, :now);
            INSERT INTO model_environment (model_id, name, org_id, team_id, created_at)
                VALUES (:team || 'model', 'production', :org, :team, :now);
            INSERT INTO model_environment (model_id, name, org_id, team_id, created_at)
                VALUES (:team || 'model', 'preview', :org, :team, :now), (:team || 'model', 'trial', :org, :team, :now);
            INSERT INTO upload (s3_key, org_id, api_key_prefix, hash, bytes, uploaded_at, taken_at)
                VALUES ('models/' || :team, :org, 'guild_somebody', zeroblob(32), 0, :now, :now);
            INSERT INTO deployment (id, org_id, team_id, model_id, name, number, status, environment, candidate_for, cleanup,
                                    config, instance_type, autoscaling, backpressure, s3_key, truss_hash, truss_signature,
                                    created_by, created_at, updated_at)
                SELECT :team || json_extract(value, '$[0]'), :org, :team, :team || 'model', json_extract(value, '$[0]'),
                       json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
                       json_extract(value, '$[4]'), iif(json_extract(value, '$[4]') IS NULL, NULL, 'KEEP'),
                       '{}', '1x2', '{\"min_replica\":0,\"max_replica\":1,\"autoscaling_window\":60,\"scale_down_delay\":900,\"concurrency_target\":1,\"target_utilization_percentage\":70}', 'QUEUE_ON_FULL',
                       'models/' || :team, 'hash',
                       '{\"content_hashes_by_path\":{},\"config\":\"\",\"requirements_file_requirements\":[]}',
                       'guild_somebody', :now, :now
                FROM json_each('[[\"development\", 0, \"ACTIVE\", null, null], [\"first\", 1, \"ACTIVE\", \"production\", null],
                                 [\"idle\", 2, \"ACTIVE\", null, null], [\"second\", 3, \"ACTIVE\", \"preview\", null],
                                 [\"third\", 4, \"ACTIVE\", \"trial\", null], [\"waiting\", 5, \"BUILDING\", null, \"trial\"]]');
            INSERT INTO environment_group (team_id, name, org_id, is_restricted, created_at)
                VALUES (:team, 'guarded', :org, 1, :now);
            INSERT INTO chain (id, org_id, team_id, name, published, created_at)
                VALUES (:team || 'chain', :org, :team, 'rag', 4, :now);
            INSERT INTO chain_environment (chain_id, name, org_id, team_id, created_at)
                SELECT :team || 'chain', value, :org, :team, :now
                FROM json_each('[\"production\", \"preview\", \"trial\", \"guarded\"]');
            INSERT INTO upload (s3_key, org_id, api_key_prefix, hash, bytes, uploaded_at, taken_at)
                VALUES ('chains/' || :team, :org, 'guild_somebody', zeroblob(32), 0, :now, :now);
            INSERT INTO chain_deployment (id, org_id, team_id, chain_id, name, number, environment, candidate_for, cleanup,
                                          s3_key, created_by, created_at)
                SELECT :team || 'chain' || json_extract(value, '$[0]'), :org, :team, :team || 'chain',
                       json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
                       json_extract(value, '$[3]'), iif(json_extract(value, '$[3]') IS NULL, NULL, 'KEEP'),
                       'chains/' || :team, 'guild_somebody', :now
                FROM json_each('[[\"development\", 0, null, null], [\"first\", 1, \"production\", null],
                                 [\"idle\", 2, null, null], [\"second\", 3, \"preview\", null],
                                 [\"waiting\", 4, null, \"preview\"]]');
            INSERT INTO model (id, org_id, team_id, chain_id, name, instance_type, published, created_at)
                SELECT chain_deployment.id || part.value || 'model', :org, :team, :team || 'chain', part.value || '-' || chain_deployment.name, '1x2',
                       number > 0, :now
                FROM chain_deployment
                JOIN json_each('[\"hello\", \"randint\"]') AS part
                WHERE team_id = :team;
            INSERT INTO deployment (id, org_id, team_id, model_id, name, number, status, config, instance_type, autoscaling,
                                    backpressure, s3_key, truss_hash, truss_signature, created_by, created_at, updated_at)
                SELECT model.id || 'run', :org, :team, model.id, iif(model.published, 'deployment-1', 'development'),
                       model.published, iif(model.name GLOB '*-waiting', 'BUILDING', 'ACTIVE'), '{}', '1x2', autoscaling,
                       'QUEUE_ON_FULL', s3_key, truss_hash, truss_signature, 'guild_somebody', :now, :now
                FROM model
                JOIN deployment ON deployment.id = :team || 'idle'
                WHERE model.chain_id = :team || 'chain';
            INSERT INTO chainlet (id, org_id, team_id, chain_deployment_id, place, name, model_id, deployment_id)
                SELECT chain_deployment.id || part.value, :org, :team, chain_deployment.id, part.key,
                       iif(part.key, 'RandInt', 'Hello'), chain_deployment.id || part.value || 'model',
                       chain_deployment.id || part.value || 'modelrun'
                FROM chain_deployment
                JOIN json_each('[\"hello\", \"randint\"]') AS part
                WHERE team_id = :team;
            INSERT INTO training_project (id, org_id, team_id, name, created_at, updated_at)
                VALUES (:team || 'project', :org, :team, 'tune', :now, :now);
            INSERT INTO training_job (id, org_id, team_id, project_id, status, priority, availability, nodes, cpus,
                                      memory_mib, gpu_type, gpu_count, spec, created_by, created_at, updated_at)
                VALUES (:team || 'job', :org, :team, :team || 'project', 'TRAINING_JOB_PENDING', 0, 'dedicated', 1, 1,
                        2048, 'H100', 1, '{\"image\":{\"base_image\":\"python\"}}', 'crew', :now, :now);
            INSERT INTO environment_group (team_id, name, org_id, is_restricted, created_at)
                VALUES (:team, 'staging', :org, 1, :now);
            INSERT INTO usage (org_id, day, kind, resource_id, resource_name, team_id, team_name, instance_type, minutes,
                               micro_usd)
                VALUES (:org, '2026-10-31', 'MODEL_DEPLOYMENT', :team || 'model', 'llama', :team,
                        (SELECT name FROM team WHERE id = :team), '1x2', 60, 1000000);
        ";
        for statement in rows.split(';').filter(|statement| !statement.trim().is_empty()) {
            let values: &[(&str, &dyn rusqlite::ToSql)] = &[(":team", &team), (":org", &org), (":now", &BEGIN)];
            let mut insert = self.sql.prepare(statement).unwrap();
            let named = values.iter().filter(|(name, _)| statement.contains(name)).copied();
            insert.execute(&*named.collect::<Vec<_>>()).unwrap_or_else(|cause| panic!("{cause}: {statement}"));
        }
    }

    fn password_reset(&self, org: &str, user: &str, link: &str, by: &str) {
        self.sql
            .execute(
                "INSERT INTO password_reset (token_hash, user_id, org_id, made_by, made_with, created_at, expires_at)
                 VALUES (:hash, :user, :org, :by, :with, :now, :expires)",
                named_params! {
                    ":hash": link_hash(link), ":user": user, ":org": org, ":by": by,
                    ":with": self.keys[by].prefix(), ":now": BEGIN, ":expires": BEGIN.plus_seconds(24 * 3600),
                },
            )
            .unwrap();
    }

    fn invitation(&self, org: &str, id: &str, email: &str, link: &str, by: &str, teams: &[&str]) {
        self.sql
            .execute(
                "INSERT INTO invitation (id, org_id, email, role, token_hash, invited_by, created_at, expires_at)
                 VALUES (:id, :org, :email, 'MEMBER', :hash, :by, :now, :expires)",
                named_params! {
                    ":id": id, ":org": org, ":email": email, ":hash": link_hash(link), ":by": by, ":now": BEGIN,
                    ":expires": BEGIN.plus_seconds(7 * 24 * 3600),
                },
            )
            .unwrap();
        for team in teams {
            self.sql
                .execute(
                    "INSERT INTO invitation_team (invitation_id, org_id, team_id, role) VALUES (:id, :org, :team, 'MEMBER')",
                    named_params! { ":id": id, ":org": org, ":team": team },
                )
                .unwrap();
        }
    }
}

/// A second connection to the database of a data directory, as strict as the server's own.
pub fn open(data: &Path) -> Connection {
    let sql = Connection::open(data.join("guildhall.db")).unwrap();
    sql.execute_batch("PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON; PRAGMA busy_timeout = 5000;").unwrap();
    sql
}
