//! What does the command do if its surroundings are wrong: no output, no disk space, no permission, files of another
//! user, or a start that was interrupted?

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use guildhall::db::Db;
use guildhall::db::directory::Directory;
use serde_json::json;

use crate::process::{self, Client, Serving, guildhall};
use crate::seed::WORLD;
use crate::test_server::{BEGIN, TestServer};

mod access;
mod cut_off;
mod isolated;

const FOUNDER: [&str; 4] = ["--email", "ada@acme.example", "--name", "Ada"];

/// A folder of this test's own, and the data directory in it, which is not there yet.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().expect("a directory for the test"))
    }

    pub fn data(&self) -> PathBuf {
        self.0.path().join("deep").join("data")
    }

    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        std::fs::create_dir_all(self.data()).unwrap();
        let path = self.data().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("it is there");
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

fn init(data: &Path) -> Command {
    let mut command = guildhall();
    command.args(["init", "--organization", "acme"]).args(FOUNDER).arg("--data").arg(data);
    command
}

fn create(name: &str, data: &Path) -> Command {
    let mut command = guildhall();
    command.args(["organization", "create", name]).args(FOUNDER).arg("--data").arg(data);
    command
}

fn serve(data: &Path) -> Command {
    let mut command = guildhall();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    command
}

fn load(file: &Path, data: &Path) -> Command {
    let mut command = guildhall();
    command.args(["fixtures", "load"]).arg(file).arg("--data").arg(data);
    command
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The exit code, and what standard error said.
#[track_caller]
fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().expect("it starts");
    (status.code(), String::from_utf8(stderr).expect("text"))
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let (code, err) = outcome(command);
    assert_eq!(code, Some(0), "{err}");
    err
}

#[track_caller]
fn fails(command: &mut Command, code: i32, words: &[&str]) {
    let (ended, err) = outcome(command);
    assert_eq!(ended, Some(code), "{err}");
    for word in words {
        assert!(err.contains(word), "{word}: {err}");
    }
}

/// Whether a program of the system can do this here; a test that needs it says loudly that it is left out.
pub fn can(command: &mut Command) -> bool {
    let can = command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !can {
        eprintln!("LEFT OUT: {command:?} does not work on this host");
    }
    can
}

// ---- variables ----

/// Compose files and units write variables that are set to nothing.
#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let data = tempfile::tempdir().unwrap();
    let mut command = guildhall();
    for name in ["LOG", "LOG_FORMAT", "QUOTA", "PUBLIC_URL", "TRUSTED_PROXIES", "CONNECTIONS_PER_PEER"] {
        command.env(format!("GUILDHALL_{name}"), "");
    }
    command.args(["serve", "--listen", "nowhere", "--data"]).arg(data.path().join("data"));
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot listen on nowhere"), "{told}");
}

// ---- standard output ----

/// Runs the command by a shell that gives it a standard output that takes nothing.
fn without_output(command: &Command, redirected: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("\"$0\" \"$@\" {redirected}")).arg(command.get_program()).args(command.get_args());
    shell.env_remove("GUILDHALL_DATA").env_remove("GUILDHALL_PUBLIC_URL");
    shell
}

/// Full, closed, and a pipe that nobody reads any more; the shell waits until its reader is gone.
const NO_OUTPUT: [&str; 3] = [">/dev/full", ">&-", "| { exec <&-; }"];

#[track_caller]
fn makes_nothing(command: &Command) {
    for redirected in NO_OUTPUT {
        for format in ["text", "json"] {
            let mut quiet = Command::new(command.get_program());
            quiet.args(command.get_args()).args(["-o", format]);
            let (code, err) = outcome(&mut without_output(&quiet, redirected));
            if !redirected.starts_with('|') {
                assert_eq!(code, Some(1), "{redirected}: {err}");
            }
            assert!(err.contains("standard output") && err.contains("nothing was made"), "{redirected}: {err}");
            assert!(!err.contains("guild_"), "{redirected}: {err}");
        }
    }
}

#[test]
fn what_cannot_be_shown_is_not_made() {
    let place = Place::new();
    makes_nothing(&init(&place.data()));
    makes_nothing(&create("beta", &place.data()));
    makes_nothing(&load(&fixture("acme.json"), &place.data()));
    let mut demo = guildhall();
    demo.args(["demo", "--listen", "127.0.0.1:0", "--data"]).arg(place.data());
    makes_nothing(&demo);
    assert_eq!(place.names(), [] as [&str; 0], "no directory, no key");
    succeeds(&mut init(&place.data()));
    makes_nothing(&create("beta", &place.data()));
    succeeds(&mut create("beta", &place.data()));
}

#[test]
fn beside_a_server_too_what_cannot_be_shown_is_not_made() {
    let place = Place::new();
    let key = process::init(&place.data());
    let server = Serving::start(&place.data());
    makes_nothing(&create("beta", &place.data()));
    makes_nothing(&load(&fixture("solo.json"), &place.data()));
    succeeds(&mut create("beta", &place.data()));
    succeeds(&mut load(&fixture("solo.json"), &place.data()));
    let log = Client::new(server.addr, &key).send("GET", "/v1/audit_logs", None).unwrap();
    assert_eq!(log.0, 200, "{}", log.1);
}

#[test]
fn what_was_shown_works() {
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let server = Serving::start(&place.data());
    for (name, server_runs) in [("beside", true), ("also", true)] {
        let made = create(name, &place.data()).args(["-o", "json"]).output().unwrap();
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        let mut client = Client::new(server.addr, made["api_key"].as_str().unwrap());
        let (status, me) = client.send("GET", "/v1/organizations/me", None).unwrap();
        assert_eq!((status, me["name"].as_str()), (200, Some(name)), "{server_runs}");
    }
}

// ---- what is refused leaves nothing ----

#[test]
fn a_refused_beginning_leaves_nothing() {
    let place = Place::new();
    let mut refused = guildhall();
    refused.args(["init", "--organization", "acme", "--email", "ada", "--name", "Ada", "--data"]).arg(place.data());
    fails(&mut refused, 5, &["`email`"]);
    let bad = place.0.path().join("bad.json");
    std::fs::write(&bad, "[]").unwrap();
    fails(&mut load(&bad, &place.data()), 5, &["bad.json", "the list is empty"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = guildhall();
    command.args(["serve", "--listen", &taken.local_addr().unwrap().to_string(), "--data"]).arg(place.data());
    fails(&mut command, 1, &["cannot listen"]);
    assert_eq!(place.names(), ["bad.json"]);
    // A directory that was there stays, and so does what is another's.
    place.file("notes.txt", b"mine");
    fails(&mut load(&bad, &place.data()), 5, &["the list is empty"]);
    assert_eq!(names(&place.data()), ["notes.txt"]);
}

#[test]
fn an_installation_that_is_there_is_not_taken_away_by_what_is_refused() {
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let before = names(&place.data());
    fails(&mut init(&place.data()), 5, &["already"]);
    fails(&mut create("acme", &place.data()), 5, &["exists"]);
    assert_eq!(names(&place.data()), before);
    succeeds(&mut create("beta", &place.data()));
}

// ---- files that are not ours ----

/// Every command that opens a database.
fn commands(data: &Path) -> Vec<Command> {
    let mut demo = guildhall();
    demo.args(["demo", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut discard = guildhall();
    discard.args(["secrets", "discard", "--yes", "--data"]).arg(data);
    vec![serve(data), demo, init(data), create("beta", data), load(&fixture("solo.json"), data), discard]
}

#[test]
fn a_file_that_is_no_database_of_ours_is_left_alone_by_every_command() {
    let foreign = |statements: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(statements).unwrap();
        std::fs::read(path).unwrap()
    };
    let cases = [
        (Vec::new(), "is empty"),
        (b"this is a text, and a long one".repeat(100), "is not a database of guildhall"),
        (foreign("CREATE TABLE installation (a)"), "is not a database of guildhall"),
        (foreign("PRAGMA application_id = 7; CREATE TABLE a (a)"), "is not a database of guildhall"),
        (
            foreign(
                "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name TEXT);
                 INSERT INTO refinery_schema_history VALUES (1, 'theirs');
                 CREATE TABLE installation (id)",
            ),
            "is not a database of guildhall",
        ),
    ];
    for (content, why) in cases {
        let place = Place::new();
        let database = place.file("guildhall.db", &content);
        for mut command in commands(&place.data()) {
            fails(&mut command, 1, &["guildhall.db", why]);
            assert!(std::fs::read(&database).unwrap() == content, "not a byte: {command:?}");
            assert_eq!(names(&place.data()), ["guildhall.db"], "{command:?}");
        }
    }
}

#[test]
fn no_database_is_made_where_a_master_key_is() {
    let place = Place::new();
    place.file("master.key", "a".repeat(64).as_bytes());
    for mut command in commands(&place.data()) {
        fails(&mut command, 1, &["database"]);
        assert_eq!(names(&place.data()), ["master.key"], "{command:?}");
    }
}

#[test]
fn a_database_of_a_newer_guildhall_is_said_to_be_one() {
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let database = place.data().join("guildhall.db");
    let sql = rusqlite::Connection::open(&database).unwrap();
    sql.execute_batch("UPDATE refinery_schema_history SET version = 9999 WHERE version > 1 AND version = (SELECT max(version) FROM refinery_schema_history)").unwrap();
    sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(sql);
    let before = std::fs::read(&database).unwrap();
    for mut command in commands(&place.data()) {
        fails(&mut command, 1, &["written by a newer guildhall", "9999"]);
    }
    assert!(std::fs::read(&database).unwrap() == before, "not a byte");
}

#[test]
fn a_damaged_database_is_refused_or_tells_the_truth() {
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    let database = place.data().join("guildhall.db");
    let whole = std::fs::read(&database).unwrap();
    for kept in [100, 4096, 4096 * 3 + 17, whole.len() / 2] {
        std::fs::write(&database, &whole[..kept]).unwrap();
        let (code, err) = outcome(&mut create("beta", &place.data()));
        assert_ne!(code, Some(0), "{kept}: {err}");
        assert!(!err.contains("panicked") && !err.contains("disk is full"), "{kept}: {err}");
    }
}

// ---- a lost master key ----

#[test]
fn a_lost_master_key_is_told_with_what_it_costs_and_can_be_given_up() {
    let place = Place::new();
    succeeds(&mut load(&fixture("acme.json"), &place.data()));
    let key = process_key(&place.data());
    let file = place.data().join("master.key");
    let right = std::fs::read(&file).unwrap();
    let discard = || {
        let mut command = guildhall();
        command.args(["secrets", "discard", "--yes", "--data"]).arg(place.data());
        command
    };
    fails(&mut discard(), 5, &["no secret is lost"]);
    fails(guildhall().args(["secrets", "discard", "--data"]).arg(place.data()), 2, &["--yes"]);
    let sql = || rusqlite::Connection::open(place.data().join("guildhall.db")).unwrap();
    let count = |table: &str| -> i64 {
        sql().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let (values, secrets, keys) = (count("secret_value"), count("secret"), count("api_key"));
    let teams: i64 = sql().query_row("SELECT count(DISTINCT team_id) FROM secret", [], |row| row.get(0)).unwrap();
    let lost = format!("{values} secrets in {teams} teams of 1 organization");
    std::fs::remove_file(&file).unwrap();
    fails(&mut serve(&place.data()), 1, &["master.key", &lost, "guildhall secrets discard --yes"]);
    std::fs::write(&file, "b".repeat(64)).unwrap();
    fails(&mut create("beta", &place.data()), 1, &["is not the master key", &lost, "secrets discard --yes"]);
    std::fs::write(&file, "").unwrap();
    fails(&mut serve(&place.data()), 1, &["does not hold a master key", &lost]);
    assert_eq!(count("secret_value"), values, "nothing is dropped unasked");

    std::fs::write(&file, "b".repeat(64)).unwrap();
    let told = succeeds(&mut discard());
    assert!(told.contains(&values.to_string()) && told.contains("back this up"), "{told}");
    assert_ne!(std::fs::read(&file).unwrap(), right);
    assert_eq!(access::mode(&file), 0o600);
    assert_eq!((count("secret_value"), count("secret"), count("api_key")), (0, secrets, keys));
    let noted: (String, String) = sql()
        .query_row("SELECT event_data, actor_type FROM audit WHERE event_type = 'SECRETS_DISCARDED'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&noted.0).unwrap(),
        json!({"secrets": values, "teams": teams})
    );
    fails(&mut discard(), 5, &["no secret is lost"]);
    // The server goes on, and takes the values anew.
    let server = Serving::start(&place.data());
    fails(&mut discard(), 1, &["in use by another guildhall"]);
    let mut ada = Client::new(server.addr, &key);
    let value = json!({"name": "hf_access_token", "value": "again"});
    assert_eq!(ada.send("POST", "/v1/secrets", Some(value)).unwrap().0, 200);
    let kept: Vec<String> = names(&place.data()).into_iter().filter(|name| name.starts_with("master.key.")).collect();
    assert_eq!(kept.len(), 1, "the other key is kept aside: {kept:?}");
}

/// A key of another organization's admin, made for a test.
fn process_key(data: &Path) -> String {
    let made = create("keyholder", data).output().unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

// ---- two at once ----

#[test]
fn of_many_that_start_at_once_the_losers_name_the_winner() {
    let place = Place::new();
    succeeds(&mut init(&place.data()));
    // What a killed process has left.
    std::fs::write(place.data().join("lock"), "999999999\n").unwrap();
    let mut started: Vec<_> = (0..12)
        .map(|_| serve(&place.data()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    while started.iter_mut().filter_map(|process| process.try_wait().unwrap()).count() < 11 {
        assert!(Instant::now() < deadline, "one stays, the others end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let winner = started.iter_mut().position(|process| process.try_wait().unwrap().is_none()).expect("one stays");
    let mut winner = started.remove(winner);
    let pid = format!("process {}", winner.id());
    for loser in started {
        let Output { status, stderr, .. } = loser.wait_with_output().unwrap();
        let err = String::from_utf8(stderr).unwrap();
        assert!(status.code() == Some(1) && err.contains(&pid), "{pid}: {err}");
    }
    winner.kill().unwrap();
    winner.wait().unwrap();
}

// ---- archives ----

#[test]
fn missing_archives_are_told_at_start_and_hinder_nothing() {
    let server = WORLD.server();
    let hash = format!("{}1", "0".repeat(63));
    server
        .sql()
        .execute_batch(&format!(
            "INSERT INTO upload (s3_key, org_id, user_id, api_key_prefix, hash, bytes, uploaded_at, taken_at)
             VALUES ('models/lost', 'acme', 'max', 'guild_somebody', x'{hash}', 7, {now}, {now});
             UPDATE deployment SET s3_key = 'models/lost' WHERE id = (SELECT min(id) FROM deployment);",
            now = BEGIN.0
        ))
        .unwrap();
    let deployment: String =
        server.sql().query_row("SELECT id FROM deployment WHERE s3_key = 'models/lost'", [], |row| row.get(0)).unwrap();
    let data = server.shut();
    let mut child = serve(data.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 7];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"http://", "it serves");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let err = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{err}");
    assert!(err.contains(": 2;") && err.contains("Chain deployment") && err.contains(&deployment), "{err}");
}

// ---- the log ----

#[test]
fn the_log_is_cut_once_nobody_reads_it() {
    let server = WORLD.server();
    let log = server.data().join("guildhall.db-wal");
    let sql = server.sql();
    sql.execute_batch("BEGIN; SELECT count(*) FROM secret;").unwrap();
    for number in 0..120 {
        let body = json!({"name": format!("long_{}", number % 4), "value": format!("{number}{}", "x".repeat(60_000))});
        let set = server.send(Some(WORLD.keys.text("ada")), "POST", "/v1/teams/research/secrets", Some(body));
        assert_eq!(set.status, 200, "{}", set.body);
    }
    let long = log.metadata().unwrap().len();
    assert!(long > 6 << 20, "a foreign reader keeps the log: {long}");
    sql.execute_batch("COMMIT").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while log.metadata().unwrap().len() > 4 << 20 {
        assert!(Instant::now() < deadline, "it stays {} bytes long", log.metadata().unwrap().len());
        std::thread::sleep(Duration::from_millis(100));
    }
    let listed = server.send(Some(WORLD.keys.text("ada")), "GET", "/v1/teams/research/secrets", None);
    assert_eq!(listed.status, 200);
}

#[test]
fn a_new_installation_is_of_this_schema_and_is_ours() {
    let server = TestServer::empty();
    let id: i64 = server.sql().pragma_query_value(None, "application_id", |row| row.get(0)).unwrap();
    assert_eq!(id.to_be_bytes()[4..], *b"GldH");
    assert!(server.app.db.migrated().is_none());
    let data = server.shut();
    let directory = Directory::take(data.path()).unwrap();
    assert!(Db::open(directory, guildhall::db::Now { time: BEGIN, seed: [1; 32] }).unwrap().migrated().is_none());
}
