//! Does the log describe each request in one line, without anything that it must not contain?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{guildhall, init};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose log is kept.
struct Logged {
    process: Child,
    addr: SocketAddr,
}

impl Logged {
    fn start(data: &Path, words: &[&str]) -> Logged {
        let mut command = guildhall();
        command.args(words);
        Logged::by(command, data)
    }

    fn by(mut command: Command, data: &Path) -> Logged {
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("http://").expect("it says where it listens").parse().unwrap();
        Logged { process, addr }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it and gives its log.
    fn end(mut self) -> String {
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0));
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }

    fn lines(self) -> Vec<Value> {
        let log = self.end();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a request with these lines in its head; the whole reply.
    fn send(&self, line: &str, head: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(self.addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            socket,
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n{body}"
        )
        .unwrap();
        let mut reply = String::new();
        socket.read_to_string(&mut reply).unwrap();
        reply
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

fn id_of(reply: &str) -> &str {
    let line = reply.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("every reply has an id");
    line.trim()
}

fn line_of<'l>(lines: &'l [Value], message: &str, id: &str) -> &'l Value {
    let mut found = lines.iter().filter(|line| line["message"] == message && line["request_id"] == id);
    let line = found.next().unwrap_or_else(|| panic!("no line {message:?} of {id}: {lines:#?}"));
    assert!(found.next().is_none(), "one line and no more");
    line
}

#[test]
fn every_request_has_its_line() {
    let place = tempfile::tempdir().unwrap();
    let key = init(place.path());
    let server = Logged::start(place.path(), &["serve", "--log-format", "json"]);
    let me: Value = {
        let reply = server.send("GET /v1/users/me", &bearer(&key), "");
        serde_json::from_str(reply.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    let made = server.send("POST /v1/teams", &bearer(&key), r#"{"name":"Speech"}"#);
    let team: Value = serde_json::from_str(made.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let secrets = server.send(&format!("GET /v1/teams/{}/secrets", team["id"].as_str().unwrap()), &bearer(&key), "");
    let given = "550e8400-e29b-41d4-a716-446655440000";
    let nowhere = server.send("GET /v1/nowhere", &format!("X-Request-Id: {given}\r\n"), "");
    let broken = server.send("BREW /%zz", "", "");
    let upload = server.send("PUT /guildhall-uploads/some/key", "", "");
    let proposed = server.send("GET /healthz", "X-Request-Id: two words; and more\r\n", "");
    let lines = server.lines();

    let line = line_of(&lines, "request", id_of(&made));
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z') && line["milliseconds"].is_number(), "{line}");
    let told = |line: &Value, name: &str| line[name].clone();
    for (name, expected) in [
        ("method", json!("POST")),
        ("route", json!("/v1/teams")),
        ("status", json!(200)),
        ("actor", me["user_id"].clone()),
        ("key", json!(key.split('.').next().unwrap())),
        ("peer", json!("127.0.0.1")),
    ] {
        assert_eq!(told(line, name), expected, "{name} in {line}");
    }
    let line = line_of(&lines, "request", id_of(&secrets));
    assert_eq!((told(line, "route"), told(line, "team")), (json!("/v1/teams/{team_id}/secrets"), team["id"].clone()));
    assert_eq!(id_of(&nowhere), given, "an id that is one is kept");
    let line = line_of(&lines, "request", given);
    assert_eq!((told(line, "status"), told(line, "route")), (json!(404), Value::Null));
    let line = line_of(&lines, "request", id_of(&broken));
    assert_eq!((told(line, "status"), told(line, "method")), (json!(400), json!("OTHER")));
    let line = line_of(&lines, "request", id_of(&upload));
    assert_eq!((told(line, "status"), told(line, "route")), (json!(403), json!("/guildhall-uploads/{s3_key}")));
    assert!(upload.contains(&format!("<RequestId>{}</RequestId>", id_of(&upload))), "{upload}");
    assert!(!id_of(&proposed).contains(' '));
    for message in ["started", "stopped"] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}");
    }
}

/// Whatever is sent as a credential, wherever, leaves no trace.
#[test]
fn nothing_that_was_sent_as_a_credential_is_logged() {
    let place = tempfile::tempdir().unwrap();
    let key = init(place.path());
    for format in ["text", "json"] {
        let server = Logged::start(place.path(), &["serve", "--log", "trace", "--log-format", format]);
        let canary = "C4n4ryC4n4ry";
        let well_formed_prefix = key.split('.').next().unwrap();
        for head in [
            bearer(canary),
            bearer(&format!("{well_formed_prefix}.{canary}")),
            format!("Authorization: {canary}\r\n"),
            format!("Authorization: Basic {canary}\r\n"),
            format!("X-Request-Id: {canary}\r\n"),
            format!("Cookie: {canary}\r\nX-Amz-Security-Token: {canary}\r\nUser-Agent: {canary}\r\n"),
        ] {
            server.send("GET /v1/teams", &head, "");
            server.send("POST /v1/teams", &head, "{");
            server.send("PUT /guildhall-uploads/a", &head, "");
        }
        for target in ["invite", "downloads", "v1/api_keys", "v1/invitations", "guildhall-uploads", canary] {
            server.send(&format!("GET /{target}/{canary}?token={canary}"), "", "");
            server.send(&format!("DELETE /{target}/{canary}?token={canary}"), &bearer(&key), "");
        }
        let words = json!({ "token": canary, "password": canary, "name": canary, "value": canary }).to_string();
        for route in ["invitations/accept", "secrets", "api_keys", canary] {
            server.send(&format!("POST /v1/{route}"), &bearer(&key), &words);
            server.send(&format!("POST /v1/{route}"), "", &words);
        }
        server.send(&format!("{canary} /"), "", "");
        let log = server.end();
        assert!(log.lines().count() > 40, "{log}");
        assert!(!log.contains(canary), "{log}");
        assert!(!log.contains(&key), "{log}");
    }
}

#[test]
fn failed_sign_ins_are_told() {
    let place = tempfile::tempdir().unwrap();
    let key = init(place.path());
    let server = Logged::start(place.path(), &["serve", "--log-format", "json"]);
    let nobody = server.send("GET /v1/teams", &bearer("nonsense"), "");
    server.send("GET /v1/teams", "", "");
    server.send("GET /v1/teams", &bearer(&key), "");
    let lines = server.lines();
    let told: Vec<_> =
        lines.iter().filter(|line| line["message"].as_str().unwrap().starts_with("sign-in failed")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["level"], &told[0]["request_id"]), (&json!("WARN"), &json!(id_of(&nobody))));
}

/// A failure of ours names its request to the client, and its cause to the log alone.
#[test]
fn an_internal_error_is_found_in_the_log_by_its_id() {
    let place = tempfile::tempdir().unwrap();
    let key = init(place.path());
    let server = Logged::start(place.path(), &["serve", "--log-format", "json"]);
    let sql = rusqlite::Connection::open(place.path().join("guildhall.db")).unwrap();
    sql.execute_batch("PRAGMA foreign_keys = OFF; ALTER TABLE secret RENAME TO elsewhere;").unwrap();
    drop(sql);
    let rest = server.send("GET /v1/secrets", &bearer(&key), "");
    assert!(rest.starts_with("HTTP/1.1 500"), "{rest}");
    let body: Value = serde_json::from_str(rest.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["code"], &body["request_id"]), (&json!("INTERNAL"), &json!(id_of(&rest))));
    assert!(!rest.contains("no such table"), "{rest}");
    let lines = server.lines();
    let line = line_of(&lines, "internal error", id_of(&rest));
    assert!(line["level"] == "ERROR" && line["cause"].as_str().unwrap().contains("secret"), "{line}");
}

#[test]
fn the_level_and_the_format_are_chosen_by_word_and_by_environment() {
    let place = tempfile::tempdir().unwrap();
    init(place.path());
    let ask = |words: &[&str], environment: &[(&str, &str)]| {
        let mut command = guildhall();
        command.args(words).envs(environment.iter().copied());
        let server = Logged::by(command, place.path());
        server.send("GET /healthz", "", "");
        server.end()
    };
    assert!(ask(&["serve"], &[]).contains("route=\"/healthz\""));
    assert_eq!(ask(&["serve", "--log", "warn"], &[]), "");
    assert_eq!(ask(&["serve"], &[("GUILDHALL_LOG", "off")]), "");
    let log = ask(&["serve"], &[("GUILDHALL_LOG", "info"), ("GUILDHALL_LOG_FORMAT", "json")]);
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    for words in [["--log", "loud"], ["--log-format", "xml"]] {
        let output = guildhall().arg("serve").args(words).arg("--data").arg(place.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}

/// A trusted proxy says whose request it is; nobody else is believed.
#[test]
fn a_trusted_proxy_says_whose_request_it_is() {
    let place = tempfile::tempdir().unwrap();
    init(place.path());
    for (words, peer) in [
        (&["serve", "--log-format", "json"][..], "127.0.0.1"),
        (&["serve", "--log-format", "json", "--trusted-proxies", "10.0.0.0/8,127.0.0.0/8"], "203.0.113.9"),
        (&["serve", "--log-format", "json", "--trusted-proxies", "10.0.0.0/8"], "127.0.0.1"),
    ] {
        let server = Logged::start(place.path(), words);
        let reply = server.send("GET /healthz", "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n", "");
        let lines = server.lines();
        assert_eq!(line_of(&lines, "request", id_of(&reply))["peer"], peer, "{words:?}");
    }
    for words in [["--trusted-proxies", "proxy.example"], ["--connections-per-peer", "0"]] {
        let output = guildhall().arg("serve").args(words).arg("--data").arg(place.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}

// ---- surroundings ----

/// More than a pipe and the queue hold, and nobody reads it.
#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let place = tempfile::tempdir().unwrap();
    init(place.path());
    let mut server = Logged::start(place.path(), &["serve", "--log", "trace"]);
    let mut socket = TcpStream::connect(server.addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let mut expected = 0;
    let mut replies = vec![0; 1 << 20];
    for _ in 0..100 {
        socket.write_all(request.as_bytes()).unwrap();
        let mut read = 0;
        while expected == 0 || read < expected {
            read += socket.read(&mut replies[read..]).unwrap();
            let text = String::from_utf8_lossy(&replies[..read]);
            if expected == 0 && text.matches("HTTP/1.1 401").count() == 100 && text.ends_with('}') {
                expected = read;
            }
        }
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "it ends also while nobody reads");
}

#[test]
fn it_serves_with_standard_output_and_error_closed_or_full() {
    for (at, redirected) in
        [">&- 2>&-", ">&- 2>/dev/full", ">/dev/full 2>&-", "<&- >/dev/full 2>/dev/full"].into_iter().enumerate()
    {
        let place = tempfile::tempdir().unwrap();
        let key = init(place.path());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = format!("exec \"$0\" serve --listen 127.0.0.1:{port} --data \"$1\" {redirected}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_guildhall")]).arg(place.path());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Logged { process, addr: ([127, 0, 0, 1], port).into() };
        let begun = Instant::now();
        while TcpStream::connect(server.addr).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{redirected}: it does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        let made = server.send("POST /v1/teams", &bearer(&key), &json!({ "name": format!("Team {at}") }).to_string());
        assert!(made.starts_with("HTTP/1.1 200"), "{redirected}: {made}");
        let mut server = server;
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0), "{redirected}");
        let teams: i64 = rusqlite::Connection::open(place.path().join("guildhall.db"))
            .unwrap()
            .query_row("SELECT count(*) FROM team", [], |row| row.get(0))
            .unwrap();
        assert_eq!(teams, 2, "{redirected}: nothing but the database is in its file");
    }
}

#[test]
fn a_hangup_ends_a_demo_and_no_server() {
    let place = tempfile::tempdir().unwrap();
    init(place.path());
    let server = Logged::start(place.path(), &["serve"]);
    server.signal("HUP");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        assert!(server.send("GET /healthz", "", "").starts_with("HTTP/1.1 200"));
    }
    assert!(server.end().contains("SIGHUP"));

    let temporary = tempfile::tempdir().unwrap();
    let there = || std::fs::read_dir(temporary.path()).unwrap().count();
    let mut demo = guildhall();
    demo.args(["demo", "--listen", "127.0.0.1:0", "-o", "json"]).env("TMPDIR", temporary.path());
    let mut process = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    assert_eq!(there(), 1);
    let mut demo = Logged { process, addr: ([127, 0, 0, 1], 0).into() };
    demo.signal("HUP");
    assert_eq!((demo.wait(), there()), (Some(0), 0), "it tidies up");
}

#[test]
fn few_file_descriptors_are_told_and_the_limit_is_raised() {
    let place = tempfile::tempdir().unwrap();
    init(place.path());
    let start = |limits: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_guildhall"), "serve"]);
        Logged::by(command, place.path())
    };
    let server = start("ulimit -Sn 100; ulimit -Hn 3000");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.process.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("3000"), "{files}");
    assert!(!server.end().contains("files may be open"));
    assert!(start("ulimit -n 200").end().contains("only 200 files may be open"));
}
