//! Do idle clients make room for active clients, in connections and in bytes?

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use guildhall::server::Limits;

use super::client::{Client, open_listener, open_listeners, patient};
use super::{GET, LONG, PATIENCE, SHORT, WITH_BODY};
use crate::process::{Serving, init};
use crate::seed::WORLD;

#[test]
fn those_that_idle_or_send_half_a_head_make_room() {
    for per_peer in [8, 64] {
        let limits = Limits { connections_max: 12, connections_per_peer: per_peer, ..patient() };
        let open = open_listener(limits);
        let mut idle: Vec<_> = (0..100).map(|_| Client::connect(open.addr)).collect();
        open.assert_serves();
        for client in &mut idle[20..60] {
            client.write("GET /v1/teams HTTP/1.1\r\nHost:");
        }
        open.assert_serves();
        let kept: Vec<_> = (0..100)
            .map(|_| {
                let mut client = Client::connect(open.addr);
                client.write(GET);
                assert_eq!(client.reply(), 401, "each newcomer is served");
                client
            })
            .collect();
        idle[0].assert_hung_up();
        drop(kept);
    }
}

#[test]
fn a_peer_has_its_share_and_is_told_so_while_all_of_it_is_served() {
    let limits = Limits { connections_max: 64, connections_per_peer: 4, ..patient() };
    let open = open_listener(limits);
    let mut busy: Vec<_> = (0..4).map(|_| Client::busy(open.addr)).collect();
    assert_eq!(Client::connect(open.addr).replies(), [503]);
    let mut other = from("127.0.0.2", open.addr);
    other.write(GET);
    assert_eq!(other.reply(), 401, "another address has its own share");
    busy.iter_mut().for_each(Client::finish);
    open.assert_serves();
}

/// A client of another address of this machine.
fn from(address: &str, to: SocketAddr) -> Client {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    connect(&socket, &to).unwrap();
    let socket = std::net::TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(socket)
}

#[test]
fn the_operators_socket_has_room_for_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let limits = Limits { connections_max: 4, ..patient() };
    let _open = open_listeners(limits, Some(UnixListener::bind(&path).unwrap()));
    let mut idle: Vec<_> = (0..40).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for socket in &mut idle[30..] {
        let _ = socket.write_all(b"POST /v1/operator/organ");
    }
    let mut operator = UnixStream::connect(&path).unwrap();
    operator.set_read_timeout(Some(PATIENCE)).unwrap();
    operator.write_all(GET.as_bytes()).unwrap();
    let mut status = [0; 12];
    operator.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 401");
}

#[test]
fn a_body_that_stays_out_makes_room_for_a_newcomer() {
    let limits = Limits { connections_max: 4, patience: SHORT, ..patient() };
    let open = open_listener(limits);
    let mut stalled: Vec<_> = (0..4).map(|_| Client::busy(open.addr)).collect();
    std::thread::sleep(SHORT * 2);
    open.assert_serves();
    let told = stalled.iter_mut().map(client_was_told).filter(|told| *told).count();
    assert_eq!(told, 1, "one is enough");
}

/// Whether it was answered that the server needs its room.
fn client_was_told(client: &mut Client) -> bool {
    client.0.set_read_timeout(Some(SHORT)).unwrap();
    let mut status = [0; 12];
    match client.0.read_exact(&mut status) {
        Ok(()) => &status == b"HTTP/1.1 503",
        Err(cause) => panic_unless_waiting(cause.kind()),
    }
}

fn panic_unless_waiting(cause: ErrorKind) -> bool {
    assert!(matches!(cause, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{cause}");
    false
}

// ---- bytes ----

const MIB: usize = 1 << 20;

/// A request of this key whose body has come but for its last byte.
fn all_but_the_last_byte(addr: SocketAddr, key: &str, bytes: usize) -> Client {
    let mut client = Client::connect(addr);
    let head = format!("GET /v1/teams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n");
    client.write(format!("{head}Content-Length: {bytes}\r\n\r\n{}", " ".repeat(bytes - 1)));
    client
}

#[test]
fn bodies_that_never_end_hold_no_more_than_their_share() {
    let limits = Limits { buffered_bytes_max: 8 * MIB, patience: LONG, ..patient() };
    let open = open_listener(limits);
    let (ada, max) = (WORLD.keys.text("ada"), WORLD.keys.text("max"));
    let mut held: Vec<_> = (0..12).map(|_| all_but_the_last_byte(open.addr, ada, MIB)).collect();
    let refused = held.iter_mut().filter_map(|client| {
        client.0.set_read_timeout(Some(SHORT)).unwrap();
        let mut head = [0; 12];
        client.0.read_exact(&mut head).is_ok().then_some(head)
    });
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 10, "a quarter of 8 MiB is two bodies");
    assert!(refused.iter().all(|head| head == b"HTTP/1.1 429"), "{refused:?}");
    let mut other = all_but_the_last_byte(open.addr, max, MIB);
    other.write(" ");
    assert_eq!(other.reply(), 200, "another key of the organization has its own share");
    open.assert_serves();
    let mut small = Client::busy(open.addr);
    small.finish();
    drop(held);
    let begun = Instant::now();
    loop {
        let mut client = all_but_the_last_byte(open.addr, ada, MIB);
        client.write(" ");
        if client.reply() == 200 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "what nobody holds is free again");
    }
}

#[test]
fn a_body_that_stays_out_gives_its_bytes_to_one_that_comes() {
    let limits = Limits { buffered_bytes_max: 8 * MIB, patience: SHORT, ..patient() };
    let open = open_listener(limits);
    let ada = WORLD.keys.text("ada");
    let mut held: Vec<_> = (0..2).map(|_| all_but_the_last_byte(open.addr, ada, MIB)).collect();
    std::thread::sleep(SHORT * 2);
    let mut client = all_but_the_last_byte(open.addr, ada, MIB);
    client.write(" ");
    assert_eq!(client.reply(), 200);
    assert_eq!(held.iter_mut().map(client_was_told).filter(|told| *told).count(), 1, "one is enough");
}

/// What is declared and does not come costs nobody anything.
#[test]
fn a_declared_length_reserves_nothing() {
    let limits = Limits { buffered_bytes_max: 4 * MIB, ..patient() };
    let open = open_listener(limits);
    let _declared: Vec<_> = (0..40)
        .map(|_| {
            let mut client = Client::connect(open.addr);
            client.write(format!("{WITH_BODY}Content-Length: {MIB}\r\n\r\n "));
            client
        })
        .collect();
    let mut client = all_but_the_last_byte(open.addr, WORLD.keys.text("ada"), MIB);
    client.write(" ");
    assert_eq!(client.reply(), 200);
}

/// Replies that nobody collects are held until others need the room, also those whose reader has only just begun.
#[test]
fn replies_that_nobody_reads_give_way() {
    let limits = Limits { buffered_bytes_max: 2 * MIB, ..patient() };
    let open = open_listener(limits);
    let ask = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut deaf: Vec<_> = (0..30)
        .map(|_| {
            let mut client = Client::connect(open.addr);
            // Many, so that they do not fit the buffers of the system.
            client.write(ask.repeat(60));
            client
        })
        .collect();
    std::thread::sleep(SHORT);
    let mut client = Client::connect(open.addr);
    client.write(ask);
    assert_eq!(client.reply(), 200);
    let begun = Instant::now();
    let mut cut_off = 0;
    while cut_off == 0 {
        cut_off = deaf.iter_mut().map(|client| client.0.write_all(b" ")).filter(Result::is_err).count();
        assert!(begun.elapsed() < PATIENCE, "nobody gave way");
        std::thread::sleep(Duration::from_millis(20));
    }
    open.assert_serves();
}

/// Each round a body one byte short of the limit, from many at once: with a key that works, with one that does not, and
/// without.
#[test]
fn a_crowd_of_unfinished_bodies_costs_little_memory() {
    let data = tempfile::tempdir().unwrap();
    let key = init(data.path());
    let server = Serving::start(data.path());
    let before = server.resident_bytes();
    let anyone = "POST /v1/invitations/accept HTTP/1.1\r\nHost: localhost\r\n";
    let of = |key: &str| format!("POST /v1/teams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n");
    for (head, bytes) in [(of(&key), MIB), (of("guild_nobodys0.x"), MIB), (anyone.to_owned(), 64 << 10)] {
        let body = " ".repeat(bytes - 1);
        let crowd: Vec<_> = (0..400)
            .map(|_| {
                let mut client = Client::connect(server.addr);
                client.0.set_write_timeout(Some(SHORT)).unwrap();
                client.write(format!("{head}Content-Length: {bytes}\r\n\r\n"));
                client.write(&body);
                client
            })
            .collect();
        let mut other = Client::connect(server.addr);
        other.write(GET);
        assert_eq!(other.reply(), 401, "who asks is answered");
        let more = server.resident_bytes().saturating_sub(before);
        assert!(more < 160 << 20, "{} MiB more", more >> 20);
        drop(crowd);
    }
}
