//! Does the door hold? Each attack is refused with a sentence or cut off in time, and the next client is served.
//!
//! The deadline under test is short and all others are long, so that a slow machine can only make a test slow.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guildhall::http::server::{self, Limits, Server};

use crate::house::House;
use crate::process::Serving;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);
/// How long a test waits for what must happen soon: far longer than `SHORT`, far shorter than `LONG`.
const PATIENCE: Duration = Duration::from_secs(15);

/// Reaches the app, which asks for a key.
const GET: &str = "GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The same, with a body to come.
const POST: &str = "POST /v1/teams HTTP/1.1\r\nHost: localhost\r\n";
const SMUGGLED: &str = "GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

// ---- the house and its clients ----

struct Open {
    server: Option<Server>,
    addr: SocketAddr,
    _house: House,
}

fn open_door(limits: Limits) -> Open {
    open_doors(limits, None)
}

fn open_doors(limits: Limits, operator: Option<UnixListener>) -> Open {
    let house = House::empty();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server::serve(&Arc::clone(&house.app), listener, operator, limits).unwrap();
    Open { addr: server.addr(), server: Some(server), _house: house }
}

impl Open {
    fn stop(&self) {
        self.server.as_ref().unwrap().stop();
    }

    fn join(&mut self) {
        self.server.take().unwrap().join();
    }

    #[track_caller]
    fn assert_serves(&self) {
        assert_eq!(self.send(GET), [401], "the next client is served");
    }

    /// Sends all of it, says that no more comes, and gives all replies until the connection closes.
    #[track_caller]
    fn send(&self, bytes: impl AsRef<[u8]>) -> Vec<Reply> {
        let mut client = Client::connect(self.addr);
        client.write(bytes.as_ref());
        let _ = client.0.shutdown(Shutdown::Write);
        client.replies()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

fn patient() -> Limits {
    Limits {
        workers: 2,
        connections_max: 64,
        head: LONG,
        body: LONG,
        idle: LONG,
        stalled: LONG,
        drain: LONG,
        ..Limits::default()
    }
}

struct Client(TcpStream);

impl Client {
    fn connect(addr: SocketAddr) -> Client {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client(socket)
    }

    /// What the server no longer takes is not this side's failure.
    fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// Sends byte after byte, each well within any deadline, until the server hangs up.
    fn trickle(&mut self, bytes: &str) {
        let begun = Instant::now();
        for byte in bytes.bytes().cycle() {
            if self.0.write_all(&[byte]).is_err() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "each byte puts the deadline off");
            std::thread::sleep(SHORT / 20);
        }
    }

    /// One reply, the connection staying open.
    #[track_caller]
    fn reply(&mut self) -> Reply {
        let mut bytes = Vec::new();
        loop {
            if let Some((reply, rest)) = Reply::parse(&bytes) {
                assert!(rest.is_empty(), "one reply and no more");
                return reply;
            }
            let mut more = [0; 4096];
            match self.0.read(&mut more) {
                Ok(0) => panic!("closed after {:?}", String::from_utf8_lossy(&bytes)),
                Ok(count) => bytes.extend_from_slice(&more[..count]),
                Err(cause) => panic!("no reply: {cause}"),
            }
        }
    }

    /// All replies until the connection closes.
    #[track_caller]
    fn replies(&mut self) -> Vec<Reply> {
        let bytes = self.rest();
        let (mut replies, mut rest) = (Vec::new(), &bytes[..]);
        while let Some((reply, left)) = Reply::parse(rest) {
            replies.push(reply);
            rest = left;
        }
        assert!(rest.is_empty(), "no reply: {:?}", String::from_utf8_lossy(rest));
        replies
    }

    #[track_caller]
    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => panic!("the connection stays open"),
            Ok(_) | Err(_) => bytes, // a reset is an end, too
        }
    }

    /// The server closes without a word.
    #[track_caller]
    fn assert_hung_up(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "");
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<(Reply, &[u8])> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let (head, rest) = bytes.split_at(end);
        let head = String::from_utf8(head.to_ascii_lowercase()).unwrap();
        let status = head.strip_prefix("http/1.")?.split(' ').nth(1)?.parse().unwrap();
        let length =
            head.split("content-length: ").nth(1).map_or(0, |tail| tail.lines().next().unwrap().parse().unwrap());
        let (body, rest) = rest.split_at_checked(length)?;
        Some((Reply { status, head, body: String::from_utf8(body.to_vec()).unwrap() }, rest))
    }

    /// The code of a refusal in our shape.
    #[track_caller]
    fn code(&self) -> String {
        for header in ["content-type: application/json", "cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(self.head.contains(header), "{header} in {}", self.head);
        }
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("a body of JSON");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "a sentence in {body}");
        body["code"].as_str().expect("a code").to_owned()
    }

    fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

impl PartialEq<u16> for Reply {
    fn eq(&self, status: &u16) -> bool {
        self.status == *status
    }
}

/// One reply in our shape, and then the end.
#[track_caller]
fn assert_refused(replies: &[Reply], status: u16, code: &str) {
    assert_eq!(replies, [status]);
    assert_eq!(replies[0].code(), code);
}

// ---- too slow ----

#[test]
fn a_slow_head_is_cut_off() {
    let open = open_door(Limits { head: SHORT, ..patient() });
    let begun = Instant::now();
    let mut client = Client::connect(open.addr);
    client.write("GET /v1/teams HTTP/1.1\r\nHost:");
    client.assert_hung_up();
    assert!(begun.elapsed() >= SHORT, "not before its time");
    open.assert_serves();
}

#[test]
fn a_head_that_trickles_is_cut_off() {
    let open = open_door(Limits { head: SHORT, ..patient() });
    Client::connect(open.addr).trickle("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX-Slow: and so on");
    open.assert_serves();
}

#[test]
fn who_says_nothing_is_hung_up_on() {
    let open = open_door(Limits { idle: SHORT, ..patient() });
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
    let open = open_door(Limits { head: SHORT * 3, ..patient() });
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
    let open = open_door(Limits { idle: SHORT * 5, ..patient() });
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
    let open = open_door(Limits { body: SHORT, ..patient() });
    for framing in ["Content-Length: 10\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let mut client = Client::connect(open.addr);
        client.write(format!("{POST}{framing}"));
        let replies = client.replies();
        assert_refused(&replies, 408, "REQUEST_TIMEOUT");
        assert!(replies[0].closes());
    }
    open.assert_serves();
}

#[test]
fn a_body_that_trickles_is_cut_off() {
    let open = open_door(Limits { body: SHORT, ..patient() });
    let mut client = Client::connect(open.addr);
    client.write(format!("{POST}Content-Length: 1000000\r\n\r\n"));
    client.trickle(" ");
    open.assert_serves();
}

#[test]
fn who_reads_no_replies_is_cut_off() {
    let open = open_door(Limits { stalled: SHORT, ..patient() });
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
    let open = open_door(Limits { connections_max: 20, ..patient() });
    let mut inside: Vec<_> = (0..20).map(|_| Client::connect(open.addr)).collect();
    for client in &mut inside {
        client.write(GET);
        assert_eq!(client.reply(), 401);
    }
    for asks_first in [true, false].repeat(20) {
        let mut client = Client::connect(open.addr);
        if asks_first {
            client.write(GET);
        }
        let replies = client.replies();
        assert_refused(&replies, 503, "UNAVAILABLE");
        assert!(replies[0].closes());
    }
    for client in &mut inside {
        client.write(GET);
        assert_eq!(client.reply(), 401, "who is in stays in");
    }
    drop(inside);
    let begun = Instant::now();
    while open.send(GET) != [401] {
        assert!(begun.elapsed() < PATIENCE, "no place becomes free");
    }
}

#[test]
fn the_operator_comes_in_when_strangers_fill_the_house() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let open = open_doors(Limits { connections_max: 3, ..patient() }, Some(UnixListener::bind(&path).unwrap()));
    let mut strangers: Vec<_> = (0..3).map(|_| Client::connect(open.addr)).collect();
    for stranger in &mut strangers {
        stranger.write(GET);
        assert_eq!(stranger.reply(), 401);
    }
    assert_eq!(Client::connect(open.addr).replies(), [503]);
    let mut operator = UnixStream::connect(&path).unwrap();
    operator.set_read_timeout(Some(PATIENCE)).unwrap();
    operator.write_all(GET.as_bytes()).unwrap();
    operator.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    operator.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

/// The server stands in a process of its own, since the limit is a process's.
#[test]
fn it_survives_running_out_of_file_descriptors() {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 48; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_guildhall")]);
    let server = Serving::by(command, data.path());
    let addr = server.addr;

    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(addr)).collect();
    clients[0].write(GET);
    assert_eq!(clients[0].reply(), 401, "who is in is served");
    let last = clients.last_mut().unwrap();
    last.write(GET);
    last.0.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(last.0.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "there is none left for this one");
    drop(clients);
    let mut client = Client::connect(addr);
    client.write(GET);
    assert_eq!(client.reply(), 401);
}

// ---- too much ----

#[test]
fn a_body_too_long_is_refused_before_it_comes() {
    let open = open_door(patient());
    for length in ["100000000000", "18446744073709551613", "1048577"] {
        let mut client = Client::connect(open.addr);
        client.write(format!("{POST}Content-Length: {length}\r\n\r\n"));
        let replies = client.replies();
        assert_refused(&replies, 413, "PAYLOAD_TOO_LARGE");
        assert!(replies[0].closes());
    }
    let length_of_no_number = format!("{POST}Content-Length: 100000000000000000000\r\n\r\n");
    assert_eq!(open.send(length_of_no_number), [400]);
    open.assert_serves();
}

/// All of what it sends is taken off its hands: a reset could reach it before the answer does.
#[test]
fn who_sends_too_much_reads_why_it_is_refused() {
    let open = open_door(Limits { linger: LONG, ..patient() });
    let length = 10 << 20;
    let body = " ".repeat(length);
    for (request, status) in [
        (format!("{POST}Content-Length: {length}\r\n\r\n{body}"), 413),
        (format!("{POST}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"), 413),
        (format!("{POST}X-Long: {body}\r\n\r\n"), 431),
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
    let open = open_door(patient());
    let mut client = Client::connect(open.addr);
    client.write(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
    let chunks = "1000\r\n".to_owned() + &" ".repeat(0x1000) + "\r\n";
    let begun = Instant::now();
    while client.0.write_all(chunks.as_bytes()).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it takes chunks for ever");
    }
    open.assert_serves();
}

#[test]
fn a_body_at_the_limit_comes_through_in_chunks_of_one_byte() {
    let open = open_door(patient());
    let chunks = "1\r\n \r\n".repeat(1 << 20);
    assert_eq!(open.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")), [401]);
    assert_eq!(open.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}1\r\n \r\n0\r\n\r\n")), [413]);
}

#[test]
fn a_head_too_long_is_refused() {
    let open = open_door(patient());
    let head =
        |length: usize| format!("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "a".repeat(length));
    assert_eq!(open.send(head(31 << 10)), [401]);
    assert_eq!(open.send(head(33 << 10)), [431]);
    assert_eq!(open.send(head(10 << 20)), [431]);
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(33 << 10));
    assert_eq!(open.send(target), [431]);
    let headers = format!("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(200));
    assert_eq!(open.send(headers), [431]);
    let trailers = format!("{POST}Transfer-Encoding: chunked\r\n\r\n0\r\nX-Long: {}\r\n\r\n", "a".repeat(10 << 20));
    assert_eq!(open.send(trailers), [400]);
    open.assert_serves();
}

// ---- two requests for one ----

/// Where one request ends must not be a matter of opinion. What is refused takes the connection with it.
#[test]
fn nothing_is_smuggled() {
    let open = open_door(patient());
    let hidden = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    for (shape, status) in [
        // the length is passed over, and with it the connection given up
        (format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"), 401),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{SMUGGLED}"), 401),
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
        let replies = open.send(format!("{POST}{shape}"));
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
    let open = open_door(patient());
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
        let replies = open.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{chunk}{SMUGGLED}"));
        assert_refused(&replies, 400, "VALIDATION_ERROR");
        assert!(replies[0].closes(), "{chunk:?}");
    }
    open.assert_serves();
}

#[test]
fn a_body_that_breaks_off_is_refused() {
    let open = open_door(patient());
    assert_refused(&open.send(format!("{POST}Content-Length: 5\r\n\r\n1234")), 400, "VALIDATION_ERROR");
    assert_refused(&open.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\n1234")), 400, "VALIDATION_ERROR");
    open.assert_serves();
}

#[test]
fn requests_sent_together_are_answered_in_turn() {
    let open = open_door(patient());
    let with_body = format!("{POST}Content-Length: 2\r\n\r\n{{}}");
    let in_chunks = format!("{POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    let same_length_twice = format!("{POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}");
    let refused = "GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let replies = open.send([&with_body, GET, &in_chunks, SMUGGLED, &same_length_twice, refused, GET].concat());
    assert_eq!(replies, [401, 401, 401, 404, 401, 400, 401]);
    assert_eq!(open.send(GET.repeat(100)).len(), 100);
}

// ---- heads that mean nothing ----

#[test]
fn a_request_names_one_host() {
    let open = open_door(patient());
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
    let open = open_door(patient());
    let ask = |line: &str| open.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(ask("GET http://api.example:8000/v1/teams"), [401]);
    assert_eq!(ask("GET http://api.example/v1/teams?a=b"), [401]);
    assert_eq!(ask("GET http://api.example"), [404]);
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
    let open = open_door(patient());
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
    let open = open_door(patient());
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
    let open = open_door(patient());
    let ask = |headers: &[u8]| open.send([b"GET /v1/teams HTTP/1.1\r\nHost: localhost\r\n", headers, b"\r\n"].concat());
    assert_refused(&ask(b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400, "VALIDATION_ERROR");
    assert_refused(&ask(b"Authorization: Bearer \xff\r\n"), 400, "VALIDATION_ERROR");
    assert_eq!(ask(b"User-Agent: \xff\r\nContent-Type: \xfe\r\n"), [401], "these two decide nothing");
}

/// Line ends that come encoded are only bytes of a name; they never reach a header of the reply.
#[test]
fn encoded_line_ends_split_no_reply() {
    let open = open_door(patient());
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
    let open = open_door(patient());
    let get = open.send("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut client = Client::connect(open.addr);
    client.write("HEAD /v1/teams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains(&format!("content-length: {}\r\n", get[0].body.len())), "{answer}");
}

#[test]
fn an_unknown_method_is_refused() {
    let open = open_door(patient());
    for method in ["BREW", "get", "TRACE", "OPTIONS"] {
        let replies = open.send(format!("{method} /v1/teams HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_refused(&replies, 405, "METHOD_NOT_ALLOWED");
    }
}

#[test]
fn a_body_is_invited_only_where_it_may_come() {
    let open = open_door(patient());
    let mut client = Client::connect(open.addr);
    client.write(format!("{POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    assert_eq!(client.reply(), 100);
    client.write("{}");
    assert_eq!(client.reply(), 401);
    for refused in ["Content-Length: 2000000\r\n", "Content-Length: 2\r\nHost: twice\r\n"] {
        let mut client = Client::connect(open.addr);
        client.write(format!("{POST}Expect: 100-continue\r\n{refused}\r\n"));
        let replies = client.replies();
        assert!(replies.len() == 1 && [400, 413].contains(&replies[0].status), "{replies:?}");
        assert!(replies[0].closes());
    }
}

#[test]
fn an_offer_to_upgrade_is_passed_over() {
    let open = open_door(patient());
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
    let open = open_door(patient());
    let mut client = Client::connect(open.addr);
    client.write("GET /v1/teams HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.replies(), [401]);
}

// ---- the end ----

#[test]
fn a_stop_lets_what_is_in_flight_finish() {
    let mut open = open_door(patient());
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(open.addr)).collect();
    for client in &mut clients {
        client.write(format!("{POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
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
        assert_eq!(replies, [401]);
        assert!(replies[0].closes());
    }
    open.join();
}

#[test]
fn a_stop_cuts_off_what_does_not_finish() {
    let mut open = open_door(Limits { drain: SHORT, ..patient() });
    let mut client = Client::connect(open.addr);
    client.write(format!("{POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    assert_eq!(client.reply(), 100);
    let begun = Instant::now();
    open.stop();
    open.join();
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    client.assert_hung_up();
}
