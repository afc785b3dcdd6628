//! What ends the process: it is tried once more, alone, and then it has failed. What stops with the process has not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guildhall::db::Now;
use guildhall::db::progress::Part;
use guildhall::domain::Archive;
use guildhall::runner;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::watch::{developing, patch, state};
use super::{CODE, CONFIG, whole};
use crate::acme::Acme;
use crate::process::{Client, Serving, init};
use crate::test_server::BEGIN;
use crate::vocabulary::text;

const PATIENCE: Duration = Duration::from_secs(60);

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An archive that takes long to read and no room on the disk: most of it is a hole.
fn long_archive(data: &Path) -> Archive {
    const BYTES: u64 = 3 << 30;
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [("config.yaml", CONFIG), ("model/model.py", CODE)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    let mut header = tar::Header::new_ustar();
    header.set_path("weights.bin").unwrap();
    header.set_size(BYTES);
    header.set_cksum();
    let mut start = builder.into_inner().unwrap();
    start.truncate(start.len() - 1024); // the end of the archive
    start.extend_from_slice(header.as_bytes());
    let archive = Archive { hash: [7; 32], bytes: start.len() as u64 + BYTES + 1024 };
    let path = place(data, &archive);
    std::fs::write(&path, start).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(archive.bytes).unwrap();
    archive
}

fn place(data: &Path, archive: &Archive) -> PathBuf {
    let path = archive.path(data);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// An upload of whoever has the only key, whose archive is on the disk.
fn record(sql: &Connection, s3_key: &str, archive: &Archive) {
    sql.execute(
        "INSERT INTO upload (s3_key, org_id, user_id, api_key_prefix, hash, bytes, uploaded_at, taken_at)
         SELECT ?1, org_id, user_id, prefix, ?2, ?3, 0, 0 FROM api_key",
        (s3_key, archive.hash, archive.bytes as i64),
    )
    .unwrap();
}

fn push(client: &mut Client, name: &str, s3_key: Option<&str>) -> (String, String) {
    let deployment = json!({ "config": { "model_name": name } });
    let body = json!({ "source": { "name": name, "s3_key": s3_key, "deployment": deployment } });
    let (status, made) = client.send("POST", "/v1/models", Some(body)).unwrap();
    assert_eq!(status, 200, "{made}");
    (text(&made["model"]["id"]), text(&made["deployment"]["id"]))
}

fn shown(client: &mut Client, (model, deployment): &(String, String)) -> Value {
    client.send("GET", &format!("/v1/models/{model}/deployments/{deployment}"), None).unwrap().1
}

fn log(client: &mut Client, (model, deployment): &(String, String)) -> String {
    client.send("GET", &format!("/v1/models/{model}/deployments/{deployment}/logs"), None).unwrap().1.to_string()
}

#[test]
fn an_archive_whose_reading_ends_the_process_twice_has_failed_and_the_neighbour_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let key = init(data.path());
    let sql = Connection::open(data.path().join("guildhall.db")).unwrap();
    sql.busy_timeout(PATIENCE).unwrap();
    record(&sql, "models/long", &long_archive(data.path()));
    let small = Archive { hash: blake3::hash(&whole()).into(), bytes: whole().len() as u64 };
    std::fs::write(place(data.path(), &small), whole()).unwrap();
    record(&sql, "models/small", &small);
    let attempts = || -> i64 {
        let query = "SELECT coalesce(max(attempts), 0) FROM archive_reading WHERE hash = ?1";
        sql.query_row(query, [[7_u8; 32]], |row| row.get(0)).unwrap()
    };
    let server = Serving::start(data.path());
    let mut client = Client::new(server.addr, &key);
    let long = push(&mut client, "long", Some("models/long"));
    until("an attempt is recorded before it begins", || attempts() == 1);
    assert_eq!(shown(&mut client, &long)["status"], "BUILDING");
    server.kill();
    let server = Serving::start(data.path());
    until("it is tried once more", || attempts() == 2);
    server.kill();
    let server = Serving::start(data.path());
    let mut client = Client::new(server.addr, &key);
    until("it has failed", || shown(&mut client, &long)["status"] == "BUILD_FAILED");
    assert!(log(&mut client, &long).contains("the server ended 2 times while it read the archive"));
    let neighbour = push(&mut client, "neighbour", Some("models/small"));
    until("the neighbour is built", || shown(&mut client, &neighbour)["status"] == "ACTIVE");
    let again = push(&mut client, "again", Some("models/long"));
    until("the content has failed, whoever pushes it", || shown(&mut client, &again)["status"] == "BUILD_FAILED");
    assert_eq!(attempts(), 2);
}

/// A pipe in place of the archive: whoever opens it waits.
fn block(path: &Path) {
    std::fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn patches_that_end_the_process_twice_have_failed() {
    let data = tempfile::tempdir().unwrap();
    let key = init(data.path());
    let sql = Connection::open(data.path().join("guildhall.db")).unwrap();
    sql.busy_timeout(PATIENCE).unwrap();
    let archive = Archive { hash: blake3::hash(&whole()).into(), bytes: whole().len() as u64 };
    let path = place(data.path(), &archive);
    std::fs::write(&path, whole()).unwrap();
    record(&sql, "models/small", &archive);
    let server = Serving::start(data.path());
    let mut client = Client::new(server.addr, &key);
    let deployment = json!({ "config": { "model_name": "m" }, "is_development": true });
    let body = json!({ "source": { "name": "m", "s3_key": "models/small", "deployment": deployment } });
    let made = client.send("POST", "/v1/models", Some(body)).unwrap().1;
    let ids = (text(&made["model"]["id"]), text(&made["deployment"]["id"]));
    until("it is built", || shown(&mut client, &ids)["status"] == "ACTIVE");
    block(&path);
    let at = format!("/v1/models/{}/deployments/development/patches", ids.0);
    let running = client.send("GET", &format!("{at}/state"), None).unwrap().1["running_patch_point"].clone();
    assert_eq!(client.send("POST", &at, Some(patch(&running, "x = 1\n"))).unwrap().0, 200);
    assert_eq!(client.send("POST", &format!("{at}/sync"), Some(json!({}))).unwrap().0, 200);
    let attempts = || -> i64 {
        sql.query_row("SELECT coalesce(max(attempts), 0) FROM deployment_patch", [], |row| row.get(0)).unwrap()
    };
    until("an attempt is recorded before it begins", || attempts() == 1);
    server.kill();
    let server = Serving::start(data.path());
    until("it is tried once more", || attempts() == 2);
    server.kill();
    let server = Serving::start(data.path());
    let mut client = Client::new(server.addr, &key);
    until("it has failed", || shown(&mut client, &ids)["status"] == "FAILED");
    assert!(log(&mut client, &ids).contains("the server ended 2 times"));
    assert_eq!(sql.query_row("SELECT count(*) FROM deployment_patch", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

/// A model of research, and a development deployment of it whose archive takes long to read.
pub fn push_long_archive(acme: &Acme) -> String {
    let (model, _) = acme.create("max", "research", "llama");
    acme.run_all();
    acme.record_upload("max", "models/long", &long_archive(acme.server.data()));
    acme.push("max", &model, json!({ "s3_key": "models/long", "is_development": true }));
    model
}

/// The most attempts at an archive that began and did not end.
pub fn open_attempts(sql: &Connection) -> i64 {
    sql.query_row("SELECT coalesce(max(attempts), 0) FROM archive_reading", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_stop_is_no_attempt() {
    let acme = Acme::new();
    let model = push_long_archive(&acme);
    let sql = acme.server.sql();
    let attempts = || open_attempts(&sql);
    let (db, stop) = (&acme.server.app.db, &AtomicBool::new(false));
    for _ in 0..3 {
        stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let now = || Now { time: BEGIN, seed: [9; 32] };
            let running = scope.spawn(move || runner::run(db, Part::All, now, || stop.load(Ordering::Relaxed)));
            until("the reading has begun", || attempts() == 1);
            stop.store(true, Ordering::Relaxed);
            running.thread().unpark();
        });
        assert_eq!((attempts(), acme.status(&model, "development")), (0, "BUILDING".to_owned()));
    }
}

/// Attempts that never ended are read from the database, so a test may write them.
#[test]
fn one_attempt_that_never_ended_is_followed_by_another() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let at = format!("/v1/models/{model}/deployments/development/patches");
    for (attempts, status) in [(1, "ACTIVE"), (2, "FAILED")] {
        let running = state(&acme, &model)["running_patch_point"].clone();
        acme.post("max", &at, patch(&running, &format!("x = {attempts}\n")));
        acme.post("max", &format!("{at}/sync"), json!({}));
        acme.run(&format!("UPDATE deployment_patch SET attempts = {attempts}"));
        acme.run_all();
        assert_eq!(acme.status(&model, "development"), status, "{attempts}");
    }
    let (other, _) = acme.create("max", "research", "other");
    for (attempts, status) in [(1, "ACTIVE"), (2, "BUILD_FAILED")] {
        let archive = super::tar(&[("config.yaml", CONFIG), ("model/model.py", &format!("x = {attempts}"))]);
        let s3_key = acme.uploaded("max", &archive);
        let hash = blake3::hash(&archive).to_hex();
        acme.run(&format!(
            "INSERT INTO archive_reading (hash, rules, attempts, updated_at) VALUES (x'{hash}', 1, {attempts}, 0)"
        ));
        acme.push("max", &other, json!({ "s3_key": s3_key, "is_development": true }));
        acme.run_all();
        assert_eq!(acme.status(&other, "development"), status, "{attempts}");
        let retried = acme.post("max", &format!("/v1/models/{other}/deployments/development/retry"), json!({}));
        acme.run_all();
        assert_eq!(
            (&retried["retried"], acme.status(&other, "development")),
            (&json!(attempts == 2), status.to_owned())
        );
    }
}

/// What another version of the reader said of an archive, or began, is not believed.
#[test]
fn other_rules_read_again() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let s3_key = acme.uploaded("max", &whole());
    let hash = blake3::hash(&whole()).to_hex();
    acme.run(&format!(
        "INSERT INTO archive_reading (hash, rules, attempts, failure, updated_at)
         VALUES (x'{hash}', 0, 2, 'it was not understood then', 0)"
    ));
    acme.push("max", &model, json!({ "s3_key": s3_key, "is_development": true }));
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "ACTIVE");
}
