//! What the launcher adds to the stock server: who may call it, what it is told while it runs, and how it ends.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use guildhall::runner::python::Failure;
use serde_json::{Value, json};

use super::child::{Call, Ours, Server, TOKEN};
use super::{Files, build, has_pypi, secrets};

fn start(config: Value, files: Files, known: &[(&str, &str)], dynamic_config: Value) -> Ours {
    let ours = Ours::start(build(&config, files).unwrap(), &secrets(known), dynamic_config);
    ours.wait_until_ready();
    ours
}

fn failure(config: Value, files: Files) -> String {
    match build(&config, files) {
        Ok(_) => panic!("it was built"),
        Err(Failure::Build(why)) => why,
        Err(other) => panic!("{other:?}"),
    }
}

const SECRET: &str = "
import os
from fastapi import Request
class Model:
    def __init__(self, secrets, environment=None): self.secrets, self.environment = secrets, environment
    def predict(self, inputs, request: Request):
        return {'secret': self.secrets['token'], 'pid': os.getpid(), 'environment': self.environment,
                'variables': dict(os.environ)}
";

#[test]
fn a_rotated_secret_reaches_the_same_process_and_is_nowhere_else() {
    if !has_pypi() {
        return;
    }
    let config = json!({"secrets": {"token": null}, "environment_variables": {"OWN": "yes"}});
    let environment = json!({"environment": {"name": "production"}});
    let mut ours = start(config, &[("model/model.py", SECRET)], &[("token", "canary-1")], environment.clone());
    let first = ours.predict("{}").json();
    assert_eq!((&first["secret"], &first["pid"]), (&json!("canary-1"), &json!(ours.pid())));
    assert_eq!((&first["environment"]["name"], &first["variables"]["OWN"]), (&json!("production"), &json!("yes")));
    ours.say(&secrets(&[("token", "canary-2")]), environment);
    let until = Instant::now() + Duration::from_secs(10);
    while ours.predict("{}").json()["secret"] != "canary-2" {
        assert!(Instant::now() < until, "the new secret does not arrive");
    }
    assert_eq!(ours.predict("{}").json()["pid"], ours.pid());
    for file in ["environ", "cmdline"] {
        let bytes = std::fs::read(format!("/proc/{}/{file}", ours.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"), "{file}");
    }
    let search = std::process::Command::new("grep").args(["-r", "canary"]).arg(ours.built.folder.path()).output();
    assert_eq!(String::from_utf8_lossy(&search.unwrap().stdout), "", "no secret is on the disk");
    ours.say(&secrets(&[]), Value::Null);
    while ours.predict("{}").status != 500 {
        assert!(Instant::now() < until, "a deleted secret stays");
    }
}

#[test]
fn only_who_knows_the_token_is_let_in_and_the_model_never_sees_it() {
    if !has_pypi() {
        return;
    }
    let code = "
from fastapi import Request, WebSocket
class Model:
    def predict(self, inputs, request: Request): return dict(request.headers)
";
    let ours = start(json!({}), &[("model/model.py", code)], &[], Value::Null);
    let seen = ours.predict("{}").json();
    assert!(seen.get("x-guildhall-token").is_none() && !seen.to_string().contains(TOKEN), "{seen}");
    for headers in ["", "x-guildhall-token: wrong\r\n", "x-guildhall-token:\r\n"] {
        for path in ["/", "/v1/models/model:predict", "/hot-reload", "/metrics/"] {
            let mut socket = ours.socket();
            let head = format!("POST {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\nContent-Length: 0\r\n");
            write!(socket, "{head}{headers}\r\n").unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
        }
    }
}

#[test]
fn websockets_need_the_token_too() {
    if !has_pypi() {
        return;
    }
    let code = "
from fastapi import WebSocket
class Model:
    async def websocket(self, ws: WebSocket):
        await ws.send_text('hello ' + await ws.receive_text())
";
    let ours = start(json!({}), &[("model/model.py", code)], &[], Value::Null);
    for (headers, status) in [("", "403"), (&*ours.headers(), "101")] {
        let mut socket = ours.socket();
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
        let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
        write!(socket, "GET /v1/websocket HTTP/1.1\r\nHost: m\r\n{upgrade}\r\n{key}\r\n{headers}\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert_eq!(String::from_utf8_lossy(&head).split(' ').nth(1), Some(status));
        if status == "101" {
            socket.write_all(b"\x81\x83\0\0\0\0you").unwrap(); // a text, masked with zeros
            let mut frame = [0; 11];
            socket.read_exact(&mut frame).unwrap();
            assert_eq!(&frame, b"\x81\x09hello you");
        }
    }
}

#[test]
fn it_ends_with_its_parent_even_in_mid_call_and_when_load_fails() {
    if !has_pypi() {
        return;
    }
    let code = "
import time
class Model:
    def predict(self, inputs): time.sleep(inputs)
";
    let mut ours = start(json!({}), &[("model/model.py", code)], &[], Value::Null);
    let mut wire = ours.connect();
    let call = "POST /v1/models/model:predict HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n";
    write!(wire, "{call}{}\r\n60", ours.headers()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(ours.abandon() < Duration::from_secs(3));
    let code = "
class Model:
    def load(self): raise RuntimeError('cannot load')
    def predict(self, inputs): return inputs
";
    let built = build(&json!({}), &[("model/model.py", code)]).unwrap();
    let mut failing = Ours::start(built, &secrets(&[]), Value::Null);
    assert!(failing.ends());
}

#[test]
fn code_is_reloaded_in_place_and_a_mistake_keeps_what_was() {
    if !has_pypi() {
        return;
    }
    let code = |word: &str| format!("class Model:\n    def predict(self, inputs): return '{word}'\n");
    let before = code("before");
    let ours = start(json!({}), &[("model/model.py", &before), ("model/__init__.py", "")], &[], Value::Null);
    let reload = |text: &str| {
        std::fs::write(ours.built.model.directory.join("model/model.py"), text).unwrap();
        ours.call(&Call { method: "POST", path: "/hot-reload", headers: "", body: b"" })
    };
    assert_eq!(ours.predict("1").json(), "before");
    assert_eq!(reload(&code("after, at length")).status, 200);
    assert_eq!(ours.predict("1").json(), "after, at length");
    let refused = reload("class Model:\n  def predict(");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("SyntaxError"), "{}", refused.text());
    assert_eq!(ours.predict("1").json(), "after, at length");
}

#[test]
fn what_cannot_be_built_says_why() {
    if !has_pypi() {
        return;
    }
    let code = ("model/model.py", "class Model:\n    def predict(self, inputs): return inputs\n");
    let why = failure(json!({"requirements": ["numpy==3.0.0"]}), &[code]);
    assert!(why.contains("numpy") && why.contains("says: "), "{why}");
    let why = failure(json!({"requirements": ["guildhall-has-no-such-package==1"]}), &[code]);
    assert!(why.contains("guildhall-has-no-such-package"), "{why}");
    let why = failure(json!({"requirements_file": "missing.txt"}), &[code]);
    assert!(why.contains("is not in the archive"), "{why}");
    let why = failure(json!({"runtime": {"truss_server_version_override": "0.0.1"}}), &[code]);
    assert!(why.contains("truss 0.0.1"), "{why}");
}

/// The oldest server whose names the launcher knows, and a project as requirements.
#[test]
fn an_older_server_and_a_project_as_requirements() {
    if !has_pypi() {
        return;
    }
    let code = "
import importlib.metadata
class Model:
    def __init__(self, secrets): self.secrets = secrets
    def predict(self, inputs): return [self.secrets['token'], importlib.metadata.version('idna')]
";
    let project = "[project]\nname = 'p'\nversion = '1'\ndependencies = ['idna==3.10; python_version > \"3\"']\n";
    let config = json!({"secrets": {"token": null}, "requirements_file": "pyproject.toml",
                        "runtime": {"truss_server_version_override": "0.15.10"}});
    let files = [("model/model.py", code), ("pyproject.toml", project)];
    let ours = start(config, &files, &[("token", "s3cret")], Value::Null);
    assert_eq!(ours.predict("1").json(), json!(["s3cret", "3.10"]));
}
