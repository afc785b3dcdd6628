//! Queued calls: does each reach its model at most once, does its sender learn what became of it, and does its webhook get
//! the answer?

mod delivered;
mod queued;
pub mod receiver;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use guildhall::domain::serving::Backpressure;
use guildhall::runner::fleet::{Address, CallLimits, Fleet, Replica, Server as ServerKind};
use guildhall::server::{self, Limits, Server};
use serde_json::{Value, json};

use crate::calls::model::{Client, Model, Reply};
use crate::seed::WORLD;
use crate::test_server::TestServer;

/// Longer than anything that must happen soon takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
pub const PREDICT: &str = "/models/researchmodel/deployment/researchfirst/async_predict";
const DEPLOYMENT: &str = "researchfirst";

/// The world with a listener, where models run.
pub struct Site {
    pub test_server: TestServer,
    server: Option<Server>,
    addr: SocketAddr,
}

impl Site {
    pub fn new() -> Site {
        Site::of(Site::before())
    }

    /// The world before the listener is started.
    pub fn before() -> TestServer {
        let mut test_server = WORLD.server();
        Arc::get_mut(&mut test_server.app).expect("nobody else has it").fleet = Arc::new(Fleet::on());
        test_server
    }

    pub fn of(test_server: TestServer) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let limits = Limits { workers: 1, ..Limits::default() };
        let server = server::serve(&Arc::clone(&test_server.app), listener, None, limits).unwrap();
        Site { addr: server.addr(), server: Some(server), test_server }
    }

    /// The same server, after it was stopped.
    pub fn started_again(mut self) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let limits = Limits { workers: 1, ..Limits::default() };
        let server = server::serve(&Arc::clone(&self.test_server.app), listener, None, limits).unwrap();
        self.addr = server.addr();
        self.server = Some(server);
        self
    }

    /// Lets a model answer for the deployment.
    pub fn runs(&self, model: &Model) {
        let limits = CallLimits { calls_per_replica_max: 4, waiting_max: 100, on_full: Backpressure::Queue };
        let fleet = &self.test_server.app.fleet;
        fleet.configure(DEPLOYMENT, limits);
        let address = Address::Process { socket: model.socket(), token: "token".to_owned(), server: ServerKind::Truss };
        fleet.add(DEPLOYMENT, Arc::new(Replica::new("replica".to_owned(), address)));
    }

    pub fn send(&self, who: &str, method: &str, target: &str, host: &str, body: &str) -> Reply {
        let mut client = Client::connect(self.addr);
        let (key, length) = (WORLD.keys.text(who), body.len());
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        client.reply()
    }

    pub fn post(&self, who: &str, target: &str, body: &Value) -> Reply {
        self.send(who, "POST", target, "localhost", &body.to_string())
    }

    pub fn get(&self, who: &str, target: &str) -> Reply {
        self.send(who, "GET", target, "localhost", "")
    }

    /// Queues a request and gives its id.
    #[track_caller]
    pub fn queue(&self, who: &str, body: &Value) -> String {
        let queued = self.post(who, PREDICT, body);
        assert_eq!(queued.status, 201, "{queued:?}");
        let body: Value = serde_json::from_str(&queued.body).unwrap();
        body["request_id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn status(&self, id: &str) -> Value {
        let shown = self.get("max", &format!("/models/researchmodel/async_request/{id}"));
        assert_eq!(shown.status, 200, "{shown:?}");
        serde_json::from_str(&shown.body).unwrap()
    }

    /// Waits until the request has these two statuses.
    #[track_caller]
    pub fn until_is(&self, id: &str, status: &str, webhook_status: &str) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.status(id);
            if shown["status"] == status && shown["webhook_status"] == webhook_status {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "{status} {webhook_status}: {shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
            server.join();
        }
    }
}

pub fn input(n: i64) -> Value {
    json!({ "model_input": { "n": n } })
}
