//! The operator's commands.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::process::{Serving, guildhall, init};

fn model_api(data: &Path, words: &[&str]) -> Output {
    guildhall().arg("model-api").args(words).arg("--data").arg(data).output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn all_steps(data: &Path) {
    let file = data.join("credential.txt");
    std::fs::write(&file, "upstream-key\n").unwrap();
    let file = file.to_str().unwrap();
    done(&model_api(data, &["add", "org/ours", "--url", "http://127.0.0.1:9/v1", "--credential-file", file]));
    let again = model_api(data, &["add", "org/ours", "--url", "http://127.0.0.1:9/v1"]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    let listed = done(&model_api(data, &["list"]));
    assert_eq!(listed, "org/ours  http://127.0.0.1:9/v1  with a credential\n");
    let listed: Value = serde_json::from_str(&done(&model_api(data, &["list", "-o", "json"]))).unwrap();
    assert_eq!(listed["items"][0]["slug"], "org/ours");
    done(&model_api(data, &["remove", "org/ours"]));
    assert_eq!(model_api(data, &["remove", "org/ours"]).status.code(), Some(4));
    assert_eq!(done(&model_api(data, &["list"])), "");
    let refused = model_api(data, &["add", "ours", "--url", "ftp://127.0.0.1/"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
}

#[test]
fn upstreams_are_configured_with_and_without_a_server() {
    let data = tempfile::tempdir().unwrap();
    init(data.path());
    all_steps(data.path());
    let _serving = Serving::start(data.path());
    all_steps(data.path());
}
