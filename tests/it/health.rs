//! Does the server report its health?

use guildhall::seal::MasterKey;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use crate::test_server::TestServer;

#[test]
fn it_lives_and_is_ready_for_anyone() {
    let server = TestServer::empty();
    for target in ["/healthz", "/readyz"] {
        let answered = server.send(None, "GET", target, None);
        assert_eq!((answered.status, answered.body), (200, json!({ "status": "ok" })), "{target}");
    }
}

#[test]
fn a_key_that_does_not_work_is_refused_here_too() {
    let server = TestServer::empty();
    for target in ["/healthz", "/readyz"] {
        server.send(Some("guild_nobodys0.x"), "GET", target, None).refused(401, "UNAUTHENTICATED");
    }
}

#[test]
fn it_is_not_ready_with_a_schema_that_it_does_not_know() {
    let server = TestServer::empty();
    server.sql().execute("UPDATE refinery_schema_history SET version = version + 1000", []).unwrap();
    let refused = server.send(None, "GET", "/readyz", None).refused(503, "UNAVAILABLE");
    assert!(refused["message"].as_str().unwrap().contains("schema"), "{refused}");
    server.send(None, "GET", "/healthz", None).ok();
}

#[test]
fn it_is_not_ready_where_the_database_cannot_be_read() {
    let server = TestServer::empty();
    server.sql().execute_batch("DROP TABLE refinery_schema_history").unwrap();
    let refused = server.send(None, "GET", "/readyz", None).refused(503, "UNAVAILABLE");
    assert!(!refused["message"].as_str().unwrap().contains("refinery"), "the cause is for the log: {refused}");
}

#[test]
fn it_is_not_ready_without_its_master_key() {
    let server = TestServer::empty();
    let path = server.data().join("master.key");
    let key = std::fs::read(&path).unwrap();
    let other = MasterKey::generate(&mut StdRng::from_seed([1; 32])).to_text();
    for wrong in [None, Some("no key"), Some(other.as_str())] {
        std::fs::remove_file(&path).unwrap();
        if let Some(wrong) = wrong {
            std::fs::write(&path, wrong).unwrap();
        }
        let refused = server.send(None, "GET", "/readyz", None).refused(503, "UNAVAILABLE");
        assert!(refused["message"].as_str().unwrap().contains("master key"), "{refused}");
        server.send(None, "GET", "/healthz", None).ok();
        std::fs::write(&path, &key).unwrap();
    }
    server.send(None, "GET", "/readyz", None).ok();
}

/// The disk is one of its own, in a namespace of its own; where none can be had, there is nothing to see.
#[test]
fn it_is_not_ready_on_a_full_disk() {
    let script = r#"
        set -e
        mount -t tmpfs -o size=24m none "$1"
        "$2" serve --listen 127.0.0.1:0 --data "$1/data" --log off > "$1.out" &
        until grep -q http "$1.out"; do sleep 0.05; done
        url=$(head -1 "$1.out")
        ask() { exec 3<>"/dev/tcp/127.0.0.1/${url##*:}"; printf "GET $1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" >&3; head -1 <&3; }
        ask /readyz
        dd if=/dev/zero of="$1/filling" bs=64k > /dev/null 2>&1 || true
        ask /readyz
        ask /healthz
        rm "$1/filling"
        ask /readyz
        kill %1; wait %1
    "#;
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--map-root-user", "bash", "-c", script, "bash"]).arg(&disk);
    let output = command.arg(env!("CARGO_BIN_EXE_guildhall")).output();
    let Ok(output) = output else { return };
    let (told, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if why.contains("unshare failed") || why.contains("permission denied") {
        return;
    }
    let statuses: Vec<_> = told.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(statuses, ["200", "503", "200", "200"], "{told}{why}");
}
