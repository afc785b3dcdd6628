//! Connections and requests that are only started: connections that send nothing, heads and bodies that never end,
//! bodies with invalid keys, and replies that nobody reads.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use guildhall::token::PlainKey;
use serde_json::json;

use super::peer::{Peer, read};
use super::site::{BaseUrl, unique};

/// How many connections this process may hold beside what it needs.
fn connections(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    let possible = wanted.min(soft.saturating_sub(200));
    if possible < wanted {
        eprintln!("only {possible} of {wanted} connections: raise the limit of open files (`ulimit -n`) to try all");
    }
    possible
}

/// Opens so many connections and begins this on each; holds them for a while. Those that are refused or cut off are
/// opened again, and no other: a place is given up only to be taken again.
fn hold(peer: &Peer, count: usize, begin: &str, more: &[u8], time: Duration) {
    let open = || -> std::io::Result<TcpStream> {
        let mut socket = peer.connect()?;
        socket.set_write_timeout(Some(Duration::from_millis(200)))?;
        socket.write_all(begin.as_bytes())?;
        socket.write_all(more)?;
        std::thread::sleep(OPENED_EVERY);
        Ok(socket)
    };
    let begun = Instant::now();
    let mut held: Vec<Option<TcpStream>> = (0..connections(count)).map(|_| open().ok()).collect();
    let mut at = 0;
    while begun.elapsed() < time {
        at = (at + 1) % held.len();
        if held[at].as_ref().is_none_or(is_over) {
            held[at] = None;
            held[at] = open().ok();
            std::thread::sleep(REOPENED_EVERY);
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Whether the other side has closed this.
fn is_over(socket: &TcpStream) -> bool {
    let _ = socket.set_nonblocking(true);
    let seen = socket.peek(&mut [0]);
    let _ = socket.set_nonblocking(false);
    match seen {
        Ok(bytes) => bytes == 0,
        Err(cause) => cause.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// How long connections are held, and how fast they come and, closed, come back: the client must not use up the processor
/// that it shares with the server, and what the kernel's queue does not hold waits for a second.
const WHILE: Duration = Duration::from_millis(700);
const OPENED_EVERY: Duration = Duration::from_micros(200);
const REOPENED_EVERY: Duration = Duration::from_millis(3);

#[test]
fn connections_that_are_only_held_keep_nobody_out() {
    let mut site = BaseUrl::new();
    let head = |peer: &Peer, lines: &str| peer.head("POST", "/v1/teams", lines);
    let half = |peer: &Peer| head(peer, "content-length: 900000\r\n\r\n");
    let invoker = site.hostile.invoker.clone();
    let stranger = site.stranger();
    let cases: [(&str, usize, &Peer, String); 6] = [
        ("1,200 connections that say nothing", 1200, &stranger, String::new()),
        ("600 half heads", 600, &stranger, head(&stranger, "x-slow: ")),
        (
            "600 connections that idle after an answer",
            600,
            &stranger,
            format!("{}\r\n", stranger.head("GET", "/healthz", "")),
        ),
        ("600 heads whose body does not come", 600, &invoker, half(&invoker)),
        (
            "600 that wait to be told to go on",
            600,
            &invoker,
            head(&invoker, "expect: 100-continue\r\ncontent-length: 9\r\n\r\n"),
        ),
        ("600 chunks that do not come", 600, &invoker, head(&invoker, "transfer-encoding: chunked\r\n\r\nffff\r\n")),
    ];
    for (what, count, peer, begin) in &cases {
        site.beside(what, |_| hold(peer, *count, begin, b"", WHILE));
    }
    // Several addresses, each with less than one may have.
    site.beside("200 connections from each of eight addresses", |_| {
        std::thread::scope(|scope| {
            for last in 2..10 {
                let peer = Peer { from: [127, 0, 0, last].into(), ..stranger.clone() };
                scope.spawn(move || hold(&peer, 200, "", b"", WHILE));
            }
        });
    });
    site.neighbour.push_honestly("honest");
    site.assert_restarts("connections");
}

/// Nobody without a working key has a body read; and whoever has one holds no more than the server can bear.
#[test]
fn bodies_that_are_almost_there_take_no_memory() {
    let mut site = BaseUrl::new();
    let nonsense = |seed: u8| {
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::from_seed([seed; 32]);
        Peer { key: Some(PlainKey::generate(&mut rng).reveal().to_owned()), ..site.stranger() }
    };
    let malformed = Peer { key: Some("nonsense".to_owned()), ..site.stranger() };
    let peers = [
        ("500 bodies for a key that nobody has", nonsense(1), 500, "/graphql/"),
        ("400 bodies for what is no key", malformed, 400, "/v1/models"),
        ("400 bodies without a key", site.stranger(), 400, "/v1/secrets"),
        ("400 bodies to accept an invitation", site.stranger(), 400, "/v1/invitations/accept"),
        ("600 bodies for a key that calls alone", site.hostile.invoker.clone(), 600, "/graphql/"),
    ];
    let body = vec![b' '; (1 << 20) - 1];
    for (what, peer, count, target) in &peers {
        let begin = peer.head("POST", target, "content-type: application/json\r\ncontent-length: 1048576\r\n\r\n");
        site.beside(what, |_| hold(peer, *count, &begin, &body, WHILE));
    }
    let resident = site.resident_mib();
    assert!(resident < 256, "{resident} MiB are kept for bodies that never ended");
    site.assert_restarts("bodies begun");
}

#[test]
fn bodies_in_tiny_pieces_are_no_more_than_others() {
    let mut site = BaseUrl::new();
    let pieces = format!("{}0\r\n\r\n", "1\r\n \r\n".repeat(80_000));
    let extensions = format!("{}0\r\n\r\n", format!("1;{}\r\n \r\n", "e".repeat(3000)).repeat(1000));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "t: t\r\n".repeat(60_000));
    for (what, body) in [("pieces of a byte", pieces), ("pieces with much beside", extensions), ("trailers", trailers)]
    {
        site.beside(what, |hostile| {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let lines = "transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
                        let Ok(mut socket) = hostile.invoker.connect() else { return };
                        let _ = socket.write_all(hostile.invoker.head("POST", "/graphql/", lines).as_bytes());
                        let _ = socket.write_all(body.as_bytes());
                        if let Ok(reply) = read(&mut socket) {
                            assert!(reply.status < 500 || reply.status == 503, "{what}: {}", reply.status);
                        }
                    });
                }
            });
        });
    }
}

/// Requests one behind the other on many connections, and nobody reads the answers.
#[test]
fn answers_that_nobody_collects_take_no_memory() {
    let mut site = BaseUrl::new();
    for _ in 0..30 {
        let body = json!({ "training_project": { "name": unique(&"p".repeat(200)) } });
        site.hostile.deployer.post("/v1/training_projects", body);
    }
    for (what, target, method, body) in [
        ("the description of the API", "/openapi.json", "GET", String::new()),
        ("a list", "/v1/training_projects", "GET", String::new()),
        (
            "a list in GraphQL",
            "/graphql/",
            "POST",
            json!({ "query": "{ listed_instances { id name price } }" }).to_string(),
        ),
    ] {
        let lines = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let request = site.hostile.deployer.head(method, target, &lines);
        site.beside(&format!("{what}, uncollected"), |hostile| {
            hold(&hostile.deployer, 80, &request.repeat(4), b"", 3 * WHILE);
        });
    }
    site.assert_restarts("uncollected answers");
}
