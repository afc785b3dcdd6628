//! Every way in which a call can fail ends with its own status, and none hangs.

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guildhall::domain::serving::Backpressure;
use guildhall::inference;
use guildhall::runner::fleet::{Address, CallLimits, Fleet, Replica, Server};
use guildhall::server::Limits;

use super::model::{Model, reply};
use super::{PATIENCE, Site, TOKEN, until};

const PREDICT: &str = "/models/researchmodel/predict";

fn hurried() -> inference::Limits {
    inference::Limits { call: Duration::from_millis(400), ..inference::Limits::default() }
}

#[test]
fn a_server_that_runs_no_models_says_so() {
    let site = Site::of(Fleet::off(), Limits::default());
    let answered = site.post("max", PREDICT, "1");
    assert_eq!(answered.status, 503);
    assert!(answered.error().contains("--runner off"), "{}", answered.error());
}

#[test]
fn a_deployment_that_does_not_run_says_why() {
    let site = Site::new();
    let set = |status: &str| {
        let sql = site.test_server.sql();
        sql.execute("UPDATE deployment SET status = ?1 WHERE id = 'researchfirst'", [status]).unwrap();
        site.test_server.app.db.write_blocking(site.test_server.now(), |_| Ok(())).unwrap();
    };
    for (status, word) in [
        ("INACTIVE", "activate it"),
        ("FAILED", "log"),
        ("BUILD_FAILED", "log"),
        ("DEPLOY_FAILED", "log"),
        ("BUILDING", "wait"),
    ] {
        set(status);
        let answered = site.post("max", PREDICT, "1");
        let told = answered.error();
        assert_eq!(answered.status, 503, "{status}");
        assert!(told.contains(status) && told.contains(word), "{told}");
    }
    set("ACTIVE");
    site.fleet().refuse("researchfirst", "the model does not load");
    let answered = site.post("max", PREDICT, "1");
    assert_eq!((answered.status, answered.error().as_str()), (503, "the model does not load"));
}

/// A model that ends, or that speaks no HTTP, is told apart from one that is slow.
#[test]
fn a_model_that_breaks_off_is_502() {
    let endless_header = |_: &_, connection: &mut std::os::unix::net::UnixStream| {
        let mut written = connection.write_all(b"HTTP/1.1 200 OK\r\n");
        while written.is_ok() {
            written = connection.write_all(b"x-more: and more\r\n");
        }
        false
    };
    let endless_heads = |_: &_, connection: &mut std::os::unix::net::UnixStream| {
        while connection.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).is_ok() {}
        false
    };
    let one_endless_line = |_: &_, connection: &mut std::os::unix::net::UnixStream| {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nx-long: ");
        while connection.write_all(&[b'x'; 4096]).is_ok() {}
        false
    };
    for (what, model) in [
        ("ends", Model::new(|_, _| false)),
        ("garbage", Model::new(|_, connection| connection.write_all(b"nonsense\r\n\r\n").is_err())),
        ("half a head", Model::new(|_, connection| connection.write_all(b"HTTP/1.1 200 OK\r\nx: ").is_err())),
        ("endless headers", Model::new(endless_header)),
        ("endless heads", Model::new(endless_heads)),
        ("an endless line", Model::new(one_endless_line)),
    ] {
        let site = Site::new();
        site.runs("researchfirst", &model);
        let answered = site.post("max", PREDICT, "1");
        assert_eq!(answered.status, 502, "{what}: {answered:?}");
        answered.error();
    }
}

/// The server holds the socket of a process open, so the end of the process must be told.
#[test]
fn a_process_that_ends_is_502_although_its_socket_is_there() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _nobody_accepts = UnixListener::bind(&socket).unwrap();
    let limits = CallLimits { calls_per_replica_max: 8, waiting_max: 2, on_full: Backpressure::Queue };
    site.fleet().configure("researchfirst", limits);
    let address = Address::Process { socket, token: TOKEN.to_owned(), server: Server::Truss };
    let replica = Arc::new(Replica::new("one".to_owned(), address));
    site.fleet().add("researchfirst", Arc::clone(&replica));
    let mut call = site.begin("max", PREDICT, "1");
    until("the call is under way", || replica.outstanding() == 1);
    replica.end();
    assert_eq!(call.reply().status, 502);
    assert_eq!(replica.outstanding(), 0);
}

#[test]
fn a_socket_that_is_gone_is_502() {
    let site = Site::new();
    let model = Model::echo();
    site.runs("researchfirst", &model);
    drop(model); // the folder goes with it
    assert_eq!(site.post("max", PREDICT, "1").status, 502);
}

#[test]
fn a_model_that_is_too_slow_is_504() {
    let site = Site::with(hurried());
    let model = Model::new(|_, connection| {
        std::thread::sleep(PATIENCE / 4);
        reply(connection, 200, "", "late")
    });
    let replica = site.runs("researchfirst", &model);
    let answered = site.post("max", PREDICT, "1");
    assert_eq!((answered.status, answered.error().as_str()), (504, "the model did not answer in time"));
    assert_eq!(replica.outstanding(), 0, "the replica is free again");
}

#[test]
fn nobody_waits_for_a_replica_longer_than_a_call_may_take() {
    let site = Site::with(hurried());
    assert_eq!(site.post("max", PREDICT, "1").status, 504);
}

#[test]
fn more_calls_than_may_wait_are_429() {
    let site = Site::new();
    let (enter, release) = (Arc::new(std::sync::Barrier::new(2)), Arc::new(std::sync::Barrier::new(2)));
    let (entered, released) = (Arc::clone(&enter), Arc::clone(&release));
    let model = Model::new(move |seen, connection| {
        if seen.body == b"first" {
            entered.wait();
            released.wait();
        }
        reply(connection, 200, "", "done")
    });
    site.runs_as("researchfirst", &model, Server::Truss, 1);
    let mut first = site.begin("max", PREDICT, "first");
    enter.wait();
    let mut waiting: Vec<_> = (0..2).map(|_| site.begin("max", PREDICT, "next")).collect();
    until("two calls wait", || site.fleet().load("researchfirst").waiting == 2);
    let refused = site.post("max", PREDICT, "too many");
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: 1\r\n"), "{}", refused.head);
    refused.error();
    release.wait();
    assert_eq!(first.reply().status, 200);
    waiting.iter_mut().for_each(|call| assert_eq!(call.reply().status, 200));
}

#[test]
fn a_call_to_a_deployment_that_sleeps_wakes_it_and_waits() {
    let site = Site::new();
    let sql = site.test_server.sql();
    sql.execute_batch("UPDATE deployment SET status = 'SCALED_TO_ZERO' WHERE id = 'researchfirst'").unwrap();
    site.test_server.app.db.write_blocking(site.test_server.now(), |_| Ok(())).unwrap();
    let model = Model::says("1");
    let mut call = site.begin("max", PREDICT, "1");
    until("it wakes up", || {
        let status: String =
            sql.query_row("SELECT status FROM deployment WHERE id = 'researchfirst'", [], |row| row.get(0)).unwrap();
        status != "SCALED_TO_ZERO"
    });
    site.runs("researchfirst", &model);
    assert_eq!(call.reply().status, 200);
}

#[test]
fn a_body_that_is_too_large_is_413() {
    let site = Site::with(inference::Limits { body_bytes_max: 1000, ..inference::Limits::default() });
    let model = Model::echo();
    let replica = site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Content-Length: 1001\r\n"));
    assert_eq!(client.reply().status, 413);
    assert!(model.seen().is_empty());
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Transfer-Encoding: chunked\r\n"));
    for _ in 0..3 {
        client.send(format!("190\r\n{}\r\n", "x".repeat(400)));
    }
    let answered = client.reply();
    assert_eq!(answered.status, 413);
    answered.error();
    assert!(client.is_closed());
    until("the replica is free", || replica.outstanding() == 0);
    assert_eq!(site.post("max", PREDICT, &"x".repeat(1000)).status, 200);
}

/// A caller that stops in the middle of its body holds the replica no longer than it may.
#[test]
fn a_body_that_stalls_is_408() {
    let stalled = Duration::from_millis(300);
    let site = Site::with(inference::Limits { stalled, ..inference::Limits::default() });
    let model = Model::echo();
    let replica = site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("POST", "max", PREDICT, "Content-Length: 10\r\n"));
    client.send("half");
    assert_eq!(client.reply().status, 408);
    until("the replica is free", || replica.outstanding() == 0);
}

/// The listener's own deadlines are for callers that are slow, not for models.
#[test]
fn a_slow_model_is_not_an_idle_caller() {
    let short = Duration::from_millis(300);
    let limits = Limits { idle: short, stalled: short, body: short, head: short, ..Limits::default() };
    let site = Site::of(Fleet::on(), limits);
    let model = Model::new(move |_, connection| {
        std::thread::sleep(short * 4);
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        std::thread::sleep(short * 4);
        connection.write_all(b"4\r\nlate\r\n0\r\n\r\n").is_ok()
    });
    site.runs("researchfirst", &model);
    let mut client = site.client();
    for _ in 0..2 {
        client.send(site.head("POST", "max", PREDICT, "Content-Length: 1\r\n"));
        client.send("1");
        let answered = client.reply();
        assert_eq!((answered.status, answered.body.as_str()), (200, "late"));
    }
    let since = Instant::now();
    assert!(client.is_closed(), "and then the connection is idle");
    assert!(since.elapsed() < PATIENCE);
}

/// One team's calls leave connections to the others.
#[test]
fn a_team_has_a_share_of_the_connections() {
    let site = Site::of(Fleet::on(), Limits { connections_max: 16, ..Limits::default() });
    let mut held: Vec<_> = (0..4).map(|_| site.client()).collect();
    for client in &mut held {
        client.send(site.head("POST", "max", "/models/researchmodel/development/predict", "Content-Length: 0\r\n"));
    }
    until("four calls wait", || site.fleet().load("researchdevelopment").waiting == 4);
    let refused = site.post("max", PREDICT, "1");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.error().contains("your team"), "{}", refused.error());
    let model = Model::says("1");
    site.runs("inferencefirst", &model);
    assert_eq!(site.post("ian", "/models/inferencemodel/predict", "1").status, 200);
}
