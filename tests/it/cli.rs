//! Does each command do what its help says, and exit with the right status?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A command of the binary. What the environment knows of data directories is not for these tests.
fn guildhall(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
    command.args(arguments).env_remove("GUILDHALL_DATA").env_remove("GUILDHALL_PUBLIC_URL").stdin(Stdio::null());
    command
}

/// Where this test keeps its data.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a directory for the test"))
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn run(&self, arguments: &[&str]) -> Done {
        Done::of(guildhall(arguments).arg("--data").arg(self.data()))
    }

    fn init(&self) -> Done {
        self.run(&["init", "--organization", "acme", "--email", "ada@acme.example", "--name", "Ada", "-o", "json"])
    }

    fn create(&self, name: &str) -> Done {
        self.run(&["organization", "create", name, "--email", "ada@acme.example", "--name", "Ada", "-o", "json"])
    }

    fn start(&self, command: &str) -> Running {
        Running::of(guildhall(&[command, "--listen", "127.0.0.1:0", "--data"]).arg(self.data()))
    }

    /// The database as it lies on the disk.
    fn database(&self) -> Vec<u8> {
        std::fs::read(self.data().join("guildhall.db")).expect("there is a database")
    }
}

/// A command that has ended.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Done {
    fn of(command: &mut Command) -> Done {
        let Output { status, stdout, stderr } = command.output().expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Done { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    #[track_caller]
    fn well(self) -> Done {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// It failed with this code, said this, and left standard output alone.
    #[track_caller]
    fn badly(self, code: i32, words: &str) -> Done {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.err.contains(words), "{}", self.err);
        assert_eq!(self.out, "");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("standard output carries JSON and nothing else")
    }
}

/// A command that runs until it is told to end.
struct Running {
    child: Child,
    first_line: String,
}

impl Running {
    fn of(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut first_line = String::new();
        let mut out = BufReader::with_capacity(1, child.stdout.take().expect("it is piped"));
        out.read_line(&mut first_line).expect("text");
        child.stdout = Some(out.into_inner());
        Running { child, first_line: first_line.trim_end().to_owned() }
    }

    fn tell(&self, signal: &str) {
        let told = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(told.expect("there is a kill").success());
    }

    /// Sends the signal and answers how the command ended, and what it said after its first line.
    fn end(mut self, signal: &str) -> Done {
        self.tell(signal);
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().expect("it is piped").read_to_string(&mut out).expect("text");
        self.child.stderr.take().expect("it is piped").read_to_string(&mut err).expect("text");
        Done { code: self.child.wait().expect("it ends").code(), out, err }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

/// A test that fails leaves no server behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// The status and the body of a reply over the network.
fn get(url: &str, path: &str, key: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(url.strip_prefix("http://").expect("a URL")).expect("it listens");
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).expect("text");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

#[test]
fn every_command_helps_with_examples() {
    let leaves: &[&[&str]] = &[
        &["serve"],
        &["demo"],
        &["init"],
        &["organization", "create"],
        &["fixtures", "load"],
        &["fixtures", "check"],
        &["secrets", "discard"],
        &["permissions"],
    ];
    let overview = Done::of(&mut guildhall(&["--help"])).well();
    assert!(overview.out.contains("Exit codes:"));
    for leaf in leaves {
        assert!(overview.out.contains(leaf[0]), "{leaf:?} stands in the overview");
        let help = Done::of(guildhall(leaf).arg("--help")).well();
        let example = format!("Examples:\n  guildhall {}", leaf.join(" "));
        assert!(help.out.contains(&example), "{leaf:?}: {}", help.out);
        assert_eq!(help.err, "");
    }
}

#[test]
fn wrong_usage_is_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["rule"],
        &["serve", "--port", "1"],
        &["organization"],
        &["organization", "create", "acme"],
        &["init", "--organization", "acme", "--email", "ada@acme.example"],
        &["fixtures", "load"],
        &["permissions", "-o", "yaml"],
    ];
    for arguments in wrong {
        Done::of(&mut guildhall(arguments)).badly(2, "--help");
    }
}

#[test]
fn without_a_home_the_data_directory_must_be_named() {
    let mut serve = guildhall(&["serve"]);
    Done::of(serve.env_remove("HOME").env_remove("XDG_DATA_HOME")).badly(1, "--data DIR");
}

#[test]
fn the_environment_names_the_data_directory_unless_the_command_does() {
    let (named, place) = (Place::new(), Place::new());
    let init = ["init", "--organization", "acme", "--email", "ada@acme.example", "--name", "Ada"];
    Done::of(guildhall(&init).env("GUILDHALL_DATA", place.data())).well();
    Done::of(guildhall(&init).env("GUILDHALL_DATA", place.data()).arg("--data").arg(named.data())).well();
    assert!(place.data().join("guildhall.db").exists() && named.data().join("guildhall.db").exists());
}

#[test]
fn init_begins_an_installation_once() {
    let place = Place::new();
    let first = place.init().well();
    for field in ["org_id", "user_id", "api_key"] {
        assert!(!text(&first.json()[field]).is_empty());
    }
    assert!(first.err.contains("master.key") && first.err.contains("back this up"), "{}", first.err);
    let before = place.database();
    place.init().badly(5, "guildhall organization create");
    assert!(place.database() == before, "not a byte");
}

#[test]
fn without_json_the_key_stands_alone_on_standard_output() {
    let place = Place::new();
    let arguments = ["init", "--organization", "acme", "--email", "ada@acme.example", "--name", "Ada", "--teams"];
    let done = place.run(&arguments).well();
    assert!(done.out.starts_with("guild_") && done.out.trim_end().len() == 53, "{}", done.out);
    assert!(done.err.contains("will not be shown again") && !done.err.contains("guild_"), "{}", done.err);
}

#[test]
fn what_is_asked_wrongly_is_5_and_names_the_field() {
    let place = Place::new();
    place.run(&["init", "--organization", "acme", "--email", "ada", "--name", "Ada"]).badly(5, "`email`");
    place.init().well();
    place.create("ACME").badly(5, "exists: choose another name");
    place.create(" ").badly(5, "`name`");
}

#[test]
fn a_second_server_is_refused_at_once_with_the_first_one_s_number() {
    let place = Place::new();
    place.init().well();
    let server = place.start("serve");
    place.run(&["serve", "--listen", "127.0.0.1:0"]).badly(1, &server.pid());
    place.run(&["demo", "--listen", "127.0.0.1:0"]).badly(1, &server.pid());
    place.init().badly(1, &server.pid()).badly(1, "guildhall organization create");
    let (status, _) = get(&server.first_line, "/v1/organizations/me", "guild_");
    assert_eq!(status, 401, "the first one goes on");
    assert_eq!(server.end("TERM").code, Some(0));
}

#[test]
fn organizations_are_made_beside_a_server_and_without_one() {
    let place = Place::new();
    place.init().well();
    let before = place.create("before").well().json();
    let server = place.start("serve");
    let beside = place.create("beside").well().json();
    place.create("beside").badly(5, "exists: choose another name");
    place.run(&["fixtures", "load", &fixture("solo.json").display().to_string()]).well();
    for (made, name) in [(before, "before"), (beside, "beside")] {
        let (status, me) = get(&server.first_line, "/v1/organizations/me", text(&made["api_key"]));
        assert_eq!((status, text(&me["name"])), (200, name));
    }
    assert_eq!(server.end("TERM").code, Some(0));
    place.create("after").well();
}

#[test]
fn commands_wait_for_each_other() {
    let place = Place::new();
    place.init().well();
    let make = |number: usize| {
        let name = format!("team {number}");
        let mut command = guildhall(&["organization", "create", &name, "--email", "ada@acme.example", "--name", "Ada"]);
        command.arg("--data").arg(place.data()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("it starts")
    };
    let children: Vec<Child> = (0..4).map(make).collect();
    for mut child in children {
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn a_server_says_how_to_begin_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let server = place.start("serve");
        assert!(server.first_line.starts_with("http://127.0.0.1:"), "{}", server.first_line);
        let done = server.end(signal).well();
        assert!(done.err.contains("back this up") && done.err.contains("guildhall init"), "{}", done.err);
        let setup = "Set up the first organization within 30 minutes: http://127.0.0.1:";
        assert!(done.out.starts_with(setup) && done.out.lines().count() == 1, "{}", done.out);
        let left: Vec<_> = std::fs::read_dir(place.data())
            .expect("there is a directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .filter(|name| name.ends_with("-wal") || name.ends_with(".sock"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let again = place.start("serve").end("TERM").well();
        assert!(!again.err.contains("back this up"), "the key is made once: {}", again.err);
    }
}

#[test]
fn an_address_that_is_taken_is_told() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    place.run(&["serve", "--listen", &address]).badly(1, &address);
    place.run(&["serve", "--listen", "nowhere"]).badly(1, "ADDRESS:PORT");
}

#[test]
fn a_wrong_master_key_is_refused_and_nothing_is_touched() {
    let place = Place::new();
    place.init().well();
    // Killed, a server leaves its log: not even that may be written back.
    let server = place.start("serve");
    place.create("logged").well();
    server.end("KILL");
    let before = place.database();
    let key = place.data().join("master.key");
    let right = std::fs::read(&key).expect("there is a key");
    for wrong in ["a".repeat(64), "no key".to_owned()] {
        std::fs::write(&key, wrong).expect("it can be written");
        place.run(&["serve", "--listen", "127.0.0.1:0"]).badly(1, "master.key");
        place.create("beta").badly(1, "master.key");
    }
    std::fs::remove_file(&key).expect("it can be removed");
    place.run(&["serve", "--listen", "127.0.0.1:0"]).badly(1, "cannot read the master key");
    assert!(!key.exists(), "no other is made");
    assert!(place.database() == before, "not a byte");
    std::fs::write(&key, right).expect("it can be written");
    place.create("beta").well();
    place.create("logged").badly(5, "exists");
}

#[test]
fn a_bad_fixture_is_told_with_its_file_and_place() {
    let place = Place::new();
    let file = place.0.path().join("bad.json");
    let acme = std::fs::read_to_string(fixture("acme.json")).expect("a file of the repository");
    std::fs::write(&file, acme.replacen("\"Inference\": \"ADMIN\"", "\"Inferense\": \"ADMIN\"", 1)).expect("written");
    let load = ["fixtures", "load", &file.display().to_string()];
    let done = place.run(&load).badly(5, "bad.json");
    assert!(done.err.contains("`people[1].teams.Inferense`") && done.err.contains("no team"), "{}", done.err);
    place.run(&["fixtures", "load", "no-such-file.json"]).badly(1, "no-such-file.json");
    place.init().well();
}

#[test]
fn fixtures_load_prints_the_keys_and_they_work() {
    let place = Place::new();
    let file = fixture("acme.json").display().to_string();
    let done = place.run(&["fixtures", "load", &file, "-o", "json"]).well();
    let people = done.json()["organizations"][0]["people"].clone();
    let talk = place.run(&["fixtures", "load", &fixture("solo.json").display().to_string()]).well();
    assert_eq!(talk.out.matches("guild_").count(), 5, "{}", talk.out);
    let server = place.start("serve");
    for person in items(&people) {
        let (status, _) = get(&server.first_line, "/v1/organizations/me", text(&person["api_key"]));
        assert_eq!(status, 200);
    }
    assert_eq!(server.end("TERM").code, Some(0));
}

#[test]
fn fixtures_are_checked_without_a_data_directory() {
    let place = Place::new();
    let check = |file: &Path| Done::of(guildhall(&["fixtures", "check"]).arg(file).env("GUILDHALL_DATA", place.data()));
    let done = check(&fixture("acme.json")).well();
    assert!(done.err.contains("\"acme\": 8 people, 4 teams"), "{}", done.err);
    let bad = place.0.path().join("bad.json");
    std::fs::write(&bad, "[]").expect("written");
    check(&bad).badly(5, "bad.json: the list is empty");
    check(Path::new("no-such-file.json")).badly(1, "no-such-file.json");
    assert!(!place.data().exists());
}

#[test]
fn the_demo_says_whose_keys_they_are_and_exports_them() {
    let place = Place::new();
    let done = place.start("demo").end("TERM").well();
    for line in
        ["export ADA=guild_", "export TOMAS=guild_", "key \"laptop-of-ada\"", "\"help-desk\", models support-summaries"]
    {
        assert!(done.out.contains(line), "{line}: {}", done.out);
    }
    assert_eq!(done.out.matches("  export ").count(), 11, "a line for each person");
}

#[test]
fn a_big_file_is_taken_from_the_operator_and_from_nobody_else() {
    let place = Place::new();
    let mut fixture: Value =
        serde_json::from_slice(&std::fs::read(fixture("solo.json")).expect("a file")).expect("JSON");
    let secret = |number| serde_json::json!({"name": format!("big_{number}"), "value": "x".repeat(60_000)});
    fixture["teams"][0]["secrets"] = (0..30).map(secret).collect();
    let file = place.0.path().join("big.json");
    std::fs::write(&file, fixture.to_string()).expect("written");
    let server = place.start("serve");
    let mut stranger = TcpStream::connect(&server.first_line["http://".len()..]).expect("it listens");
    let head = "POST /v1/operator/fixtures HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000000\r\n\r\n";
    stranger.write_all(head.as_bytes()).expect("it reads");
    let mut reply = [0; 12];
    stranger.read_exact(&mut reply).expect("it answers before the body has come");
    assert_eq!(&reply, b"HTTP/1.1 404");
    place.run(&["fixtures", "load", &file.display().to_string()]).well();
    assert_eq!(server.end("TERM").code, Some(0));
}

#[test]
fn the_demo_says_one_line_of_json_and_serves_it() {
    let place = Place::new();
    let data = place.data();
    let mut command = guildhall(&["demo", "--listen", "127.0.0.1:0", "-o", "json", "--data"]);
    let demo = Running::of(command.arg(&data));
    let line: Value = serde_json::from_str(&demo.first_line).expect("one line of JSON");
    let names: Vec<_> = items(&line["organizations"]).iter().map(|organization| text(&organization["name"])).collect();
    assert_eq!(names, ["acme", "solo"]);
    for organization in items(&line["organizations"]) {
        let expected = (200, text(&organization["org_id"]));
        let sees = |key: &Value| {
            let (status, me) = get(text(&line["url"]), "/v1/organizations/me", text(key));
            assert_eq!((status, text(&me["org_id"])), expected);
        };
        for person in items(&organization["people"]) {
            for field in ["user_id", "email", "name", "role"] {
                assert!(!text(&person[field]).is_empty());
            }
            for team in items(&person["teams"]) {
                assert!(["ADMIN", "MEMBER"].contains(&text(&team["role"])));
                let of = |it: &&Value| it["team_id"] == team["team_id"] && it["name"] == team["name"];
                assert!(items(&organization["teams"]).iter().any(|it| of(&it)));
            }
            sees(&person["api_key"]);
        }
        let defaults = items(&organization["teams"]).iter().filter(|team| team["default"] == true).count();
        assert_eq!(defaults, 1);
        for key in items(&organization["teams"]).iter().flat_map(|team| items(&team["api_keys"])) {
            assert!(text(&key["api_key"]).starts_with(text(&key["prefix"])) && text(&key["type"]).starts_with("WORK"));
            sees(&key["api_key"]);
        }
    }
    let done = demo.end("TERM").well();
    assert_eq!(done.out, "", "one line and nothing else");
    place.run(&["demo", "--listen", "127.0.0.1:0"]).badly(1, "guildhall serve --data");
    let (status, _) =
        get(&place.start("serve").first_line, "/v1/teams", text(&line["organizations"][0]["people"][0]["api_key"]));
    assert_eq!(status, 200, "what a demo has left can be served");
}

#[test]
fn a_demo_of_its_own_leaves_nothing() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let mut command = guildhall(&["demo", "--listen", "127.0.0.1:0"]);
        // A data directory of the operator's is not the demo's to use.
        let demo = Running::of(command.env("TMPDIR", place.0.path()).env("GUILDHALL_DATA", place.data()));
        assert!(demo.first_line.contains("http://127.0.0.1:"), "{}", demo.first_line);
        let there = || std::fs::read_dir(place.0.path()).expect("there is a directory").count();
        assert_eq!(there(), 1);
        let done = demo.end(signal).well();
        assert!(
            done.out.contains("truss, once this listens on port 8000") && done.out.contains("ada@acme.example"),
            "{}",
            done.out
        );
        assert_eq!((there(), done.err.as_str()), (0, ""));
    }
}

#[test]
fn permissions_are_printed() {
    let tables = Done::of(&mut guildhall(&["permissions"])).well();
    assert!(tables.out.contains("Manage billing") && tables.out.contains("View team resources"), "{}", tables.out);
    let json = Done::of(&mut guildhall(&["permissions", "-o", "json"])).well().json();
    assert_eq!(json["organization"]["roles"], serde_json::json!(["ADMIN", "MEMBER"]));
    for table in ["organization", "team", "team_api_keys"] {
        assert!(!items(&json[table]["acts"]).is_empty(), "{table}");
    }
}
