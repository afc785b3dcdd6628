//! Kinds of failures: an error in a deployment ends that deployment, a fault of the installation is retried, and
//! neither delays other deployments.

use std::sync::atomic::{AtomicBool, Ordering};

use guildhall::db::Now;
use guildhall::db::progress::Part;
use guildhall::domain::Archive;
use guildhall::runner;
use serde_json::{Value, json};

use super::attempts::until;
use super::watch::{developing, files, patch, state};
use super::{CODE, CONFIG, tar, whole};
use crate::acme::Acme;
use crate::test_server::BEGIN;
use crate::vocabulary::text;

impl Acme {
    /// A model of globex's with a deployment of this archive.
    fn neighbour(&self, name: &str, archive: &[u8]) -> String {
        let s3_key = self.uploaded("fay", archive);
        let source = json!({ "name": name, "s3_key": s3_key, "deployment": { "config": { "model_name": name } } });
        text(&self.post("fay", "/v1/teams/abroad/models", json!({ "source": source }))["model"]["id"])
    }

    fn neighbour_status(&self, model: &str) -> String {
        text(&self.get("fay", &format!("/v1/models/{model}/deployments/production"))["status"])
    }
}

fn path_of(acme: &Acme, archive: &[u8]) -> std::path::PathBuf {
    Archive { hash: blake3::hash(archive).into(), bytes: 0 }.path(acme.server.data())
}

/// A row that cannot be read was logged and tried again for ever, and nothing else moved.
#[test]
fn a_deployment_that_cannot_be_read_fails_and_the_others_go_on() {
    for (poison, status) in [
        ("autoscaling = '{\"min_replica\": \"many\"}'", "BUILD_FAILED"),
        ("autoscaling = '[]', status = 'DEPLOYING'", "DEPLOY_FAILED"),
        ("autoscaling = '7', status = 'UPDATING'", "FAILED"),
        ("labels = 'true', autoscaling = 'null', status = 'DEACTIVATING', candidate_for = NULL", "FAILED"),
    ] {
        let acme = Acme::new();
        let (poisoned, id) = acme.create("max", "research", "poisoned");
        acme.run(&format!("UPDATE deployment SET {poison} WHERE id = '{id}'"));
        let (own, _) = acme.create("max", "research", "own");
        let neighbour = acme.neighbour("theirs", &whole());
        acme.run_all();
        assert_eq!(acme.status(&own, "production"), "ACTIVE", "{poison}");
        assert_eq!(acme.neighbour_status(&neighbour), "ACTIVE", "{poison}");
        let query = "SELECT status FROM deployment WHERE model_id = ?1";
        let now: String = acme.server.sql().query_row(query, [&poisoned], |row| row.get(0)).unwrap();
        assert_eq!(now, status, "{poison}");
        let logged: i64 = acme
            .server
            .sql()
            .query_row("SELECT count(*) FROM deployment_log WHERE message LIKE 'failed by a fault%'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(logged, 1, "{poison}");
    }
}

/// A step that the schema refuses would be refused each time.
#[test]
fn a_deployment_whose_step_is_refused_fails_and_the_others_go_on() {
    let acme = Acme::new();
    let (refused, id) = acme.create("max", "research", "refused");
    acme.run(&format!(
        "CREATE TRIGGER refuses BEFORE UPDATE OF status ON deployment
         WHEN NEW.id = '{id}' AND NEW.status = 'LOADING_MODEL'
         BEGIN SELECT RAISE(ABORT, 'never'); END"
    ));
    let (own, _) = acme.create("max", "research", "own");
    acme.run_all();
    assert_eq!(
        (acme.status(&own, "production"), acme.status(&refused, "production")),
        ("ACTIVE".to_owned(), "DEPLOY_FAILED".to_owned())
    );
}

/// A fault of ours is not the deployment's: it stays as it is, and goes on when the fault is gone.
#[test]
fn what_cannot_be_read_by_a_fault_of_ours_waits_and_the_others_go_on() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    acme.run_all();
    let archive = tar(&[("config.yaml", CONFIG), ("model/model.py", CODE), ("more", "x")]);
    let s3_key = acme.uploaded("max", &archive);
    let path = path_of(&acme, &archive);
    acme.push("max", &model, json!({ "s3_key": s3_key, "is_development": true }));
    std::fs::remove_file(&path).unwrap();
    let (own, neighbour) = (acme.create("max", "research", "own").0, acme.neighbour("theirs", &whole()));
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "BUILDING", "it is missing");
    assert_eq!(
        (acme.status(&own, "production"), acme.neighbour_status(&neighbour)),
        ("ACTIVE".to_owned(), "ACTIVE".to_owned())
    );
    std::fs::create_dir(&path).unwrap();
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "BUILDING", "reading it is an error of the system");
    let attempts = "SELECT max(attempts) FROM archive_reading";
    assert_eq!(
        acme.server.sql().query_row(attempts, [], |row| row.get::<_, i64>(0)).unwrap(),
        0,
        "no crash is counted"
    );
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, &archive).unwrap();
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "ACTIVE");
}

/// As on a full disk: nothing can be written.
#[test]
fn patches_that_cannot_be_written_by_a_fault_of_ours_wait() {
    let acme = Acme::new();
    let (model, id) = developing(&acme);
    let at = format!("/v1/models/{model}/deployments/development/patches");
    acme.post("max", &at, patch(&state(&acme, &model)["running_patch_point"], "x = 1\n"));
    acme.post("max", &format!("{at}/sync"), json!({}));
    let unfinished = acme.server.data().join("uploads");
    let _ = std::fs::remove_dir_all(&unfinished);
    std::fs::write(&unfinished, "in the way").unwrap();
    let neighbour = acme.neighbour("theirs", &whole());
    for _ in 0..3 {
        acme.run_all();
        assert_eq!(acme.status(&model, "development"), "UPDATING");
    }
    assert_eq!(acme.neighbour_status(&neighbour), "ACTIVE");
    std::fs::remove_file(&unfinished).unwrap();
    std::fs::create_dir(&unfinished).unwrap();
    for _ in 0..3 {
        std::os::unix::fs::symlink("/dev/full", unfinished.join(format!("patched-{id}"))).unwrap();
        acme.run_all();
        assert_eq!(acme.status(&model, "development"), "UPDATING", "the disk is full");
    }
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "ACTIVE");
    assert!(files(&acme, &model).contains(&("model/model.py".to_owned(), "x = 1\n".to_owned())));
}

#[test]
fn an_archive_is_read_once_however_often_it_is_pushed() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let archive = whole();
    let first = acme.push("max", &model, json!({ "s3_key": acme.uploaded("max", &archive) }));
    acme.run_all();
    assert_eq!(acme.status(&model, &text(&first["id"])), "ACTIVE");
    for who in ["max", "tess"] {
        let pushed = acme.push(who, &model, json!({ "s3_key": acme.uploaded(who, &archive) }));
        std::fs::write(path_of(&acme, &archive), "read again, this would be no archive").unwrap();
        acme.run_all();
        assert_eq!(acme.status(&model, &text(&pushed["id"])), "ACTIVE");
    }
    let broken = b"no tar".repeat(200);
    for _ in 0..2 {
        let pushed = acme.push("max", &model, json!({ "s3_key": acme.uploaded("max", &broken) }));
        std::fs::remove_file(path_of(&acme, &broken)).unwrap();
        std::fs::write(path_of(&acme, &broken), &broken).unwrap();
        acme.run_all();
        assert_eq!(acme.status(&model, &text(&pushed["id"])), "BUILD_FAILED");
    }
    let signatures: i64 = acme
        .server
        .sql()
        .query_row("SELECT count(*) FROM archive_reading WHERE truss_signature IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(signatures, 1, "it is kept once, too");
}

/// One organization's archive that takes for ever to read: a pipe that nobody writes to.
#[test]
fn a_long_reading_holds_up_nobody_else_and_nothing_that_needs_no_reading() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    acme.run_all();
    let slow = tar(&[("config.yaml", CONFIG), ("model/model.py", CODE), ("slow", "x")]);
    let s3_key = acme.uploaded("max", &slow);
    let path = path_of(&acme, &slow);
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let waits: Vec<Value> = (0..3).map(|_| acme.push("max", &model, json!({ "s3_key": s3_key }))).collect();
    let behind = acme.push("max", &model, json!({ "s3_key": acme.uploaded("max", &whole()) }));
    let stop = &AtomicBool::new(false);
    let db = &acme.server.app.db;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            runner::run(db, Part::All, || Now { time: BEGIN, seed: [9; 32] }, || stop.load(Ordering::Relaxed));
        });
        let reading = "SELECT count(*) FROM archive_reading WHERE attempts = 1";
        until("it is being read", || {
            acme.server.sql().query_row(reading, [], |row| row.get::<_, i64>(0)).unwrap() == 1
        });
        let neighbour = acme.neighbour("theirs", &tar(&[("config.yaml", CONFIG), ("model/model.py", "theirs")]));
        let (own, _) = acme.create("max", "research", "own");
        until("the neighbour is built", || acme.neighbour_status(&neighbour) == "ACTIVE");
        until("what is not read goes on", || acme.status(&own, "production") == "ACTIVE");
        for pushed in waits.iter().chain([&behind]) {
            assert_eq!(acme.status(&model, &text(&pushed["id"])), "BUILDING", "one at a time of an organization");
        }
        std::fs::write(&path, &slow).unwrap();
        for pushed in waits.iter().chain([&behind]) {
            until("it goes on in the end", || acme.status(&model, &text(&pushed["id"])) == "ACTIVE");
        }
        stop.store(true, Ordering::Relaxed);
    });
}
