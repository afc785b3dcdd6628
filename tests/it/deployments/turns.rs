//! Whose archive is read next: teams and organizations take turns, and the cost of choosing does not grow with a queue.

use std::sync::atomic::{AtomicBool, Ordering};

use guildhall::db::Now;
use guildhall::db::progress::{self, Part};
use guildhall::runner;
use serde_json::json;

use super::attempts::{open_attempts, push_long_archive, until};
use super::{CONFIG, tar};
use crate::acme::Acme;
use crate::test_server::BEGIN;

/// Pushes a deployment whose archive no other has. Answers the model's id.
fn queue(acme: &Acme, who: &str, team: &str, number: usize) -> String {
    let (model, _) = acme.create(who, team, &format!("queued-{number}"));
    let archive = tar(&[("config.yaml", CONFIG), ("model/model.py", &format!("x = {number}"))]);
    acme.push(who, &model, json!({ "s3_key": acme.uploaded(who, &archive), "is_development": true }));
    model
}

#[test]
fn a_team_with_a_long_queue_keeps_no_other_team_waiting() {
    let acme = Acme::new();
    let mut queued: Vec<String> = (0..40).map(|number| queue(&acme, "max", "research", number)).collect();
    let other = queue(&acme, "ada", "inference", 40);
    queued.push(queue(&acme, "max", "research", 41));
    let Acme { server, .. } = &acme;
    let is_done = |model: &String| acme.status(model, "development") == "ACTIVE";
    runner::work(&server.app.db, &|| server.now(), &|| is_done(&other)).unwrap();
    assert!(is_done(&other));
    let done = queued.iter().filter(|model| is_done(model)).count();
    assert!(done <= 4, "{done} deployments of the other team went before");
    acme.run_all();
    assert!(queued.iter().all(is_done), "all are built in the end");
}

#[test]
fn the_list_of_what_waits_is_bounded_and_holds_every_team() {
    let acme = Acme::new();
    (0..40).for_each(|number| drop(queue(&acme, "max", "research", number)));
    queue(&acme, "ada", "inference", 40);
    let now = Now { time: BEGIN, seed: [9; 32] };
    let waiting = acme.server.app.db.read(now, |tx| progress::waiting(tx, 1, Part::All)).unwrap();
    let of = |team: &str| waiting.iter().filter(|one| one.is_slow && one.team_id.as_str() == team).count();
    assert_eq!((of("research"), of("inference")), (32, 1));
}

/// A reading takes long. Nothing waits for it once its deployment is deleted.
#[test]
fn what_is_deleted_is_read_no_further() {
    let acme = Acme::new();
    let model = push_long_archive(&acme);
    let sql = acme.server.sql();
    let attempts = || open_attempts(&sql);
    let (db, stop) = (&acme.server.app.db, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let now = || Now { time: BEGIN, seed: [9; 32] };
        let running = scope.spawn(move || runner::run(db, Part::All, now, || stop.load(Ordering::Relaxed)));
        until("the reading has begun", || attempts() == 1);
        assert_eq!(acme.send("max", "DELETE", &format!("/v1/models/{model}"), None).status, 200);
        until("the reading has ended", || attempts() == 0);
        stop.store(true, Ordering::Relaxed);
        running.thread().unpark();
    });
    let results: i64 = sql
        .query_row(
            "SELECT count(*) FROM archive_reading WHERE truss_hash IS NOT NULL OR failure IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(results, 0, "it was not read to its end");
}
