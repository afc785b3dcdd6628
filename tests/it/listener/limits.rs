//! Are slow, numerous and large requests ended, without harm to other clients?

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::Instant;

use guildhall::server::Limits;

use super::client::{Client, Reply, assert_refused, open_listener, open_listeners, patient};
use super::{GET, LONG, PATIENCE, SHORT, WITH_BODY};
use crate::process::Serving;

// ---- too slow ----

#[test]
fn a_slow_head_is_cut_off() {
    let open = open_listener(Limits { head: SHORT, ..patient() });
    let begun = Instant::now();
    let mut client = Client::connect(open.addr);
    client.write("GET /v1/teams HTTP/1.1\r\nHost:");
    client.assert_hung_up();
    assert!(begun.elapsed() >= SHORT, "not before its time");
    open.assert_serves();
}

#[test]
fn a_head_that_trickles_is_cut_off() {
    let open = open_listener(Limits { head: SHORT, ..patient() });
    Client::connect(open.addr).trickle("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX-Slow: and so on");
    open.assert_serves();
}

#[test]
fn who_says_nothing_is_hung_up_on() {
    let open = open_listener(Limits { idle: SHORT, ..patient() });
    Client::connect(open.addr).assert_hung_up();
    let mut client = Client::connect(open.addr);
    client.write(GET);
    let begun = Instant::now();
    assert_eq!(client.reply(), 401);
    client.assert_hung_up();
    assert!(begun.elapsed() >= SHORT, "not before its time");
    open.assert_serves();
}

#[test]
fn a_connection_may_idle_longer_than_a_head_may_take() {
    let open = open_listener(Limits { head: SHORT * 3, ..patient() });
    let mut client = Client::connect(open.addr);
    let (begin, end) = GET.split_at(20);
    client.write(begin);
    std::thread::sleep(SHORT / 4); // so that the deadline of a head is running
    client.write(end);
    assert_eq!(client.reply(), 401);
    std::thread::sleep(SHORT * 5);
    client.write(GET);
    assert_eq!(client.reply(), 401);
}

#[test]
fn a_head_begun_late_has_all_its_time() {
    let open = open_listener(Limits { idle: SHORT * 5, ..patient() });
    let mut client = Client::connect(open.addr);
    let (begin, end) = GET.split_at(20);
    std::thread::sleep(SHORT * 2);
    client.write(begin);
    std::thread::sleep(SHORT * 5);
    client.write(end);
    assert_eq!(client.reply(), 401);
}

#[test]
fn a_slow_body_is_told_so() {
    let open = open_listener(Limits { body: SHORT, ..patient() });
    for framing in ["Content-Length: 10\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let mut client = Client::connect(open.addr);
        client.write(format!("{WITH_BODY}{framing}"));
        let replies = client.replies();
        assert_refused(&replies, 408, "REQUEST_TIMEOUT");
        assert!(replies[0].closes());
    }
    open.assert_serves();
}

#[test]
fn a_body_that_trickles_is_cut_off() {
    let open = open_listener(Limits { body: SHORT, ..patient() });
    let mut client = Client::connect(open.addr);
    client.write(format!("{WITH_BODY}Content-Length: 1000000\r\n\r\n"));
    client.trickle(" ");
    open.assert_serves();
}

#[test]
fn who_reads_no_replies_is_cut_off() {
    let open = open_listener(Limits { stalled: SHORT, ..patient() });
    let mut client = Client::connect(open.addr);
    let many = "GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let begun = Instant::now();
    let cut_off = loop {
        match client.0.write_all(many.as_bytes()) {
            Ok(()) => assert!(begun.elapsed() < LONG, "it takes requests for ever"),
            Err(cause) => break cause.kind(),
        }
    };
    assert_ne!(cut_off, ErrorKind::WouldBlock, "the connection stays open");
    open.assert_serves();
}

// ---- too many ----

#[test]
fn beyond_the_cap_a_connection_is_told_so_and_the_rest_is_served() {
    let open = open_listener(Limits { connections_max: 20, ..patient() });
    let mut inside: Vec<_> = (0..20).map(|_| Client::busy(open.addr)).collect();
    for asks_first in [true, false].repeat(20) {
        let mut client = Client::connect(open.addr);
        if asks_first {
            client.write(GET);
        }
        let replies = client.replies();
        assert_refused(&replies, 503, "UNAVAILABLE");
        assert!(replies[0].closes());
    }
    inside.iter_mut().for_each(Client::finish);
    open.assert_serves();
}

#[test]
fn the_operator_comes_in_when_strangers_fill_the_house() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let open = open_listeners(Limits { connections_max: 3, ..patient() }, Some(UnixListener::bind(&path).unwrap()));
    let mut strangers: Vec<_> = (0..3).map(|_| Client::busy(open.addr)).collect();
    assert_eq!(Client::connect(open.addr).replies(), [503]);
    let mut operator = UnixStream::connect(&path).unwrap();
    operator.set_read_timeout(Some(PATIENCE)).unwrap();
    operator.write_all(GET.as_bytes()).unwrap();
    operator.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    operator.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    strangers.iter_mut().for_each(Client::finish);
}

/// The server stands in a process of its own, since the limit is a process's.
#[test]
fn it_survives_running_out_of_file_descriptors() {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 96; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_guildhall")]);
    let server = Serving::by(command, data.path());
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(server.addr)).collect();
    let last = clients.last_mut().unwrap();
    last.write(GET);
    assert_eq!(last.reply(), 401, "those that idle made way");
    drop(clients);
    let mut client = Client::connect(server.addr);
    client.write(GET);
    assert_eq!(client.reply(), 401);
}

// ---- too much ----

#[test]
fn a_body_too_long_is_refused_before_it_comes() {
    let open = open_listener(patient());
    for length in ["100000000000", "18446744073709551613", "1048577"] {
        let mut client = Client::connect(open.addr);
        client.write(format!("{WITH_BODY}Content-Length: {length}\r\n\r\n"));
        let replies = client.replies();
        assert_refused(&replies, 413, "PAYLOAD_TOO_LARGE");
        assert!(replies[0].closes());
    }
    let length_of_no_number = format!("{WITH_BODY}Content-Length: 100000000000000000000\r\n\r\n");
    assert_eq!(open.send(length_of_no_number), [400]);
    open.assert_serves();
}

/// All of what it sends is taken off its hands: a reset could reach it before the answer does.
#[test]
fn who_sends_too_much_reads_why_it_is_refused() {
    let open = open_listener(Limits { linger: LONG, ..patient() });
    let length = 10 << 20;
    let body = " ".repeat(length);
    for (request, status) in [
        (format!("{WITH_BODY}Content-Length: {length}\r\n\r\n{body}"), 413),
        (format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"), 413),
        (format!("{WITH_BODY}X-Long: {body}\r\n\r\n"), 431),
    ] {
        let mut client = Client::connect(open.addr);
        client.0.write_all(request.as_bytes()).expect("it is let finish");
        let mut bytes = Vec::new();
        client.0.read_to_end(&mut bytes).expect("it ends without a reset");
        assert_eq!(Reply::parse(&bytes).expect("a reply").0, status);
    }
    open.assert_serves();
}

#[test]
fn chunks_without_end_are_refused() {
    let open = open_listener(patient());
    let mut client = Client::connect(open.addr);
    client.write(format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n"));
    let chunks = "1000\r\n".to_owned() + &" ".repeat(0x1000) + "\r\n";
    let begun = Instant::now();
    while client.0.write_all(chunks.as_bytes()).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it takes chunks for ever");
    }
    open.assert_serves();
}

#[test]
fn a_body_at_the_limit_comes_through_in_chunks_of_one_byte() {
    let open = open_listener(patient());
    let chunks = "1\r\n \r\n".repeat(1 << 20);
    assert_eq!(open.send(format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")), [200]);
    assert_eq!(open.send(format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n{chunks}1\r\n \r\n0\r\n\r\n")), [413]);
}

#[test]
fn a_head_too_long_is_refused() {
    let open = open_listener(patient());
    let head =
        |length: usize| format!("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "a".repeat(length));
    assert_eq!(open.send(head(31 << 10)), [401]);
    assert_eq!(open.send(head(33 << 10)), [431]);
    assert_eq!(open.send(head(10 << 20)), [431]);
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(33 << 10));
    assert_eq!(open.send(target), [431]);
    let headers = format!("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(200));
    assert_eq!(open.send(headers), [431]);
    let trailers =
        format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n0\r\nX-Long: {}\r\n\r\n", "a".repeat(10 << 20));
    assert_eq!(open.send(trailers), [400]);
    open.assert_serves();
}
