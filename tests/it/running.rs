//! Do deployments run as their rows say: from a push to a call, over restarts and crashes, to their end?
//!
//! The models are custom servers: `guildhall echo`, in a server process of its own that really runs them.

mod ends;
mod rows;
mod secrets;

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Client, Serving, guildhall, init};
use crate::vocabulary::{all, text};

/// Longer than anything that must happen soon takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server that runs models.
struct Site {
    data: tempfile::TempDir,
    key: String,
    options: Vec<String>,
    serving: Option<Serving>,
}

/// A model with a deployment.
#[derive(Clone)]
struct Model {
    id: String,
    deployment: String,
}

impl Model {
    fn path(&self) -> String {
        format!("/v1/models/{}/deployments/{}", self.id, self.deployment)
    }

    fn predict(&self) -> String {
        format!("/models/{}/deployment/{}/predict", self.id, self.deployment)
    }
}

/// The configuration of an echo server with these options.
fn echo(options: &str) -> Value {
    json!({
        "docker_server": {
            "start_command": format!("exec \"$GUILDHALL_PROGRAM\" echo {options}"),
            "server_port": 8000,
            "predict_endpoint": "/predict",
            "readiness_endpoint": "/health",
            "liveness_endpoint": "/health",
        },
        "resources": { "memory": "128Mi", "cpu": "1" },
    })
}

impl Site {
    fn new() -> Site {
        Site::with(&[])
    }

    /// A server with these options.
    fn with(options: &[&str]) -> Site {
        let data = tempfile::tempdir().unwrap();
        let key = init(data.path());
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut site = Site { data, key, options, serving: None };
        site.start();
        site
    }

    fn data(&self) -> &Path {
        self.data.path()
    }

    fn start(&mut self) {
        let mut command = guildhall();
        command.env_remove("GUILDHALL_RUNNER");
        self.serving = Some(Serving::with(command, self.data.path(), &self.options));
    }

    /// Ends the server without giving it time for anything.
    fn kill(&mut self) {
        self.serving.take().unwrap().kill();
    }

    fn send(&self, method: &str, target: &str, body: Option<Value>) -> (u16, Value) {
        self.send_as(&self.key, method, target, body)
    }

    fn send_as(&self, key: &str, method: &str, target: &str, body: Option<Value>) -> (u16, Value) {
        Client::new(self.serving.as_ref().unwrap().addr, key).send(method, target, body).unwrap()
    }

    #[track_caller]
    fn done(&self, method: &str, target: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.send(method, target, body);
        assert!((200..300).contains(&status), "{method} {target}: {status} {answer}");
        answer
    }

    /// Pushes a model that consists of its configuration.
    #[track_caller]
    fn push(&self, name: &str, config: Value, more: Value) -> Model {
        self.push_to("/v1/models", name, config, more)
    }

    #[track_caller]
    fn push_to(&self, path: &str, name: &str, config: Value, more: Value) -> Model {
        let mut deployment = json!({ "config": config });
        for (field, value) in more.as_object().unwrap() {
            deployment[field] = value.clone();
        }
        let source = json!({ "kind": "model_archive", "name": name, "deployment": deployment });
        let made = self.done("POST", path, Some(json!({ "source": source })));
        Model { id: text(&made["model"]["id"]), deployment: text(&made["deployment"]["id"]) }
    }

    fn status(&self, model: &Model) -> String {
        text(&self.done("GET", &model.path(), None)["status"])
    }

    fn replicas(&self, model: &Model) -> i64 {
        self.done("GET", &model.path(), None)["active_replica_count"].as_i64().unwrap()
    }

    fn log(&self, model: &Model) -> Vec<String> {
        let path = format!("{}/logs?direction=asc&limit=1000", model.path());
        all(&self.done("GET", &path, None)["logs"], "message")
    }

    #[track_caller]
    fn wait_for(&self, model: &Model, status: &str) {
        self.wait_until(model, status, || self.status(model) == status);
    }

    #[track_caller]
    fn wait_until(&self, model: &Model, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            let now = self.status(model);
            assert!(Instant::now() < until, "{what} did not come; it is {now}: {:#?}", self.log(model));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a line of the log contains this.
    #[track_caller]
    fn wait_for_line(&self, model: &Model, part: &str) {
        self.wait_until(model, part, || self.log(model).iter().any(|line| line.contains(part)));
    }

    /// The replica that printed to the log last. Inside its namespace each process has the same number.
    fn replica(&self, model: &Model) -> String {
        let path = format!("{}/logs?limit=1000", model.path());
        let logs = self.done("GET", &path, None)["logs"].clone();
        let printed = logs.as_array().unwrap().iter().find_map(|line| line["replica"].as_str().map(str::to_owned));
        printed.expect("a replica has printed")
    }

    /// Calls a deployment.
    #[track_caller]
    fn call(&self, model: &Model) -> Value {
        self.done("POST", &model.predict(), Some(json!({ "word": "hello" })))
    }

    fn set_secret(&self, name: &str, value: &str) {
        self.done("POST", "/v1/secrets", Some(json!({ "name": name, "value": value })));
    }
}

#[test]
fn a_push_becomes_active_is_called_and_runs_again_after_a_restart() {
    let mut site = Site::new();
    let model = site.push("echo", echo(""), json!({}));
    site.wait_for(&model, "ACTIVE");
    assert_eq!(site.replicas(&model), 1);
    let answer = site.call(&model);
    assert_eq!(answer["input"], json!({ "word": "hello" }), "{answer}");
    let log = site.log(&model);
    for part in ["pushed as", "built", "loads the model", "active"] {
        assert!(log.iter().any(|line| line.contains(part)), "no {part:?} in {log:#?}");
    }
    site.wait_for_line(&model, "listening");
    let before = site.replica(&model);
    site.kill();
    site.start();
    site.call(&model);
    site.wait_for(&model, "ACTIVE");
    site.wait_until(&model, "another replica", || site.replica(&model) != before);
    assert!(site.log(&model).iter().any(|line| line.contains("the server was started again")));
}

#[test]
fn a_server_that_stops_ends_its_models_first() {
    let mut site = Site::new();
    let model = site.push("echo", echo(""), json!({}));
    site.wait_for(&model, "ACTIVE");
    site.call(&model);
    let (serving, mark) = (site.serving.take().unwrap(), site.data().display().to_string());
    assert!(is_running(&mark), "no process runs in {mark}");
    let status = serving.terminate();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(!is_running(&mark), "processes of the data directory are left");
}

/// Whether a process runs in this directory.
fn is_running(directory: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let current = std::fs::read_link(process.path().join("cwd"));
        current.is_ok_and(|current| current.to_string_lossy().starts_with(directory))
    })
}

#[test]
fn an_installation_without_a_runner_refuses_calls_and_says_why() {
    let site = Site::with(&["--runner", "off"]);
    let model = site.push("echo", echo(""), json!({}));
    site.wait_for(&model, "ACTIVE");
    let (status, answer) = site.send("POST", &model.predict(), Some(json!({})));
    assert_eq!(status, 503, "{answer}");
    assert!(answer.to_string().contains("--runner off"), "{answer}");
}
