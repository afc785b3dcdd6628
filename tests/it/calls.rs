//! Calls to models and Chains: do they reach the right deployment, does everything pass through, and does every way in
//! which a call can fail end with its own status?

mod failed;
mod keys;
pub mod model;
mod passed;
mod places;
mod streams;
mod websockets;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use guildhall::domain::serving::Backpressure;
use guildhall::inference;
use guildhall::runner::fleet::{Address, CallLimits, Fleet, Replica, Server as ServerKind};
use guildhall::server::{self, Limits, Server};

use crate::seed::WORLD;
use crate::test_server::TestServer;
use model::{Client, Model, Reply};

/// Longer than anything that must happen soon takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "the-token-of-the-replica";

/// A server whose models run, on the world.
pub struct Site {
    test_server: TestServer,
    server: Option<Server>,
    addr: SocketAddr,
}

impl Site {
    pub fn new() -> Site {
        Site::with(inference::Limits::default())
    }

    pub fn with(calls: inference::Limits) -> Site {
        Site::of(Fleet::on(), Limits { calls, ..Limits::default() })
    }

    pub fn of(fleet: Fleet, limits: Limits) -> Site {
        let mut test_server = WORLD.server();
        Arc::get_mut(&mut test_server.app).expect("nobody else has it").fleet = Arc::new(fleet);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let limits = Limits { workers: 2, ..limits };
        let server = server::serve(&Arc::clone(&test_server.app), listener, None, limits).unwrap();
        Site { addr: server.addr(), server: Some(server), test_server }
    }

    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.test_server.app.fleet
    }

    /// Lets a model answer for a deployment.
    pub fn runs(&self, deployment_id: &str, model: &Model) -> Arc<Replica> {
        self.runs_as(deployment_id, model, ServerKind::Truss, 8)
    }

    pub fn runs_as(
        &self,
        deployment_id: &str,
        model: &Model,
        server: ServerKind,
        calls_per_replica_max: usize,
    ) -> Arc<Replica> {
        let limits = CallLimits { calls_per_replica_max, waiting_max: 2, on_full: Backpressure::Queue };
        self.fleet().configure(deployment_id, limits);
        let address = Address::Process { socket: model.socket(), token: TOKEN.to_owned(), server };
        let replica = Arc::new(Replica::new(format!("{deployment_id}-1"), address));
        self.fleet().add(deployment_id, Arc::clone(&replica));
        replica
    }

    /// How many calls with this status are counted in the database.
    pub fn counted(&self, status: u16) -> i64 {
        let query = "SELECT ifnull(sum(requests), 0) FROM deployment_total WHERE status = ?";
        self.test_server.sql().query_row(query, [status], |row| row.get(0)).unwrap()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Calls as whoever of the world has this key.
    pub fn post(&self, who: &str, target: &str, body: &str) -> Reply {
        self.begin(who, target, body).reply()
    }

    /// A call whose reply is still to come.
    pub fn begin(&self, who: &str, target: &str, body: &str) -> Client {
        let mut client = self.client();
        client.send(self.head("POST", who, target, &format!("Content-Length: {}\r\n", body.len())));
        client.send(body);
        client
    }

    pub fn head(&self, method: &str, who: &str, target: &str, more: &str) -> String {
        let key = WORLD.keys.text(who);
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{more}\r\n")
    }
}

#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}
