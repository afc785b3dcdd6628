//! Is what was answered as written read by the next request, also when the reading thread never rests?
//!
//! One worker, kept busy by readers without a pause: then its snapshot is never ended by parking, and only the number that
//! the writer announces makes it begin anew. A half-idle worker would be fresh by luck and prove nothing.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use guildhall::http::server::{self, Limits};
use serde_json::json;

use crate::house::House;
use crate::process::Client;

const BUSY_CONNECTIONS: usize = 48;
const WRITES: usize = 150;

#[test]
fn what_was_answered_as_written_is_read_by_the_next_request() {
    let house = House::empty();
    let founding = json!({ "name": "Acme", "email": "ada@example.com", "user_name": "Ada", "teams_enabled": true });
    let founded = house.send_as_operator("POST", "/v1/operator/organizations", founding);
    let key = founded.body["api_key"].as_str().expect("an organization and its admin's key").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server::serve(&house.app, listener, None, Limits { workers: 1, ..Limits::default() }).unwrap();
    let (addr, over) = (server.addr(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..BUSY_CONNECTIONS {
            scope.spawn(|| {
                let mut reader = Client::new(addr, &key);
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(reader.send("GET", "/v1/secrets", None).unwrap().0, 200);
                }
            });
        }
        let mut client = Client::new(addr, &key);
        let mut stale = 0;
        for write in 0..WRITES {
            let name = format!("secret_{write}");
            let (status, _) = client.send("POST", "/v1/secrets", Some(json!({ "name": name, "value": "v" }))).unwrap();
            assert_eq!(status, 200);
            let (_, read) = client.send("GET", "/v1/secrets", None).unwrap();
            let there = read["secrets"].as_array().unwrap().iter().any(|secret| secret["name"] == name.as_str());
            stale += usize::from(!there);
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(stale, 0, "of {WRITES} writes that many were not seen by the next read");
    });
    server.stop();
    server.join();
}
