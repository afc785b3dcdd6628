//! Does the cost of a read depend only on its reply, and not on the amount of other data?
//!
//! Every statement that a reading route runs is recorded when SQLite runs it, so no new list can be forgotten. Its
//! query plan is read on a database in which the same organization has many more teams, people and resources. Its cost
//! there, in steps of SQLite's virtual machine, is compared with its cost in the small database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use guildhall::api::refusal::Api;
use guildhall::api::route::Route;
use guildhall::api::routes;
use rusqlite::{Connection, named_params};

use crate::seed::{self, WORLD};
use crate::test_server::TestServer;
use recorder::{Recorder, Statement};

mod recorder;

/// Who asks: what a list reads depends on what its caller is.
const CALLERS: &[&str] = &["ada", "tess", "max", "manage-all", "key-manager"];
const TEAMS_MORE: usize = 100;
const PEOPLE_MORE: usize = 1000;
const AUDIT_ENTRIES_MORE: usize = 3000;
/// How much more a reply of the same size may cost beside the others' rows: their trees are deeper.
const GROWTH_MAX: f64 = 1.3;
/// What does not depend on any list.
const STEPS_OF_A_SMALL_REPLY: u64 = 300;

/// Statements that sort: their reply holds every row that is sorted, and its order follows from more than one parent, or is
/// not that of an index. Whatever gives a page at a time is in the order of an index.
const SORTED: &[&str] = &[
    "ORDER BY api_key.created_at DESC, api_key.prefix",
    "ORDER BY chain.created_at DESC, chain.rowid DESC",
    "ORDER BY email",
    "ORDER BY kind, resource_id, day",
    "ORDER BY model.created_at DESC, model.rowid DESC",
    "ORDER BY name <> 'production', name",
    "FROM invitation_team JOIN team ON team.id = invitation_team.team_id",
    "ORDER BY team.name_key, training_capacity.gpu_type",
    "ORDER BY training_job.created_at DESC, training_job.rowid DESC",
    "training_job.gpu_type IS :gpu_type ORDER BY training_job.rowid",
    "ORDER BY training_checkpoint.created_at, training_checkpoint.name",
    "ORDER BY training_job_artifact.place",
    "ORDER BY training_job_event.number",
    "ORDER BY training_project.created_at DESC, training_project.rowid DESC",
];

/// Statements that walk a table: one of a single row, and one that SQLite walks only if statistics tell it that it is tiny.
const WALKED: &[&str] = &["FROM installation", "FROM password_reset WHERE expires_at <= :now"];

/// Routes about all of an organization, whose cost grows with it: its audit log, of which a page reads at most 10,000 entries,
/// and the queue of its jobs.
const OF_THE_ORGANIZATION: &[&str] = &[
    "/v1/models/{model_id}/audit_logs",
    "/v1/chains/{chain_id}/audit_logs",
    "/v1/training/jobs/{training_job_id}/queue_context",
];

#[test]
fn no_list_sorts_or_walks_a_whole_table() {
    let (server, recorder) = large();
    let statements: BTreeSet<String> = asked(&server, &recorder).into_values().flat_map(Run::into_statements).collect();
    assert!(statements.len() > 50, "{} statements", statements.len());
    let sql = seed::open(server.data());
    let mut faults = Vec::new();
    for statistics in ["without", "with"] {
        if statistics == "with" {
            sql.execute_batch("ANALYZE").unwrap();
        }
        for statement in &statements {
            let plan = plan(&sql, statement);
            let sorts = plan.iter().any(|line| line.contains("TEMP B-TREE") || line.contains("AUTOMATIC"));
            let walks = plan.iter().any(|line| walks_a_table(&sql, line));
            let may_sort = is_one_of(SORTED, statement) && !statement.contains(" LIMIT ");
            if sorts && !may_sort || walks && !is_one_of(WALKED, statement) {
                faults.push(format!("{statistics} statistics:\n{statement}\n{plan:#?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} statements\n{}", faults.len(), faults.join("\n\n"));
    for part in SORTED.iter().chain(WALKED) {
        assert!(statements.iter().any(|statement| statement.contains(part)), "no statement contains {part}");
    }
}

fn is_one_of(parts: &[&str], statement: &str) -> bool {
    parts.iter().any(|part| statement.contains(part))
}

#[test]
fn a_reply_costs_as_much_however_much_others_have() {
    let (small, small_recorder) = recorded(WORLD.server());
    let before = asked(&small, &small_recorder);
    let (large, large_recorder) = large();
    let after = asked(&large, &large_recorder);
    let mut faults = Vec::new();
    for (request, large) in after.iter().filter(|(_, run)| !run.is_of_organization) {
        let small = &before[request];
        assert_eq!(small.status, large.status, "{request}");
        let answered = (large.bytes as f64 / small.bytes.max(1) as f64).max(1.0);
        let allowed = small.steps().max(STEPS_OF_A_SMALL_REPLY) as f64 * answered * GROWTH_MAX;
        if large.steps() as f64 > allowed {
            let dearest = large.statements.iter().max_by_key(|statement| statement.steps).expect("it ran some");
            faults.push(format!(
                "{request}: {} steps for {} bytes, and {} for {}: {dearest:?}",
                small.steps(),
                small.bytes,
                large.steps(),
                large.bytes
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What one request ran.
struct Run {
    /// Whether what is asked about is the whole organization.
    is_of_organization: bool,
    status: u16,
    bytes: usize,
    statements: Vec<Statement>,
}

impl Run {
    fn steps(&self) -> u64 {
        self.statements.iter().map(|statement| statement.steps).sum()
    }

    fn into_statements(self) -> Vec<String> {
        self.statements.into_iter().map(|statement| statement.sql).collect()
    }
}

/// Sends every reading route's request as each caller.
fn asked(server: &TestServer, recorder: &Recorder) -> BTreeMap<String, Run> {
    let mut runs = BTreeMap::new();
    let mut unanswered = Vec::new();
    for route in routes::all().filter(|route| !route.writes() && route.is_served()) {
        for caller in CALLERS {
            let request = format!("{} {} as {caller}", route.method, route.template);
            recorder.take();
            let key = Some(WORLD.keys.text(caller));
            let reply = server.reply(key, route.method, &target(route), body(route).into());
            let run = Run {
                is_of_organization: is_of_organization(route, caller),
                status: reply.status,
                bytes: reply.body.len(),
                statements: recorder.take(),
            };
            assert!(run.status < 500, "{request}: {}", run.status);
            runs.insert(request, run);
        }
        let of_route = format!("{} {} as ", route.method, route.template);
        let answered = runs.iter().any(|(request, run)| request.starts_with(&of_route) && run.status == 200);
        if !answered && !NEVER_ANSWERED.contains(&route.template) {
            unanswered.push(of_route);
        }
    }
    assert!(unanswered.is_empty(), "nobody is answered: {unanswered:#?}");
    runs
}

/// An organization admin is in every team, and a key that manages keys is known in every team: a route that names no team, and
/// nothing that is of one, is about all of them.
fn is_of_organization(route: &Route, caller: &str) -> bool {
    let names_a_part = ["{team_id}", "{model_id}", "{chain_id}", "{training_project_id}"];
    let names_none = !names_a_part.iter().any(|part| route.template.contains(part)) && route.api != Api::Inference;
    names_none && ["ada", "key-manager"].contains(&caller) || OF_THE_ORGANIZATION.contains(&route.template)
}

/// What they ask about does not exist here.
const NEVER_ANSWERED: &[&str] = &["/v1/model_apis/{model_api_name}", "/downloads/{token}"];

fn target(route: &Route) -> String {
    let filled: Vec<String> = route.template.split('/').map(filled).collect();
    let callee = match route.template {
        _ if route.api != Api::Inference => "",
        template if template.ends_with("run_remote") => "/chains/researchchain",
        _ => "/models/researchmodel",
    };
    let query = match route.template {
        "/v1/billing/usage_summary" => "?start_date=2026-10-02T00:00:00Z&end_date=2026-11-01T00:00:00Z",
        "/v1/permissions/explain" => "?act=DEPLOY&team_id=research",
        _ => "",
    };
    let path = filled.join("/");
    let path = if callee.starts_with("/chains/") { path.replace("researchidle", "researchchainidle") } else { path };
    format!("{callee}{path}{query}")
}

/// What is asked for: something of the team `research`.
fn filled(part: &str) -> String {
    let id = match part {
        "{team_id}" => "research",
        "{user_id}" => "crew",
        "{secret_name}" => "token",
        "{api_key_prefix}" => WORLD.keys.prefix("spare"),
        "{invitation_id}" => "pending",
        "{env_name}" => "preview",
        "{model_id}" => "researchmodel",
        "{deployment_id}" => "researchidle",
        "{replica_id}" => "researchidlereplica",
        "{chain_id}" => "researchchain",
        "{chain_deployment_id}" => "researchchainidle",
        "{chainlet_id}" => "researchchainidlehello",
        "{training_project_id}" => "researchproject",
        "{training_job_id}" => "researchjob",
        "{model_api_name}" => "nosuchmodelapi",
        "{token}" => "nosuchlink",
        "{request_id}" => "researchrequest",
        "{slug}" => "upstream",
        "{path...}" => "x",
        part if part.starts_with('{') => panic!("say what {part} is here"),
        part => part,
    };
    id.to_owned()
}

fn body(route: &Route) -> &'static str {
    match (route.method, route.template) {
        ("POST", "/v1/prepare_model_upload") => r#"{"name":"new","deployment":{"config":{}}}"#,
        ("POST", "/v1/training_jobs/search") => r#"{"statuses":["TRAINING_JOB_PENDING"]}"#,
        ("POST", "/v1/models/{model_id}/deployments/{deployment_id}/logs") => r#"{"limit":1}"#,
        ("POST", _) => r#"{"start_epoch_millis":0,"end_epoch_millis":1}"#,
        _ => "",
    }
}

// ---- the plans ----

fn plan(sql: &Connection, statement: &str) -> Vec<String> {
    let mut explained = sql.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    let lines = explained.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>();
    lines.unwrap_or_else(|cause| panic!("{cause}: {statement}"))
}

/// Whether a line of a plan reads a table from one end to the other.
fn walks_a_table(sql: &Connection, line: &str) -> bool {
    let Some(name) = line.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next()) else { return false };
    sql.table_exists(None, name).expect("the schema can be read")
}

// ---- the fixtures ----

static LARGE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let data = WORLD.server().shut();
    let sql = Connection::open(data.path().join("guildhall.db")).unwrap();
    sql.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN").unwrap();
    (0..TEAMS_MORE).for_each(|number| copy_team(&sql, &format!("team{number:04}")));
    add_people(&sql);
    add_audit_entries(&sql);
    sql.execute_batch("DELETE FROM accounting; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let broken: i64 = sql.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(broken, 0, "the copies refer to each other");
    data
});

/// The world, in which its organization has many more teams, people and resources.
fn large() -> (TestServer, Recorder) {
    let data = tempfile::tempdir().unwrap();
    for name in ["guildhall.db", "master.key"] {
        std::fs::copy(LARGE.path().join(name), data.path().join(name)).unwrap();
    }
    let recorder = Recorder::of(&data.path().join("guildhall.db"));
    (TestServer::at(data), recorder)
}

fn recorded(server: TestServer) -> (TestServer, Recorder) {
    let data = server.shut();
    let recorder = Recorder::of(&data.path().join("guildhall.db"));
    (TestServer::at(data), recorder)
}

/// Copies the team `inference` and all that belongs to it, by any table's columns: ids there contain the team's.
fn copy_team(sql: &Connection, team: &str) {
    const LEFT_OUT: &[&str] = &["team_usage", "organization_usage", "team_upload", "refinery_schema_history", "usage"];
    // What triggers look up comes first.
    let tables = strings(
        sql,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
         ORDER BY name NOT IN ('upload', 'chain'), rootpage",
    );
    for table in tables.iter().filter(|table| !LEFT_OUT.contains(&table.as_str())) {
        let columns = columns(sql, table);
        let texts = columns.iter().filter(|(_, kind)| kind == "TEXT");
        let is_of_team: Vec<String> = texts.map(|(column, _)| format!("{column} GLOB '*inference*'")).collect();
        let copied: Vec<String> = columns.iter().map(|(column, kind)| copied(table, column, kind)).collect();
        let names: Vec<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
        if !is_of_team.is_empty() {
            let statement = format!(
                "INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE {}",
                names.join(", "),
                copied.join(", "),
                is_of_team.join(" OR ")
            );
            let done = sql.prepare_cached(&statement).unwrap().execute(named_params! { ":team": team });
            done.unwrap_or_else(|cause| panic!("{cause}: {statement}"));
        }
    }
}

fn copied(table: &str, column: &str, kind: &str) -> String {
    match (column, kind) {
        ("hash" | "token_hash", "BLOB") if table != "upload" => "randomblob(32)".to_owned(),
        ("prefix", _) => format!("{column} || :team"),
        ("id", "INTEGER") => "NULL".to_owned(),
        (_, "TEXT") => format!("replace({column}, 'inference', :team)"),
        (_, _) => column.to_owned(),
    }
}

fn columns(sql: &Connection, table: &str) -> Vec<(String, String)> {
    let mut query = sql.prepare_cached("SELECT name, type FROM pragma_table_info(:table) ORDER BY cid").unwrap();
    let columns = query.query_map(named_params! { ":table": table }, |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    columns.map(Result::unwrap).collect()
}

fn strings(sql: &Connection, query: &str) -> Vec<String> {
    sql.prepare(query).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// People of the organization, ten in each of the teams that were added.
fn add_people(sql: &Connection) {
    sql.execute_batch(&format!(
        "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < {PEOPLE_MORE})
         INSERT INTO user (id, email, name, created_at) SELECT 'person' || n, 'person' || n || '@acme.example', 'P', 0 FROM number;
         INSERT INTO org_member (org_id, user_id, role, created_at)
         SELECT 'acme', id, 'MEMBER', 0 FROM user WHERE id GLOB 'person*';
         INSERT INTO team_member (org_id, team_id, user_id, role, created_at)
         SELECT 'acme', printf('team%04d', substr(id, 7) % {TEAMS_MORE}), id, 'MEMBER', 0 FROM user WHERE id GLOB 'person*';"
    ))
    .unwrap();
}

fn add_audit_entries(sql: &Connection) {
    sql.execute_batch(&format!(
        "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < {AUDIT_ENTRIES_MORE})
         INSERT INTO audit (org_id, created_at, event_type, event_data, team_id, team_name, actor_type, source)
         SELECT 'acme', n, 'SECRET_UPDATED', '{{}}', printf('team%04d', n % {TEAMS_MORE}), 'T', 'USER', 'API' FROM number"
    ))
    .unwrap();
}
