//! Replies that nobody reads.

use std::fmt::Write as _;

use super::client::{Client, open_listener, patient};
use crate::seed::WORLD;

const PAIRS: usize = 12;

/// A peer that sends many requests and reads no reply makes the server do no more than the first few: the kernel does not
/// take all replies for it. Once it reads, it gets every reply.
#[test]
fn requests_wait_until_the_replies_before_them_are_read() {
    let open = open_listener(patient());
    let mut pipeline = String::new();
    for number in 0..PAIRS {
        let body = format!("{{\"name\":\"Unread {number}\"}}");
        write!(
            pipeline,
            "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\nPOST /v1/teams HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            WORLD.keys.text("ada"),
            body.len()
        )
        .unwrap();
    }
    let mut unread = Client::connect(open.addr);
    unread.write(&pipeline);
    let made = || {
        let key = WORLD.keys.text("ada");
        let get = format!("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
        open.send(get)[0].body.matches("\"Unread ").count()
    };
    // Long enough for all of them, were they answered.
    for _ in 0..20 {
        std::thread::sleep(super::SHORT / 4);
        assert!(made() <= 5, "{} of {PAIRS} requests were carried out while no reply was read", made());
    }
    let _ = unread.0.shutdown(std::net::Shutdown::Write);
    assert_eq!(unread.replies().len(), 2 * PAIRS);
    assert_eq!(made(), PAIRS);
}
