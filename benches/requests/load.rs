//! The load: connections that each send a request, wait for the reply, and send the next request.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::seed::World;
use crate::server::Server;

const THREADS: usize = 2;
/// Different keys are asked for, so that no page stays hot by itself.
const REQUESTS_MAX: usize = 20_000;
/// How many values a secret is set to in turn.
const VALUES: usize = 16;

/// The requests to choose from, ready to be sent.
pub struct Load {
    requests: Arc<Vec<Vec<u8>>>,
}

impl Load {
    pub fn hello() -> Load {
        Load::of(vec![b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()])
    }

    pub fn list_secrets(world: &World) -> Load {
        Load::of(some_keys(world).map(|(key, team)| request("GET", key, team, "secrets", "")).collect())
    }

    pub fn list_members(world: &World) -> Load {
        Load::of(some_keys(world).map(|(key, team)| request("GET", key, team, "members", "")).collect())
    }

    pub fn upsert_secret(world: &World) -> Load {
        // A value that is there already would not be written again.
        let bodies: Vec<String> = (0..VALUES)
            .map(|number| {
                format!(r#"{{"name":"secret_1","value":"value {number:02}, as long as keys of other services"}}"#)
            })
            .collect();
        let of_key = |(key, team): &(String, String)| -> Vec<Vec<u8>> {
            bodies.iter().map(|body| request("POST", key, team, "secrets", body)).collect()
        };
        Load::of(some_keys(world).flat_map(of_key).take(REQUESTS_MAX).collect())
    }

    fn of(requests: Vec<Vec<u8>>) -> Load {
        Load { requests: Arc::new(requests) }
    }
}

fn some_keys(world: &World) -> impl Iterator<Item = &(String, String)> {
    let mut rng = StdRng::seed_from_u64(11);
    let count = world.keys.len();
    (0..count.min(REQUESTS_MAX)).map(move |_| &world.keys[rng.random_range(0..count)])
}

fn request(method: &str, key: &str, team: &str, what: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} /v1/teams/{team}/{what} HTTP/1.1\r\nhost: localhost\r\nauthorization: Api-Key {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What a round showed.
#[derive(Clone, Copy)]
pub struct Measured {
    pub per_second: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    pub user_micros: f64,
    pub system_micros: f64,
}

impl Measured {
    /// Each figure's own median.
    pub fn median(rounds: Vec<Measured>) -> Measured {
        let middle = |figure: fn(&Measured) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Measured {
            per_second: middle(|m| m.per_second),
            p50_micros: middle(|m| m.p50_micros),
            p99_micros: middle(|m| m.p99_micros),
            user_micros: middle(|m| m.user_micros),
            system_micros: middle(|m| m.system_micros),
        }
    }

    /// The names of [`Measured::columns`].
    pub fn header() -> String {
        format!("{:>9} {:>8} {:>8} {:>8} {:>8}", "req/s", "p50 µs", "p99 µs", "user µs", "sys µs")
    }

    pub fn columns(&self) -> String {
        let Measured { per_second, p50_micros, p99_micros, user_micros, system_micros } = self;
        format!("{per_second:>9.0} {p50_micros:>8.0} {p99_micros:>8.0} {user_micros:>8.1} {system_micros:>8.1}")
    }
}

pub fn run(server: &Server, load: &Load, connections: usize, length: Duration) -> Measured {
    let before = server.cpu();
    let begun = Instant::now();
    let threads = THREADS.min(connections);
    let threads: Vec<JoinHandle<Vec<u32>>> = (0..threads)
        .map(|thread| {
            let (addr, requests) = (server.addr, Arc::clone(&load.requests));
            let rng = StdRng::seed_from_u64(thread as u64);
            std::thread::spawn(move || converse(addr, &requests, connections / threads, rng, begun + length))
        })
        .collect();
    let mut micros: Vec<u32> = threads.into_iter().flat_map(|t| t.join().expect("a thread does not panic")).collect();
    let elapsed = begun.elapsed().as_secs_f64();
    let after = server.cpu();
    micros.sort_unstable();
    let count = micros.len().max(1);
    let at = |share: f64| f64::from(micros.get((count as f64 * share) as usize).copied().unwrap_or_default());
    Measured {
        per_second: micros.len() as f64 / elapsed,
        p50_micros: at(0.5),
        p99_micros: at(0.99),
        user_micros: (after.user_micros - before.user_micros) / count as f64,
        system_micros: (after.system_micros - before.system_micros) / count as f64,
    }
}

/// One connection and the answer it waits for.
struct Client {
    socket: TcpStream,
    sent: Instant,
    buffer: Vec<u8>,
    have: usize,
}

impl Client {
    fn ask(&mut self, request: &[u8]) {
        self.sent = Instant::now();
        self.have = 0;
        self.socket.write_all(request).expect("a request is small enough to be taken at once");
    }

    /// Reads what is there; whether the answer is whole, and a success.
    fn hear(&mut self) -> bool {
        match self.socket.read(&mut self.buffer[self.have..]) {
            Ok(0) => panic!("the server hung up"),
            Ok(got) => self.have += got,
            Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(cause) => panic!("the server broke off: {cause}"),
        }
        whole(&self.buffer[..self.have])
    }
}

/// A thread's connections, as light as can be: what the load costs is taken from the server on a machine of few cores.
/// Answers how long each request took, in microseconds.
fn converse(addr: SocketAddr, requests: &[Vec<u8>], connections: usize, mut rng: StdRng, end: Instant) -> Vec<u32> {
    let mut poll = Poll::new().expect("the system can poll");
    let mut events = Events::with_capacity(connections);
    let mut clients: Vec<Client> = (0..connections)
        .map(|at| {
            let socket = std::net::TcpStream::connect(addr).expect("the server listens");
            socket.set_nodelay(true).expect("a socket can be made undelayed");
            socket.set_nonblocking(true).expect("a socket can be made non-blocking");
            let mut socket = TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(at), Interest::READABLE).expect("a socket can be polled");
            Client { socket, sent: Instant::now(), buffer: vec![0; 64 << 10], have: 0 }
        })
        .collect();
    let mut micros = Vec::new();
    clients.iter_mut().for_each(|client| client.ask(&requests[rng.random_range(0..requests.len())]));
    while Instant::now() < end {
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("the system can poll");
        for event in &events {
            let client = &mut clients[event.token().0];
            if client.hear() {
                micros.push(client.sent.elapsed().as_micros() as u32);
                client.ask(&requests[rng.random_range(0..requests.len())]);
            }
        }
    }
    micros
}

/// Whether the answer is complete. It must be a success.
fn whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&answer[..head]).expect("a head is text");
    assert!(text.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    answer.len() >= head + 4 + content_length(text)
}

fn content_length(head: &str) -> usize {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    value.expect("every answer has a length")
}

/// Writes at a steady rate beside what is measured.
pub struct Background {
    stop: Arc<AtomicBool>,
    begun: Instant,
    thread: JoinHandle<u64>,
}

impl Background {
    pub fn writes(server: &Server, world: &World, per_second: u64) -> Background {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Load::upsert_secret(world).requests;
        let (addr, stopped) = (server.addr, Arc::clone(&stop));
        let beat = Duration::from_micros(1_000_000 / per_second);
        let thread = std::thread::spawn(move || {
            let mut socket = std::net::TcpStream::connect(addr).expect("the server listens");
            let (mut buffer, mut answered, begun) = (vec![0; 16 << 10], 0u32, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep((begun + beat * answered).saturating_duration_since(Instant::now()));
                socket.write_all(&requests[answered as usize % requests.len()]).expect("the server reads");
                let mut have = 0;
                while !whole(&buffer[..have]) {
                    have += socket.read(&mut buffer[have..]).expect("the server answers");
                }
                answered += 1;
            }
            u64::from(answered)
        });
        Background { stop, begun: Instant::now(), thread }
    }

    /// How many a second were answered.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let answered = self.thread.join().expect("the writer does not panic");
        answered as f64 / self.begun.elapsed().as_secs_f64()
    }
}

/// The disk's own rate: appends of 4 KiB, each made durable, one after the other.
pub fn raw_appends(data: &Path, length: Duration) -> f64 {
    let path = data.join("raw-appends");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file in the data directory");
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < length {
        file.write_all(&[0; 4096]).expect("the disk takes it");
        file.sync_data().expect("the disk keeps it");
        count += 1;
    }
    std::fs::remove_file(path).expect("it was there");
    f64::from(count) / begun.elapsed().as_secs_f64()
}
