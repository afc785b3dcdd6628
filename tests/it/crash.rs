//! Crashes: after a kill, every confirmed write is in the database, and no write is incomplete.
//!
//! Four clients write while the server is killed by SIGKILL at a random moment, again and again on one data directory.
//! Every act writes several rows: a secret, its sealed value and its audit entry; or a key and its audit entry.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::process::{Serving, init};

const KILLS: u64 = 100;
const WRITERS: usize = 4;

/// What the clients were told: how often each secret was set at least, and which keys were made.
#[derive(Default)]
struct Acknowledged {
    secret_versions: BTreeMap<String, i64>,
    prefixes: Vec<String>,
}

#[test]
fn a_hundred_kills_lose_nothing_and_leave_nothing_half_done() {
    let data = tempfile::tempdir().unwrap();
    let key = init(data.path());
    let told = Mutex::new(Acknowledged::default());
    let mut rng = StdRng::seed_from_u64(3);
    let kills = std::env::var("GUILDHALL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    for _ in 0..kills {
        let server = Serving::start(data.path());
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (key, told, addr) = (&key, &told, server.addr);
                scope.spawn(move || write_until_cut_off(addr, key, writer, told));
            }
            thread::sleep(Duration::from_millis(rng.random_range(5..120)));
            server.kill();
        });
        compare(data.path(), &told.lock().unwrap());
    }
    let told = told.into_inner().unwrap();
    let acknowledged = told.secret_versions.values().sum::<i64>() + told.prefixes.len() as i64;
    assert!(acknowledged >= kills as i64, "the test wrote too little to show anything: {acknowledged}");
}

static VALUES: AtomicU64 = AtomicU64::new(0);

fn write_until_cut_off(addr: std::net::SocketAddr, key: &str, writer: usize, told: &Mutex<Acknowledged>) {
    let mut client = crate::process::Client::new(addr, key);
    for turn in 0.. {
        let name = format!("secret_{writer}_{}", turn % 5);
        // Another each time: the same again would change nothing.
        let value = VALUES.fetch_add(1, Ordering::Relaxed).to_string();
        let Some(_) = answered(client.send("POST", "/v1/secrets", Some(json!({ "name": name, "value": value }))))
        else {
            return;
        };
        *told.lock().unwrap().secret_versions.entry(name).or_default() += 1;
        let Some(made) = answered(client.send("POST", "/v1/api_keys", Some(json!({ "type": "WORKSPACE_INVOKE" }))))
        else {
            return;
        };
        let prefix = made["api_key"].as_str().unwrap().split('.').next().unwrap().to_owned();
        told.lock().unwrap().prefixes.push(prefix);
    }
}

/// `None` once the server is gone. What it answers until then is a success.
fn answered(answer: std::io::Result<(u16, Value)>) -> Option<Value> {
    let (status, body) = answer.ok()?;
    assert_eq!(status, 200, "{body}");
    Some(body)
}

/// Looks at the database itself, as the kill has left it.
fn compare(data: &Path, told: &Acknowledged) {
    let sql = Connection::open(data.join("guildhall.db")).unwrap();
    let intact: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let broken: i64 = sql.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(broken, 0, "rows point nowhere");
    for (name, &times) in &told.secret_versions {
        let version: i64 =
            sql.query_row("SELECT version FROM secret WHERE name = ?1", [name], |row| row.get(0)).unwrap_or(0);
        assert!(version >= times, "{name} was set {times} times and stands at {version}");
    }
    for prefix in &told.prefixes {
        let there: bool =
            sql.query_row("SELECT count(*) FROM api_key WHERE prefix = ?1", [prefix], |row| row.get(0)).unwrap();
        assert!(there, "{prefix} was answered and is lost");
    }
    let count = |query: &str| -> i64 { sql.query_row(query, [], |row| row.get(0)).unwrap() };
    let sets = count("SELECT coalesce(sum(version), 0) FROM secret");
    assert_eq!(sets, count("SELECT count(*) FROM audit WHERE event_type = 'SECRET_UPDATED'"), "a set and its entry");
    assert_eq!(
        count("SELECT count(*) FROM secret"),
        count("SELECT count(*) FROM secret_value"),
        "a secret and its value"
    );
    let keys = count("SELECT count(*) FROM api_key WHERE category = 'WORKSPACE_INVOKE'");
    let noted = count(
        "SELECT count(*) FROM audit
         WHERE event_type = 'API_KEY_CREATED'
           AND json_extract(event_data, '$.api_key_type') = 'INVOKE_ALL_MODELS_SERVICE_ACCOUNT'",
    );
    assert_eq!(keys, noted, "a key and its entry");
}
