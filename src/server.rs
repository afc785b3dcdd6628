//! The door: hyper behind our own accept loop, with a limit and a deadline on everything.
//!
//! One thread accepts and deals the sockets in turn to one single-threaded runtime a core; what is asked is answered on
//! that thread, and only writes and slow work leave it. Nothing else in the house names hyper but uploads, whose bodies
//! stream, and nothing else but they, the operator's client and the hashing of passwords names tokio's runtime.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::api::{App, expiry};
use crate::db;
use crate::runner;
use crate::s3::{self, Uploads};

mod accept;
mod connections;
mod head;
pub mod memory;
pub mod operator;
mod outgoing;
mod paced;
mod reply;
mod signals;
mod worker;

use accept::Accepting;
use memory::Memory;
pub use signals::{Hangup, wait_for_signal};
use worker::Worker;

/// What a stranger may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub workers: usize,
    /// Of strangers, and as many of the operator. Beyond it those that idle give way; where none does, a newcomer is told
    /// 503 and closed.
    pub connections_max: usize,
    /// Of one address, unless it is a trusted proxy's.
    pub connections_per_peer: usize,
    /// What bodies and replies may hold together, beside what each connection has for itself; as much for the operator.
    pub buffered_bytes_max: usize,
    /// How long a body or a reply may wait for its peer before it gives way to others.
    pub patience: Duration,
    /// At least the 8,192 that hyper asks for.
    pub head_bytes_max: usize,
    /// A body is read in pieces of at most this size.
    pub piece_bytes_max: usize,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From a head to the last byte of its body.
    pub body: Duration,
    /// Without a byte of a next request.
    pub idle: Duration,
    /// How long a reply may find no reader.
    pub stalled: Duration,
    /// How long what a refused client still sends is thrown away.
    pub linger: Duration,
    /// How long requests in flight may take once the server stops.
    pub drain: Duration,
    /// How long it then waits for the rest of a head.
    pub half_head: Duration,
    pub uploads: s3::Limits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            connections_max: 1024,
            connections_per_peer: 512,
            buffered_bytes_max: 128 << 20,
            patience: Duration::from_secs(1),
            head_bytes_max: 32 << 10,
            piece_bytes_max: 128 << 10, // small pieces are what an upload spends its time on
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            stalled: Duration::from_secs(60),
            linger: Duration::from_secs(1),
            drain: Duration::from_secs(10),
            half_head: Duration::from_millis(200),
            uploads: s3::Limits::default(),
        }
    }
}

/// A server that runs until it is stopped.
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more connections; requests in flight end, or are cut off when their time to drain is over.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until all that was in flight has ended.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join(); // a thread that panicked has nothing left to end
        }
    }
}

/// Serves until stopped. The operator's listener, if there is one, answers the operator's routes too.
pub fn serve(
    app: &Arc<App>,
    listener: TcpListener,
    operator: Option<UnixListener>,
    limits: Limits,
) -> std::io::Result<Server> {
    let addr = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    operator.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
    let uploads = Arc::new(Uploads::open(app, limits.uploads, head::now)?);
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    let mut workers = Vec::new();
    let ready = Arc::new(Barrier::new(limits.workers + 1));
    let memory = Memory::new(limits.buffered_bytes_max, limits.patience);
    let operator_memory = Memory::new(limits.buffered_bytes_max, limits.patience);
    for number in 0..limits.workers {
        let (give, take) = mpsc::unbounded_channel();
        let worker = Worker {
            app: Arc::clone(app),
            uploads: Arc::clone(&uploads),
            limits,
            addr,
            memory: Arc::clone(&memory),
            operator_memory: Arc::clone(&operator_memory),
            has_told_of_host: Cell::new(false),
            stopped: stopped.clone(),
            ready: Arc::clone(&ready),
        };
        let runtime = runtime()?;
        threads.push(thread(&format!("worker {number}"), move || worker.run(&runtime, take))?);
        workers.push(give);
    }
    ready.wait();
    let until = stopped.clone();
    threads.push(thread("sweeper", move || uploads.keep_swept(until))?);
    let (runs, until) = (Arc::clone(app), stopped.clone());
    threads.push(thread("runner", move || runner::run(&runs.db, head::now, || *until.borrow()))?);
    let (expiring, until) = (Arc::clone(app), stopped.clone());
    threads.push(thread("expiry", move || expiry::keep_marked(&expiring.db, head::now, || *until.borrow()))?);
    let runtime = runtime()?;
    let accepting = Accepting::new(limits, app.reverse_proxy.trusted_proxies.clone());
    threads.push(thread("door", move || runtime.block_on(accepting.run(listener, operator, workers, stopped)))?);
    Ok(Server { addr, stop, threads })
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(db::park).build()
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
