//! Load: connections that each send a request, wait for its answer, and send the next.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::seed::World;
use crate::server::Server;

const THREADS: usize = 2;
/// Different keys are asked for, so that no page stays hot by itself.
const REQUESTS_MAX: usize = 20_000;

/// The requests to choose from, ready to be sent.
pub struct Load {
    requests: Arc<Vec<Vec<u8>>>,
}

impl Load {
    pub fn hello() -> Load {
        Load::of(vec![b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()])
    }

    pub fn list_secrets(world: &World) -> Load {
        Load::of(some_keys(world).map(|(key, team)| request("GET", key, team, "")).collect())
    }

    pub fn upsert_secret(world: &World) -> Load {
        let body = r#"{"name":"secret_1","value":"a value of some length, as keys of other services have"}"#;
        Load::of(some_keys(world).map(|(key, team)| request("POST", key, team, body)).collect())
    }

    fn of(requests: Vec<Vec<u8>>) -> Load {
        Load { requests: Arc::new(requests) }
    }
}

fn some_keys(world: &World) -> impl Iterator<Item = &(String, String)> {
    let mut dice = StdRng::seed_from_u64(11);
    let count = world.keys.len();
    (0..count.min(REQUESTS_MAX)).map(move |_| &world.keys[dice.random_range(0..count)])
}

fn request(method: &str, key: &str, team: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} /v1/teams/{team}/secrets HTTP/1.1\r\nhost: localhost\r\nauthorization: Api-Key {key}\r\n\
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
    pub cpu_micros: f64,
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
            cpu_micros: middle(|m| m.cpu_micros),
        }
    }

    pub fn columns(&self) -> String {
        let Measured { per_second, p50_micros, p99_micros, cpu_micros } = self;
        format!("{per_second:>9.0} {p50_micros:>8.0} {p99_micros:>8.0} {cpu_micros:>9.1}")
    }
}

pub fn run(server: &Server, load: &Load, connections: usize, length: Duration) -> Measured {
    let before = server.cpu_micros();
    let begun = Instant::now();
    let threads: Vec<JoinHandle<Vec<u32>>> = (0..THREADS.min(connections))
        .map(|thread| {
            let (addr, requests) = (server.addr, Arc::clone(&load.requests));
            let mine = connections / THREADS.min(connections);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async move {
                    let clients = (0..mine).map(|client| {
                        let dice = StdRng::seed_from_u64((thread * 1000 + client) as u64);
                        tokio::task::spawn_local(converse(addr, Arc::clone(&requests), dice, begun + length))
                    });
                    let clients: Vec<_> = clients.collect();
                    let mut micros = Vec::new();
                    for client in clients {
                        micros.extend(client.await.expect("a client does not panic"));
                    }
                    micros
                })
            })
        })
        .collect();
    let mut micros: Vec<u32> = threads.into_iter().flat_map(|t| t.join().expect("a thread does not panic")).collect();
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu = server.cpu_micros() - before;
    micros.sort_unstable();
    let count = micros.len().max(1);
    let at = |share: f64| f64::from(micros.get((count as f64 * share) as usize).copied().unwrap_or_default());
    Measured {
        per_second: micros.len() as f64 / elapsed,
        p50_micros: at(0.5),
        p99_micros: at(0.99),
        cpu_micros: cpu / count as f64,
    }
}

/// One connection's life; how long each answer took, in microseconds.
async fn converse(addr: std::net::SocketAddr, requests: Arc<Vec<Vec<u8>>>, mut dice: StdRng, end: Instant) -> Vec<u32> {
    let mut socket = TcpStream::connect(addr).await.expect("the server listens");
    socket.set_nodelay(true).expect("a socket can be made undelayed");
    let mut micros = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while Instant::now() < end {
        let sent = Instant::now();
        let request = &requests[dice.random_range(0..requests.len())];
        socket.write_all(request).await.expect("the server reads");
        read_answer(&mut socket, &mut buffer).await;
        micros.push(sent.elapsed().as_micros() as u32);
    }
    micros
}

/// Reads one answer and sees that it is a success.
async fn read_answer(socket: &mut TcpStream, buffer: &mut [u8]) {
    let mut have = 0;
    loop {
        let got = socket.read(&mut buffer[have..]).await.expect("the server answers");
        assert!(got > 0, "the server hung up");
        have += got;
        if let Some(head) = buffer[..have].windows(4).position(|end| end == b"\r\n\r\n") {
            let text = std::str::from_utf8(&buffer[..head]).expect("a head is text");
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            if have >= head + 4 + content_length(text) {
                return;
            }
        }
    }
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
    answered: Arc<AtomicU64>,
    begun: Instant,
    thread: JoinHandle<()>,
}

impl Background {
    pub fn writes(server: &Server, world: &World, per_second: u64) -> Background {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let requests = Load::upsert_secret(world).requests;
        let addr = server.addr;
        let thread = std::thread::spawn({
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async move {
                    let mut socket = TcpStream::connect(addr).await.expect("the server listens");
                    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
                    let mut buffer = vec![0; 64 << 10];
                    while !stop.load(Ordering::Relaxed) {
                        beat.tick().await;
                        let at = answered.fetch_add(1, Ordering::Relaxed) as usize;
                        socket.write_all(&requests[at % requests.len()]).await.expect("the server reads");
                        read_answer(&mut socket, &mut buffer).await;
                    }
                });
            }
        });
        Background { stop, answered, begun: Instant::now(), thread }
    }

    /// How many a second were answered.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer does not panic");
        self.answered.load(Ordering::Relaxed) as f64 / self.begun.elapsed().as_secs_f64()
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
