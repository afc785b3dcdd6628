//! Does the next request read a write that was confirmed, even if the reading thread never rests?
//!
//! One worker is kept busy by readers without a pause, so its snapshot never ends by parking. It starts a new snapshot
//! only because of the number that the writer announces. A worker that is idle at times would be up to date by luck,
//! and the test would prove nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use guildhall::server::{self, Limits};
use serde_json::json;

use crate::process::Client;
use crate::test_server::TestServer;

const BUSY_CONNECTIONS: usize = 4;
const WRITES: usize = 30;

#[test]
fn what_was_answered_as_written_is_read_by_the_next_request() {
    let server = TestServer::empty();
    let founding = json!({ "name": "Acme", "email": "ada@example.com", "user_name": "Ada", "teams_enabled": true });
    let founded = server.send_as_operator("POST", "/v1/operator/organizations", founding);
    let key = founded.body["api_key"].as_str().expect("an organization and its admin's key").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server::serve(&server.app, listener, None, Limits { workers: 1, ..Limits::default() }).unwrap();
    let addr = server.addr();
    let floods: Vec<TcpStream> = (0..BUSY_CONNECTIONS).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let stale = thread::scope(|scope| {
        for flood in &floods {
            scope.spawn(|| ask_without_end(flood, &key));
            scope.spawn(|| read_to_the_end(flood));
        }
        let mut client = Client::new(addr, &key);
        let stale = (0..WRITES).filter(|write| !is_read_back(&mut client, &format!("secret_{write}"))).count();
        floods.iter().for_each(|flood| flood.shutdown(Shutdown::Both).unwrap());
        stale
    });
    server.stop();
    server.join();
    assert_eq!(stale, 0, "of {WRITES} writes that many were not seen by the next read");
}

/// Requests sent ahead of their answers: the worker always has another, whatever the other core does.
fn ask_without_end(mut flood: &TcpStream, key: &str) {
    let request = format!("GET /v1/secrets HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n");
    let many = request.repeat(100);
    while flood.write_all(many.as_bytes()).is_ok() {}
}

fn read_to_the_end(mut flood: &TcpStream) {
    let mut answers = vec![0; 64 << 10];
    while flood.read(&mut answers).is_ok_and(|got| got > 0) {}
}

fn is_read_back(client: &mut Client, name: &str) -> bool {
    let (status, _) = client.send("POST", "/v1/secrets", Some(json!({ "name": name, "value": "v" }))).unwrap();
    assert_eq!(status, 200);
    let (_, read) = client.send("GET", "/v1/secrets", None).unwrap();
    read["secrets"].as_array().unwrap().iter().any(|secret| secret["name"] == name)
}
