//! How much may a team use, and what is the reply when a quota is used up?

use guildhall::db::quotas::UNCHARGED;
use guildhall::domain::quotas::Settings;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::org::{Org, Someone, Teams, refused_untouched};
use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::text;

mod disk;
mod unchanged;

const MINUTE: i64 = 60;

/// Tables whose rows tell by another's whose they are.
const CHARGED_TO_A_PARENT: &[&str] = &[
    "api_key_environment",
    "chainlet_setting",
    "deployment_log",
    "deployment_patch",
    "secret_value",
    "training_cache_file",
    "training_checkpoint",
    "training_checkpoint_file",
    "training_job_artifact",
    "training_job_event",
    "training_job_log",
    "training_job_sample",
];

/// What the team has used of a quota, and what it is allowed.
fn quota(org: &Org, team: &str, name: &str) -> (u64, u64) {
    let listed = org.get(&org.founder, &format!("/v1/teams/{team}/quotas")).ok();
    let item = listed["items"].as_array().unwrap().iter().find(|item| item["name"] == name).expect(name).clone();
    (item["used"].as_u64().unwrap(), item["allowed"].as_u64().unwrap())
}

fn secret(name: &str, bytes: usize) -> Value {
    json!({ "name": name, "value": "x".repeat(bytes) })
}

/// A training job whose specification takes about so many bytes.
fn job(bytes: usize) -> Value {
    json!({ "training_job": {
        "image": { "base_image": "python:3.11" },
        "runtime": { "start_commands": ["x".repeat(bytes)] },
    } })
}

fn project(org: &Org, by: &Someone, team: &str) -> String {
    let made =
        org.post(by, &format!("/v1/teams/{team}/training_projects"), json!({ "training_project": { "name": "p" } }));
    text(&made.ok()["training_project"]["id"])
}

fn wait(server: &TestServer, seconds: i64) {
    server.now.set(server.now.get().plus_seconds(seconds));
}

/// The numbers as the writer keeps them.
fn usage(sql: &Connection) -> Vec<String> {
    let read = |query: &str| {
        let mut rows = sql.prepare(query).unwrap();
        let number = |row: &rusqlite::Row| {
            let (id, bytes, rows, archives): (String, i64, i64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(format!("{id}: {bytes} bytes, {rows} rows, {archives} bytes of archives"))
        };
        rows.query_map([], number).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let columns = "database_bytes, database_rows, archive_bytes";
    let mut usage = read(&format!("SELECT team_id, {columns} FROM team_usage ORDER BY team_id"));
    usage.extend(read(&format!("SELECT org_id, {columns} FROM organization_usage ORDER BY org_id")));
    usage
}

/// Closes the server, lets everything be counted anew, and compares.
pub fn assert_exact(server: TestServer) {
    let kept = usage(&server.sql());
    let data = server.shut();
    let sql = Connection::open(data.path().join("guildhall.db")).unwrap();
    sql.execute_batch("DELETE FROM accounting").unwrap();
    drop(sql);
    let server = TestServer::at(data);
    assert_eq!(kept, usage(&server.sql()));
}

/// The world, with what was written into it counted.
fn counted_world() -> TestServer {
    let server = WORLD.server();
    server.sql().execute_batch("DELETE FROM accounting").unwrap();
    TestServer::at(server.shut())
}

#[test]
fn a_team_sees_what_it_uses_and_may_use() {
    let server = TestServer::with_quotas(Settings { database_bytes: 1 << 20, ..Settings::default() });
    let org = Org::new(&server, "acme", Teams::On);
    let (research, inference) = (org.team("Research"), org.team("Inference"));
    let (before, allowed) = quota(&org, &research, "database_bytes");
    let (rows, _) = quota(&org, &research, "database_rows");
    let (others, _) = quota(&org, &inference, "database_bytes");
    assert_eq!(allowed, 1 << 20);
    org.post(&org.founder, &format!("/v1/teams/{research}/secrets"), secret("token", 10_000)).ok();
    let (after, _) = quota(&org, &research, "database_bytes");
    assert!((10_000..30_000).contains(&(after - before)), "{before} {after}");
    assert_eq!(quota(&org, &research, "database_rows").0, rows + 3, "the secret, its value and the entry");
    assert_eq!(quota(&org, &inference, "database_bytes").0, others);
    let listed = org.get(&org.founder, &format!("/v1/teams/{research}/quotas")).ok();
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "database_bytes",
            "database_rows",
            "archive_bytes",
            "uploads_in_progress",
            "upload_files_in_progress",
            "upload_bytes_in_progress",
            "deployments_in_progress",
            "training_jobs_in_progress",
            "async_requests",
            "organization_archive_bytes",
            "organization_disk_bytes",
        ]
    );
}

#[test]
fn past_a_quota_a_write_is_refused_with_what_is_used_and_allowed() {
    let server = TestServer::with_quotas(Settings { database_bytes: 200_000, ..Settings::default() });
    let org = Org::new(&server, "acme", Teams::On);
    let (research, inference) = (org.team("Research"), org.team("Inference"));
    let max = org.person("max", "MEMBER", json!([{ "team_id": research, "role": "MEMBER" }]));
    let secrets = format!("/v1/teams/{research}/secrets");
    let fitted =
        (0..10).take_while(|at| org.post(&max, &secrets, secret(&format!("s{at}"), 50_000)).status == 200).count();
    assert!((2..=3).contains(&fitted), "{fitted}");
    wait(&server, 2 * MINUTE); // the refusal before was noted
    let used = quota(&org, &research, "database_bytes").0;
    let last = org.last_entry();
    let refused = org.post(&max, &secrets, secret("more", 60_000)).refused(429, "QUOTA_EXCEEDED");
    let details =
        json!({ "team_id": research, "name": "database_bytes", "used": used, "allowed": 200_000, "unit": "bytes" });
    assert_eq!(refused["details"], details);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("database_bytes") && message.contains("200000"), "{message}");
    assert_eq!(org.events_since(last), ["QUOTA_EXCEEDED"]);
    // Once a minute.
    org.post(&max, &secrets, secret("more", 60_000)).refused(429, "QUOTA_EXCEEDED");
    assert_eq!(org.events_since(last), ["QUOTA_EXCEEDED"]);
    wait(&server, MINUTE);
    org.post(&max, &secrets, secret("more", 60_000)).refused(429, "QUOTA_EXCEEDED");
    assert_eq!(org.events_since(last), ["QUOTA_EXCEEDED"; 2]);
    // What is small fits, what is another team's is not its concern, and what is deleted makes room.
    org.post(&org.founder, &format!("/v1/teams/{inference}/secrets"), secret("more", 60_000)).ok();
    org.delete(&max, &format!("{secrets}/s0")).ok();
    org.post(&max, &secrets, secret("s0", 50_000)).ok();
    assert_exact(server);
}

/// The path and the body of the write with this number.
type Growing<'a> = &'a dyn Fn(usize) -> (String, Value);

#[test]
fn every_way_to_grow_is_counted() {
    let server = TestServer::with_quotas(Settings { database_bytes: 120_000, ..Settings::default() });
    let org = Org::new(&server, "acme", Teams::On);
    let team = org.team("Research");
    let jobs = format!("/v1/training_projects/{}/jobs", project(&org, &org.founder, &team));
    let grow: &[(&str, Growing)] = &[
        ("training jobs", &|_| (jobs.clone(), job(20_000))),
        ("secrets", &|at| (format!("/v1/teams/{team}/secrets"), secret(&format!("s{at}"), 5_000))),
        ("keys", &|at| {
            (format!("/v1/teams/{team}/api_keys"), json!({ "type": "WORKSPACE_INVOKE", "name": format!("k{at}") }))
        }),
        ("groups", &|at| {
            let access = json!({ "is_restricted": true });
            (
                format!("/v1/teams/{team}/environment_groups"),
                json!({ "name": format!("g{at}"), "manage_access": access }),
            )
        }),
        ("projects", &|at| {
            (format!("/v1/teams/{team}/training_projects"), json!({ "training_project": { "name": format!("p{at}") } }))
        }),
    ];
    for (what, body) in grow {
        let refused =
            (0..2000).map(&body).map(|(target, body)| org.post(&org.founder, &target, body)).find(|a| a.status != 200);
        refused.expect(what).refused(429, "QUOTA_EXCEEDED");
    }
    assert!(quota(&org, &team, "database_bytes").0 <= 121_000);
}

#[test]
fn revoking_removing_and_deleting_are_refused_by_no_quota() {
    let server = TestServer::with_quotas(Settings {
        database_bytes: 60_000,
        growth_bytes_per_hour: 150_000,
        ..Settings::default()
    });
    let org = Org::new(&server, "acme", Teams::On);
    let team = org.team("Research");
    let max = org.person("max", "MEMBER", json!([{ "team_id": team, "role": "ADMIN" }]));
    let key = text(
        &org.post(&max, &format!("/v1/teams/{team}/api_keys"), json!({ "type": "WORKSPACE_MANAGE_ALL" })).ok()["api_key"],
    );
    let key = Someone { id: key.split('.').next().unwrap().to_owned(), key };
    let project = project(&org, &key, &team);
    while org.post(&key, &format!("/v1/training_projects/{project}/jobs"), job(10_000)).status == 200 {}
    for at in 0.. {
        if org.post(&key, &format!("/v1/teams/{team}/secrets"), secret(&format!("s{at}"), 1)).status != 200 {
            break;
        }
    }
    // Neither bytes nor growth are left.
    while org.patch(&org.founder, "/v1/users/me", json!({ "name": "x".repeat(100) })).status == 200
        && org.patch(&org.founder, "/v1/users/me", json!({ "name": "y".repeat(100) })).status == 200
    {}
    org.delete(&org.founder, &format!("/v1/api_keys/{}", key.id)).ok();
    org.patch(&org.founder, &format!("/v1/teams/{team}/members/{}", max.id), json!({ "role": "MEMBER" })).ok();
    org.delete(&org.founder, &format!("/v1/teams/{team}/members/{}", max.id)).ok();
    org.delete(&org.founder, &format!("/v1/users/{}", max.id)).ok();
    org.delete(&org.founder, &format!("/v1/training_projects/{project}")).ok();
    org.delete(&org.founder, &format!("/v1/teams/{team}?force=true")).ok();
}

#[test]
fn what_a_caller_makes_the_database_grow_is_limited_in_bytes_an_hour_and_not_in_requests() {
    let server = TestServer::with_quotas(Settings { growth_bytes_per_hour: 300_000, ..Settings::default() });
    let org = Org::new(&server, "acme", Teams::On);
    let team = org.team("Research");
    let (lone, max) = (org.person("lone", "MEMBER", json!([])), org.person("max", "MEMBER", json!([])));
    let rename = |who: &Someone, at: usize| org.patch(who, "/v1/users/me", json!({ "name": format!("name {at}") }));
    // A person in no team, with one key and with another.
    let many = (0..5000).find(|at| rename(&lone, *at).status != 200).expect("it is limited");
    assert!(many > 300, "{many}");
    let refused = refused_untouched(&server, 429, "RATE_LIMITED", || rename(&lone, many));
    let retry_after = refused["retry_after"].as_u64().unwrap();
    assert!((1..=60).contains(&retry_after), "{refused}");
    wait(&server, i64::try_from(retry_after).unwrap() + 1);
    rename(&lone, many).ok();
    rename(&max, 1).ok();
    // Two keys of one team share what the team may.
    let (one, other) =
        (org.key_of("WORKSPACE_MANAGE_ALL", Some(&team)), org.key_of("WORKSPACE_MANAGE_ALL", Some(&team)));
    let secrets = format!("/v1/teams/{team}/secrets");
    let set = |by: &Someone, at: usize| org.post(by, &secrets, secret(&format!("s{at}"), 60_000));
    let many = (0..10).find(|at| set(&one, *at).status != 200).expect("it is limited");
    assert!((3..=4).contains(&many), "{many}");
    set(&other, 20).refused(429, "RATE_LIMITED");
    // What comes and goes has come.
    let inference = org.team("Inference");
    let key = org.key_of("WORKSPACE_MANAGE_ALL", Some(&inference));
    let secrets = format!("/v1/teams/{inference}/secrets");
    let rounds = (0..10).take_while(|_| {
        let set = org.post(&key, &secrets, secret("s", 60_000)).status == 200;
        set && org.delete(&key, &format!("{secrets}/s")).status == 200
    });
    assert!((3..=4).contains(&rounds.count()));
}

#[test]
fn work_in_progress_is_counted_and_what_ends_makes_room() {
    let server = TestServer::with_quotas(Settings {
        training_jobs_in_progress: 2,
        deployments_in_progress: 2,
        ..Settings::default()
    });
    let org = Org::new(&server, "acme", Teams::On);
    let team = org.team("Research");
    let jobs = format!("/v1/training_projects/{}/jobs", project(&org, &org.founder, &team));
    let first = text(&org.post(&org.founder, &jobs, job(1)).ok()["training_job"]["id"]);
    org.post(&org.founder, &jobs, job(1)).ok();
    let refused = org.post(&org.founder, &jobs, job(1)).refused(429, "QUOTA_EXCEEDED");
    assert_eq!(refused["details"]["name"], "training_jobs_in_progress");
    assert_eq!((&refused["details"]["used"], &refused["details"]["allowed"]), (&json!(2), &json!(2)));
    org.post(&org.founder, &format!("{jobs}/{first}/stop"), json!({})).ok();
    org.post(&org.founder, &jobs, job(1)).ok();
    assert_eq!(quota(&org, &team, "training_jobs_in_progress"), (2, 2));
}

/// Every table is charged to somebody, or stands among those that nobody is charged for.
#[test]
fn every_table_is_charged_or_known_not_to_be() {
    let server = TestServer::empty();
    let sql = server.sql();
    for table in UNCHARGED {
        let there: bool = sql
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)",
                [table],
                |row| row.get(0),
            )
            .unwrap();
        assert!(there, "{table}");
    }
    let mut query = sql
        .prepare(
            "SELECT name FROM sqlite_schema
             WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
               AND NOT EXISTS (SELECT 1 FROM pragma_table_info(sqlite_schema.name) WHERE name = 'org_id')",
        )
        .unwrap();
    let without_owner = query.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    let stray: Vec<String> = without_owner
        .filter(|table| !UNCHARGED.contains(&table.as_str()) && !CHARGED_TO_A_PARENT.contains(&table.as_str()))
        .collect();
    assert!(stray.is_empty(), "nobody is charged for {stray:?}");
}

/// The numbers follow what is written and deleted, by whatever way it goes.
#[test]
fn the_numbers_are_exact_after_deletes() {
    let server = counted_world();
    let send = |who: &str, method: &str, target: &str, body: Option<Value>| {
        server.send(Some(WORLD.keys.text(who)), method, target, body).ok()
    };
    for (team, who) in [("research", "max"), ("inference", "ian")] {
        send(who, "POST", &format!("/v1/teams/{team}/secrets"), Some(secret("long", 30_000)));
        send(who, "POST", &format!("/v1/teams/{team}/secrets"), Some(secret("short", 10)));
        send(who, "POST", &format!("/v1/teams/{team}/secrets"), Some(secret("long", 20)));
    }
    send("max", "POST", "/v1/training_projects/researchproject/jobs", Some(job(50_000)));
    send("max", "DELETE", "/v1/teams/research/secrets/short", None);
    send("ada", "DELETE", "/v1/training_projects/researchproject", None);
    send("ada", "DELETE", "/v1/models/researchmodel", None);
    send("ada", "DELETE", "/v1/users/crew", None);
    send("ada", "DELETE", "/v1/teams/inference?force=true", None);
    send("ada", "DELETE", "/v1/chains/researchchain", None);
    assert_exact(server);
}

/// What is counted is close to what the file takes.
#[test]
fn the_numbers_are_close_to_the_pages_of_the_file() {
    for (bytes, rows) in [(20, 1500), (1500, 300), (5_000, 150), (60_000, 30)] {
        let server = TestServer::empty();
        let org = Org::new(&server, "acme", Teams::On);
        let team = org.team("Research");
        let pages = |server: &TestServer| {
            server.sql().query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap() as u64
        };
        let (before, counted) = (pages(&server), quota(&org, &team, "database_bytes").0);
        for at in 0..rows {
            org.post(&org.founder, &format!("/v1/teams/{team}/secrets"), secret(&format!("s{at}"), bytes)).ok();
        }
        let counted = quota(&org, &team, "database_bytes").0 - counted;
        let taken = (pages(&server) - before) * 4096;
        assert!(counted * 10 >= taken * 8 && counted <= taken * 2, "{bytes}: counted {counted}, taken {taken}");
    }
}
