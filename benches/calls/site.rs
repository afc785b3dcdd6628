//! A server with one model, whose replica is the echo.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use guildhall::api::App;
use guildhall::db::directory::Directory;
use guildhall::db::{Db, Now};
use guildhall::domain::Time;
use guildhall::domain::serving::Backpressure;
use guildhall::runner::fleet::{Address, CallLimits, Fleet, Replica, Server as ServerKind};
use guildhall::server::{self, Limits, Server};
use guildhall::token::PlainKey;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, named_params};

const NOW: i64 = 1_793_491_200_000;
/// As large as a usual prediction.
const BODY: &[u8] = &[b'x'; 256];

pub struct Site {
    _server: Server,
    addr: SocketAddr,
    socket: PathBuf,
    key: String,
    _data: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Site {
        let data = tempfile::tempdir().expect("a directory");
        let socket = data.path().join("model.socket");
        crate::echo::serve(&socket);
        let directory = Directory::take(data.path()).expect("nobody else holds it");
        let db = Db::open(directory, Now { time: Time(NOW), seed: [1; 32] }).expect("it opens");
        let key = fill(&Connection::open(data.path().join("guildhall.db")).expect("the database is there"));
        let mut app = App::new(db);
        app.fleet = Arc::new(Fleet::on());
        let limits = CallLimits { calls_per_replica_max: 1000, waiting_max: 1000, on_full: Backpressure::Queue };
        app.fleet.configure("deployment", limits);
        let server = ServerKind::Truss;
        let address = Address::Process { socket: socket.clone(), token: "token".to_owned(), server };
        app.fleet.add("deployment", Arc::new(Replica::new("replica".to_owned(), address)));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = server::serve(&Arc::new(app), listener, None, Limits::default()).expect("it starts");
        Site { addr: server.addr(), _server: server, socket, key, _data: data }
    }

    pub fn direct(&self) -> UnixStream {
        UnixStream::connect(&self.socket).expect("the model listens")
    }

    pub fn through(&self) -> TcpStream {
        let client = TcpStream::connect(self.addr).expect("the server listens");
        client.set_nodelay(true).expect("a socket can be made undelayed");
        client
    }

    /// The request that the server sends to the model for [`Site::call`].
    pub fn direct_call(&self, what: &str) -> Vec<u8> {
        let path = if what == "predict" { "/v1/models/model:predict" } else { "/stream" };
        request(path, "x-guildhall-token: token\r\n")
    }

    /// `predict`, or `stream`.
    pub fn call(&self, what: &str) -> Vec<u8> {
        let path = if what == "predict" { "/models/model/predict" } else { "/models/model/sync/stream" };
        request(path, &format!("authorization: Api-Key {}\r\n", self.key))
    }
}

fn request(path: &str, more: &str) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {}\r\n\r\n", BODY.len());
    [head.as_bytes(), BODY].concat()
}

/// A team with a model and a key that calls it. Answers the key.
fn fill(sql: &Connection) -> String {
    let key = PlainKey::generate(&mut StdRng::seed_from_u64(7));
    let autoscaling = "{\"min_replica\":1,\"max_replica\":1,\"autoscaling_window\":60,\"scale_down_delay\":900,\
                       \"concurrency_target\":1,\"target_utilization_percentage\":70}";
    sql.execute_batch(&format!(
        "INSERT INTO organization (id, name, name_key, teams_enabled, created_at) VALUES ('org', 'Org', 'org', 1, 0);
         INSERT INTO team (id, org_id, name, name_key, is_default, created_at)
         VALUES ('team', 'org', 'Default', 'default', 1, 0);
         INSERT INTO model (id, org_id, team_id, name, instance_type, created_at)
         VALUES ('model', 'org', 'team', 'echo', '1x2', 0);
         INSERT INTO model_environment (model_id, name, org_id, team_id, created_at)
         VALUES ('model', 'production', 'org', 'team', 0);
         INSERT INTO deployment (id, org_id, team_id, model_id, name, number, status, environment, config, instance_type,
                                 autoscaling, backpressure, created_by, created_at, updated_at)
         VALUES ('deployment', 'org', 'team', 'model', 'first', 1, 'ACTIVE', 'production', '{{}}', '1x2', '{autoscaling}',
                 'QUEUE_ON_FULL', 'nobody', 0, 0);"
    ))
    .expect("rows that the schema takes");
    // Last used in a time to come: what is measured is calling, not the noting of use.
    sql.execute(
        "INSERT INTO api_key (hash, prefix, org_id, category, team_id, created_at, last_used_at)
         VALUES (:hash, :prefix, 'org', 'WORKSPACE_INVOKE', 'team', 0, :used)",
        named_params! { ":hash": key.hash(), ":prefix": key.prefix(), ":used": NOW * 2 },
    )
    .expect("a key that the schema takes");
    key.reveal().to_owned()
}
