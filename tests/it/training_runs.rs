//! Do training jobs run as they were asked to, keep what they should, and see nothing of other teams?
//!
//! The jobs are short shell commands on an engine of the test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guildhall::db::Now;
use guildhall::domain::Time;
use guildhall::domain::capacity::Missing;
use guildhall::runner::machine::{self, Machine};
use guildhall::runner::training;
use serde_json::{Value, json};

use crate::acme::Acme;
use crate::deployments::tar;
use crate::test_server::BEGIN;
use crate::vocabulary::{all, text};

mod bounds;
mod checkpoints;
mod ends;

const LONG: Duration = Duration::from_secs(120);

/// Acme with a trainer at work.
struct Gym {
    acme: Acme,
    trainer: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
    settings: training::Settings,
    missing: Missing,
}

impl Gym {
    fn new() -> Gym {
        Gym::with(training::Settings { grace: Duration::from_secs(2), ..training::Settings::default() })
    }

    fn with(settings: training::Settings) -> Gym {
        Gym::on(settings, Missing::Refuse)
    }

    /// Where accelerators that are missing are refused or ignored.
    fn on(settings: training::Settings, missing: Missing) -> Gym {
        let mut gym = Gym { acme: Acme::new(), trainer: None, settings, missing };
        gym.start();
        gym
    }

    /// Starts a trainer, as a server does.
    fn start(&mut self) {
        let (app, settings) = (Arc::clone(&self.acme.server.app), self.settings);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_guildhall")));
        let settings_of_machine = machine::Settings { program, missing: self.missing, ..machine::Settings::default() };
        let machine = Machine::open(self.acme.server.data(), settings_of_machine).unwrap();
        app.db.attach_trainer();
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let now = || Now { time: Time(BEGIN.0 + begun.elapsed().as_millis() as i64), seed: rand::random() };
            training::run(&app.db, &machine, settings, &now, || stopped.load(Ordering::Relaxed));
        });
        self.trainer = Some((thread, stop));
    }

    /// Stops the trainer, as a server that ends does.
    fn stop(&mut self) {
        if let Some((thread, stop)) = self.trainer.take() {
            stop.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }

    fn project(&self, who: &str, team: &str, name: &str) -> String {
        let body = json!({ "training_project": { "name": name } });
        text(&self.acme.post(who, &format!("/v1/teams/{team}/training_projects"), body)["training_project"]["id"])
    }

    /// Pushes a job of these commands.
    fn push(&self, who: &str, project: &str, commands: &[&str], more: Value) -> Pushed {
        let archive = tar(&[("config.py", ""), ("train.sh", "echo trains in $PWD\n"), ("data/words", "one two\n")]);
        let s3_key = self.acme.uploaded_for("training", who, &archive);
        let mut runtime = json!({
            "start_commands": commands,
            "artifacts": [{ "s3_bucket": "guildhall-uploads", "s3_key": s3_key }],
        });
        let mut job = json!({ "image": { "base_image": "python:3.11" }, "name": "first" });
        for (name, value) in more.as_object().into_iter().flatten() {
            let place = if name == "compute" { &mut job } else { &mut runtime };
            place[name] = value.clone();
        }
        job["runtime"] = runtime;
        let path = format!("/v1/training_projects/{project}/jobs");
        let made = self.acme.post(who, &path, json!({ "training_job": job }));
        let id = text(&made["training_job"]["id"]);
        Pushed { path: format!("{path}/{id}"), id, who: who.to_owned() }
    }

    fn job(&self, job: &Pushed) -> Value {
        self.acme.get(&job.who, &job.path)["training_job"].clone()
    }

    fn status(&self, job: &Pushed) -> String {
        text(&self.job(job)["current_status"])
    }

    #[track_caller]
    fn wait_for(&self, job: &Pushed, status: &str) -> Value {
        wait_until(&format!("{status} in {:?}", self.log(job)), || {
            let now = self.status(job);
            let is_over = ["COMPLETED", "FAILED", "STOPPED", "DEPLOY_FAILED"].iter().any(|end| now.ends_with(end));
            assert!(!is_over || now == status, "it is {now}, not {status}: {} {:?}", self.job(job), self.log(job));
            now == status
        });
        self.job(job)
    }

    #[track_caller]
    fn completed(&self, job: &Pushed) {
        self.wait_for(job, "TRAINING_JOB_COMPLETED");
    }

    /// Why a job failed.
    #[track_caller]
    fn failed(&self, job: &Pushed) -> String {
        text(&self.wait_for(job, "TRAINING_JOB_FAILED")["error_message"])
    }

    fn log(&self, job: &Pushed) -> Vec<String> {
        // The clock of the trainer runs ahead of that of the requests.
        let asked = format!("{}/logs?direction=asc&limit=1000&start_epoch_millis={}", job.path, BEGIN.0);
        let asked = format!("{asked}&end_epoch_millis={}", BEGIN.0 + 600_000);
        all(&self.acme.get(&job.who, &asked)["logs"], "message")
    }

    fn wait_for_line(&self, job: &Pushed, line: &str) {
        wait_until(&format!("the line {line}"), || self.log(job).iter().any(|known| known == line));
    }

    fn secret(&self, who: &str, team: &str, name: &str, value: &str) {
        self.acme.post(who, &format!("/v1/teams/{team}/secrets"), json!({ "name": name, "value": value }));
    }

    fn folder(&self, team: &str) -> PathBuf {
        self.acme.server.data().join("runner").join("training").join(team)
    }
}

impl Drop for Gym {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A pushed job.
struct Pushed {
    id: String,
    path: String,
    who: String,
}

#[track_caller]
fn wait_until(what: &str, is_true: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < LONG, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
