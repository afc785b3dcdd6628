//! The operator's commands that restore a person's access, with a running server and without one.

use std::path::Path;

use serde_json::{Value, json};

use crate::process::{Client, Serving, guildhall, init};
use crate::vocabulary::text;

const CREATE: [&str; 7] = ["user", "api-key", "create", "--organization", "Acme", "--email", "ada@example.com"];
const RESET: [&str; 5] = ["user", "password", "reset", "--email", "ada@example.com"];

fn run(data: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = guildhall().args(words).arg("--data").arg(data).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn json_of(data: &Path, words: &[&str]) -> Value {
    let (code, out, err) = run(data, &[words, &["-o", "json"]].concat());
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}

fn me(serving: &Serving, key: &str) -> (u16, Value) {
    Client::new(serving.addr, key).send("GET", "/v1/users/me", None).unwrap()
}

#[test]
fn a_key_and_a_link_are_issued_beside_a_server_and_without_one() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let admin = init(&data);

    let before = json_of(&data, &CREATE);
    let link_before = json_of(&data, &RESET);
    let serving = Serving::start(&data);
    let beside = json_of(&data, &[&CREATE[..], &["--name", "laptop"]].concat());
    let link_beside = json_of(&data, &RESET);
    for issued in [&before, &beside] {
        let (status, me) = me(&serving, &text(&issued["api_key"]));
        assert_eq!((status, &me["email"]), (200, &json!("ada@example.com")));
        assert_eq!(issued["user_id"], me["user_id"]);
        assert!(text(&issued["api_key"]).starts_with(&text(&issued["prefix"])));
    }

    let begins = |link: &Value, url: &str| assert!(text(&link["reset_url"]).starts_with(url), "{link}");
    begins(&link_before, "http://localhost:8000/reset/");
    begins(&link_beside, &format!("http://{}/reset/", serving.addr));

    // The later link replaces the earlier; it works once, and gives a key.
    let mut client = Client::new(serving.addr, &admin);
    let mut reset = |link: &Value| {
        let token = text(&link["reset_url"]).rsplit('/').next().unwrap().to_owned();
        let body = json!({ "token": token, "password": "correct horse", "api_key_name": "again" });
        client.send("POST", "/v1/users/reset", Some(body)).unwrap()
    };
    assert_eq!(reset(&link_before).0, 404);
    let (status, done) = reset(&link_beside);
    assert_eq!((status, &done["email"]), (200, &json!("ada@example.com")), "{done}");
    assert_eq!(me(&serving, &text(&done["api_key"])).0, 200);
    assert_eq!(reset(&link_beside).0, 404);

    let (_, log) = Client::new(serving.addr, &admin).send("GET", "/v1/audit_logs", None).unwrap();
    let issued = log.to_string().matches("CREDENTIAL_ISSUED_BY_OPERATOR").count();
    assert!(issued >= 4, "{log}");
}

#[test]
fn what_cannot_be_issued_is_said_and_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    init(&data);
    let with = |change: &[(usize, &'static str)], words: &[&'static str]| {
        let mut words = words.to_vec();
        change.iter().for_each(|(at, word)| words[*at] = word);
        run(&data, &words)
    };
    for (code, change) in [(4, (4, "Nowhere")), (4, (6, "nobody@example.com")), (5, (6, "no address"))] {
        let (got, out, err) = with(&[change], &CREATE);
        assert_eq!((got, &*out), (Some(code), ""), "{err}");
        assert!(err.starts_with("guildhall: "), "{err}");
    }
    let (got, out, _) = with(&[(4, "nobody@example.com")], &RESET);
    assert_eq!((got, &*out), (Some(4), ""));
    let (got, _, err) = with(&[], &[&CREATE[..], &["--name", "Not A Name"]].concat());
    assert_eq!(got, Some(5));
    assert!(err.contains("`name`"), "{err}");
}

#[test]
fn what_cannot_be_printed_is_not_made() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    init(&data);
    let rows = || {
        let sql = rusqlite::Connection::open(data.join("guildhall.db")).unwrap();
        let count = "SELECT (SELECT count(*) FROM api_key) + (SELECT count(*) FROM password_reset)";
        sql.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = rows();
    for words in [&CREATE[..], &RESET[..]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = guildhall().args(words).arg("--data").arg(&data).stdout(full).status().unwrap();
        assert_eq!((status.code(), rows()), (Some(1), before));
    }
}

#[test]
fn without_json_the_credential_stands_alone_on_standard_output() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    init(&data);
    let (code, out, err) = run(&data, &CREATE);
    assert_eq!((code, out.trim().split('.').count(), out.lines().count()), (Some(0), 2, 1), "{err}");
    assert!(out.starts_with("guild_") && !err.contains(out.trim()));
    let (code, out, err) = run(&data, &RESET);
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{err}");
    assert!(out.starts_with("http") && err.contains("/v1/users/reset"), "{out} {err}");
}
