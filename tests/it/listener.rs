//! Does the listener resist attacks? Each attack is refused with a message or cut off in time, and the next client is
//! served.
//!
//! The deadline under test is short and all others are long, so that a slow machine can only make a test slow.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use guildhall::server::Limits;

mod client;
mod crowd;
mod heads;
mod hosts;
mod limits;
mod unread;

use client::{Client, assert_refused, open_listener, patient};

use crate::seed::WORLD;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);
/// How long a test waits for what must happen soon: far longer than `SHORT`, far shorter than `LONG`.
const PATIENCE: Duration = Duration::from_secs(15);

/// Reaches the app, which asks for a key.
const GET: &str = "GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The same with a key that works, and a body to come: it is read, and its route passes over it.
const WITH_BODY: WithBody = WithBody;
const SMUGGLED: &str = "GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct WithBody;

impl std::fmt::Display for WithBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = WORLD.keys.text("ada");
        write!(f, "GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n")
    }
}

// ---- two requests for one ----

/// Where one request ends must not be a matter of opinion. What is refused takes the connection with it.
#[test]
fn nothing_is_smuggled() {
    let open = open_listener(patient());
    let hidden = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    for (shape, status) in [
        // the length is passed over, and with it the connection given up
        (format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"), 200),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{SMUGGLED}"), 200),
        (format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}"), 400),
        (format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{hidden}"), 400),
        (format!("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}"), 400),
        (format!("Transfer-Encoding: chunked, identity\r\n\r\n{hidden}"), 400),
        (format!("Transfer-Encoding: gzip, chunked\r\n\r\n{hidden}"), 400),
        (format!("Transfer-Encoding: xchunked\r\n\r\n{hidden}"), 400),
        (format!("Transfer-Encoding : chunked\r\n\r\n{hidden}"), 400),
        (format!("Transfer-Encoding:\x0bchunked\r\n\r\n{hidden}"), 400),
        (format!("Content-Length: 4\r\nContent-Length: 5\r\n\r\n1234{SMUGGLED}"), 400),
        (format!("Content-Length: 4, 4\r\n\r\n1234{SMUGGLED}"), 400),
        (format!("Content-Length: +4\r\n\r\n1234{SMUGGLED}"), 400),
        (format!("Content-Length: -4\r\n\r\n1234{SMUGGLED}"), 400),
        (format!("Content-Length: 0x4\r\n\r\n1234{SMUGGLED}"), 400),
        (format!("Content-Length : 4\r\n\r\n1234{SMUGGLED}"), 400),
        (format!("X: y\r\n Content-Length: 4\r\n\r\n1234{SMUGGLED}"), 400),
        (format!("Content-Length: 0\r\n 4\r\n\r\n1234{SMUGGLED}"), 400),
        // the body is left unread
        (format!("Host: twice\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}"), 400),
        (format!("Host: twice\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()), 400),
        (format!("Host: twice\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"), 400),
        (format!("Content-Length: 2000000\r\n\r\n{SMUGGLED}"), 413),
    ] {
        let replies = open.send(format!("{WITH_BODY}{shape}"));
        assert_eq!(replies, [status], "{shape:?}");
        assert!(replies[0].closes(), "{shape:?}");
    }
    let of_http_1_0 =
        format!("POST /v1/teams HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}");
    assert_eq!(open.send(of_http_1_0), [400]);
    open.assert_serves();
}

#[test]
fn bad_chunks_are_refused() {
    let open = open_listener(patient());
    for chunk in [
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        "\r\n",
        "1\r\nab",
        "1\na\n0\n\n",
        "1;\nGET / HTTP/1.1",
        "1\r\na0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "1 1\r\na\r\n",
        "0\r\nno trailer\r\n\r\n",
    ] {
        let replies = open.send(format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n{chunk}{SMUGGLED}"));
        assert_refused(&replies, 400, "VALIDATION_ERROR");
        assert!(replies[0].closes(), "{chunk:?}");
    }
    open.assert_serves();
}

#[test]
fn a_body_that_breaks_off_is_refused() {
    let open = open_listener(patient());
    assert_refused(&open.send(format!("{WITH_BODY}Content-Length: 5\r\n\r\n1234")), 400, "VALIDATION_ERROR");
    assert_refused(
        &open.send(format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n5\r\n1234")),
        400,
        "VALIDATION_ERROR",
    );
    open.assert_serves();
}

#[test]
fn requests_sent_together_are_answered_in_turn() {
    let open = open_listener(patient());
    let with_body = format!("{WITH_BODY}Content-Length: 2\r\n\r\n{{}}");
    let in_chunks = format!("{WITH_BODY}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    let same_length_twice = format!("{WITH_BODY}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}");
    let refused = "GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let replies = open.send([&with_body, GET, &in_chunks, SMUGGLED, &same_length_twice, refused, GET].concat());
    assert_eq!(replies, [200, 401, 200, 404, 200, 400, 401]);
    assert_eq!(open.send(GET.repeat(100)).len(), 100);
}

// ---- heads that mean nothing ----

#[test]
fn a_request_names_one_host() {
    let open = open_listener(patient());
    for hosts in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a?b\r\n",
        "Host: \u{e9}\r\n",
        "Host: a, b\r\n",
    ] {
        for version in ["1.1", "1.0"] {
            let replies = open.send(format!("GET /v1/teams HTTP/{version}\r\n{hosts}\r\n"));
            assert_refused(&replies, 400, "VALIDATION_ERROR");
        }
    }
    for host in
        ["localhost", "localhost:8000", "api.localhost:8000", "Model-abc.Example", "127.0.0.1:8000", "[::1]:8000"]
    {
        assert_eq!(open.send(format!("GET /v1/teams HTTP/1.1\r\nHost: {host}\r\n\r\n")), [401], "{host}");
    }
}

#[test]
fn a_target_is_a_path_or_a_url() {
    let open = open_listener(patient());
    let ask = |line: &str| open.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(ask("GET http://api.example:8000/v1/teams"), [401]);
    assert_eq!(ask("GET http://api.example/v1/teams?a=b"), [401]);
    assert_eq!(ask("GET http://api.example"), [303], "the console asks to sign in");
    assert_refused(&ask("GET http://user:word@api.example/v1/teams"), 400, "VALIDATION_ERROR");
    assert_refused(&ask("CONNECT api.example:443"), 400, "VALIDATION_ERROR");
    assert_refused(&ask("OPTIONS *"), 400, "VALIDATION_ERROR");
    for target in ["v1/teams", "", "?a=b", "http://", "//[", "http://[::1/v1/teams"] {
        let replies = ask(&format!("GET {target}"));
        assert!(replies.len() == 1 && (400..500).contains(&replies[0].status), "{target}: {replies:?}");
    }
}

#[test]
fn a_path_is_split_before_it_is_decoded() {
    let open = open_listener(patient());
    let ask = |target: &str| open.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(ask("/v1/teams/a%2Fb"), [401], "one segment: the route of a team");
    assert_eq!(ask("/v1/teams/a/b"), [404], "no route");
    assert_eq!(ask("/v1/%74eams"), [401]);
    assert_eq!(ask("/v1/teams/"), [401], "a closing slash means nothing");
    assert_eq!(ask("/v1/teams//"), [401], "a team of no name");
    assert_eq!(ask("//v1/teams"), [404]);
    assert_eq!(ask("/v1/x/../teams"), [404], "dots are names");
    for target in [
        "/v1/teams/%",
        "/v1/teams/%2",
        "/v1/teams/%zz",
        "/v1/teams/%+1",
        "/v1/teams/%00",
        "/v1/teams/a%00b",
        "/v1/teams/%ff",
        "/v1/teams/%c3%28",
        "/v1/teams/%ed%a0%80",
        "/v1/teams?name=%",
        "/v1/teams?name=%00",
        "/v1/teams?%ff=a",
        "/v1/teams?name=%zz",
    ] {
        assert_refused(&ask(target), 400, "VALIDATION_ERROR");
    }
}

#[test]
fn bytes_that_are_no_http_are_refused() {
    let open = open_listener(patient());
    let client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a";
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        client_hello,
        b"\xff\xfe\xfd\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/teams\r\n",
        b"GET /v1/teams\r\n\r\n",
        b"GET /v1/teams HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /v1/teams HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        b"GET /v1/teams\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/teams\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"G\0T /v1/teams HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX\xff: a\r\n\r\n",
        b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n: a\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ] {
        let replies = open.send(bytes);
        assert_eq!(replies, [400], "{:?}", String::from_utf8_lossy(bytes));
    }
    open.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); // who speaks HTTP/2 is hung up on
    open.assert_serves();
}

#[test]
fn headers_that_the_app_reads_stand_once_and_hold_text() {
    let open = open_listener(patient());
    let ask = |headers: &[u8]| open.send([b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n", headers, b"\r\n"].concat());
    assert_refused(&ask(b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400, "VALIDATION_ERROR");
    assert_refused(&ask(b"Authorization: Bearer \xff\r\n"), 400, "VALIDATION_ERROR");
    assert_eq!(ask(b"User-Agent: \xff\r\nContent-Type: \xfe\r\n"), [401], "these two decide nothing");
}

/// Line ends that come encoded are only bytes of a name; they never reach a header of the reply.
#[test]
fn encoded_line_ends_split_no_reply() {
    let open = open_listener(patient());
    for target in
        ["/v1/teams/a%0d%0aSet-Cookie:%20a=b", "/v1/%0d%0aSet-Cookie:%20a=b", "/v1/teams?name=%0d%0aSet-Cookie:%20a=b"]
    {
        let replies = open.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(replies.len(), 1, "{target}");
        assert!(!replies[0].head.contains("set-cookie"), "{}", replies[0].head);
    }
}

// ---- what is spoken beside ----

#[test]
fn head_is_answered_like_get_without_the_body() {
    let open = open_listener(patient());
    let get = open.send("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut client = Client::connect(open.addr);
    client.write("HEAD /v1/teams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains(&format!("content-length: {}\r\n", get[0].body.len())), "{answer}");
}

#[test]
fn an_unknown_method_is_refused() {
    let open = open_listener(patient());
    for method in ["BREW", "get", "TRACE", "OPTIONS"] {
        let replies = open.send(format!("{method} /v1/teams HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_refused(&replies, 405, "METHOD_NOT_ALLOWED");
    }
}

#[test]
fn a_body_is_invited_only_where_it_may_come() {
    let open = open_listener(patient());
    let mut client = Client::connect(open.addr);
    client.write(format!("{WITH_BODY}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    assert_eq!(client.reply(), 100);
    client.write("{}");
    assert_eq!(client.reply(), 200);
    for refused in ["Content-Length: 2000000\r\n", "Content-Length: 2\r\nHost: twice\r\n"] {
        let mut client = Client::connect(open.addr);
        client.write(format!("{WITH_BODY}Expect: 100-continue\r\n{refused}\r\n"));
        let replies = client.replies();
        assert!(replies.len() == 1 && [400, 413].contains(&replies[0].status), "{replies:?}");
        assert!(replies[0].closes());
    }
}

#[test]
fn an_offer_to_upgrade_is_passed_over() {
    let open = open_listener(patient());
    let offer = "GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let mut client = Client::connect(open.addr);
    for _ in 0..2 {
        client.write(offer);
        assert_eq!(client.reply(), 401);
    }
}

#[test]
fn http_1_0_is_answered() {
    let open = open_listener(patient());
    let mut client = Client::connect(open.addr);
    client.write("GET /v1/teams HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.replies(), [401]);
}

// ---- the end ----

#[test]
fn a_stop_lets_what_is_in_flight_finish() {
    let mut open = open_listener(patient());
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(open.addr)).collect();
    for client in &mut clients {
        client.write(format!("{WITH_BODY}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
        assert_eq!(client.reply(), 100, "it is being read");
        client.write("{");
    }
    let mut silent = Client::connect(open.addr);
    let mut idle = Client::connect(open.addr);
    idle.write(GET);
    assert_eq!(idle.reply(), 401);

    open.stop();
    silent.assert_hung_up();
    idle.assert_hung_up();
    let begun = Instant::now();
    while TcpStream::connect(open.addr).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it still takes connections");
    }
    for client in &mut clients {
        client.write("}");
        let replies = client.replies();
        assert_eq!(replies, [200]);
        assert!(replies[0].closes());
    }
    open.join();
}

/// Whether it waits for them is a limit, so the test sees both.
#[test]
fn a_stop_does_not_wait_for_half_a_head() {
    for (half_head, waits) in [(SHORT, false), (LONG, true)] {
        let mut open = open_listener(Limits { half_head, drain: SHORT * 10, ..patient() });
        let mut first = Client::connect(open.addr);
        first.write("GET /v1/teams HTTP/1.1\r\nHost:");
        let mut second = Client::connect(open.addr);
        second.write([GET, "GET /v1/teams HTTP/1.1\r\n"].concat());
        assert_eq!(second.reply(), 401);
        std::thread::sleep(SHORT); // so that both have been read
        let begun = Instant::now();
        open.stop();
        first.assert_hung_up();
        second.assert_hung_up();
        open.join();
        assert_eq!(begun.elapsed() >= SHORT * 10, waits, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_stop_cuts_off_what_does_not_finish() {
    let mut open = open_listener(Limits { drain: SHORT, ..patient() });
    let mut client = Client::connect(open.addr);
    client.write(format!("{WITH_BODY}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    assert_eq!(client.reply(), 100);
    let begun = Instant::now();
    open.stop();
    open.join();
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    client.assert_hung_up();
}
