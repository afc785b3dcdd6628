//! A test server for each test: a data directory, an app, and requests that go through all of `api::answer` without a
//! socket. The test sets the time and the seeds.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use guildhall::api::dispatch::answer;
use guildhall::api::{App, Listener, Reply, Request, S3Hosts};
use guildhall::db::directory::Directory;
use guildhall::db::{Db, Now};
use guildhall::domain::quotas::Settings;
use guildhall::domain::{BaseUrl, Time};
use serde_json::Value;

use crate::openapi::replies;

/// When every server begins: 2026-11-01T00:00:00Z.
pub const BEGIN: Time = Time(1_793_491_200_000);

pub struct TestServer {
    pub app: Arc<App>,
    pub now: Cell<Time>,
    draws: Cell<u64>,
    runtime: tokio::runtime::Runtime,
    data: tempfile::TempDir,
}

/// A reply, read.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub body: Value,
}

impl TestServer {
    pub fn empty() -> TestServer {
        TestServer::at(tempfile::tempdir().expect("a directory for the test"))
    }

    /// A server on what stands in this directory.
    pub fn at(data: tempfile::TempDir) -> TestServer {
        TestServer::at_with(data, Settings::default())
    }

    pub fn with_quotas(quotas: Settings) -> TestServer {
        TestServer::at_with(tempfile::tempdir().expect("a directory for the test"), quotas)
    }

    pub fn at_with(data: tempfile::TempDir, quotas: Settings) -> TestServer {
        let directory = Directory::take(data.path()).expect("nobody else holds it");
        let db = Db::open_with(directory, Now { time: BEGIN, seed: [7; 32] }, quotas).expect("it opens");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        TestServer { app: Arc::new(App::new(db)), now: Cell::new(BEGIN), draws: Cell::new(0), runtime, data }
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Closes the database and leaves what it wrote.
    pub fn shut(self) -> tempfile::TempDir {
        let TestServer { app, data, .. } = self;
        drop(Arc::into_inner(app).expect("no request is under way"));
        data
    }

    pub fn now(&self) -> Now {
        let draw = self.draws.get() + 1;
        self.draws.set(draw);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&draw.to_le_bytes());
        Now { time: self.now.get(), seed }
    }

    /// Sends a request as whoever has this key. `target` is a path with its query, not encoded.
    pub fn send(&self, key: Option<&str>, method: &str, target: &str, body: Option<Value>) -> Answered {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send_bytes(key, method, target, body.into_bytes())
    }

    /// Sends a request through the operator's socket.
    pub fn send_as_operator(&self, method: &str, target: &str, body: Value) -> Answered {
        let request =
            Request { from: Listener::Operator, ..self.request(None, method, target, body.to_string().into()) };
        Answered::read(&self.answer(request))
    }

    /// Sends requests all at once, and gives their answers in the order of the requests.
    pub fn send_at_once(&self, requests: Vec<Request>) -> Vec<Answered> {
        let send = |request| {
            let app = Arc::clone(&self.app);
            async move { answer(&app, request).await }
        };
        self.runtime.block_on(tokio::task::LocalSet::new().run_until(async {
            let sent: Vec<_> = requests.into_iter().map(|request| tokio::task::spawn_local(send(request))).collect();
            let mut answered = Vec::new();
            for reply in sent {
                answered.push(Answered::read(&reply.await.expect("no answer panics")));
            }
            answered
        }))
    }

    pub fn send_bytes(&self, key: Option<&str>, method: &str, target: &str, body: Vec<u8>) -> Answered {
        Answered::read(&self.reply(key, method, target, body))
    }

    pub fn reply(&self, key: Option<&str>, method: &str, target: &str, body: Vec<u8>) -> Reply {
        self.answer(self.request(key, method, target, body))
    }

    /// Sends a request. The reply must have the shape that the API's description gives it.
    pub fn answer(&self, request: Request) -> Reply {
        let (method, path) = (request.method.clone(), request.path.clone());
        let is_for_model = request.callee.is_some();
        let reply = self.runtime.block_on(answer(&self.app, request));
        if !is_for_model {
            replies::check(&method, &path, reply.status, &reply.body);
        }
        reply
    }

    /// Runs what the API does without a thread of its own.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    pub fn request(&self, key: Option<&str>, method: &str, target: &str, body: Vec<u8>) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |pair: &str| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        let base_url = BaseUrl::of_host("localhost:8000").unwrap();
        let path = path.trim_start_matches('/').split('/').map(str::to_owned).collect();
        let (callee, path) = guildhall::api::request::callee(&base_url, None, path);
        let Now { time: now, seed } = self.now();
        Request {
            method: method.to_owned(),
            base_url,
            s3_hosts: S3Hosts::default(),
            callee,
            path,
            query: query.split('&').filter_map(pair).collect(),
            authorization: key.map(|key| format!("Bearer {key}")),
            user_agent: None,
            content_type: Some("application/json".to_owned()),
            mailing: self.app.mailing(),
            browser: Default::default(),
            body: Bytes::from(body),
            from: Listener::Network,
            at: now,
            seed,
            log: Arc::default(),
        }
    }

    /// The database, for what no route makes.
    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.data.path().join("guildhall.db")).expect("it opens")
    }
}

impl Answered {
    fn read(reply: &Reply) -> Answered {
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        Answered { status: reply.status, body }
    }
}
