//! The listener: hyper behind our own accept loop, with a limit and a deadline on everything.
//!
//! One thread accepts connections and gives them in turn to one single-threaded runtime per core. Requests are
//! answered on that thread; only writes and slow work leave it. Besides this module, only `s3`, whose bodies stream,
//! and the operator's client use hyper, and only they and password hashing use tokio's runtime.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::api::App;
use crate::budget::memory::Memory;
use crate::db::progress::Part;
use crate::db::{self, serving};
use crate::domain::metering::Batch;
use crate::inference::{self, Calls, Shares};
use crate::jobs::{expiry, mail, metering, retention};
use crate::runner::{self, lifecycle, training};
use crate::s3::{self, Uploads};

mod accept;
mod ancestry;
mod head;
pub mod operator;
mod outgoing;
mod paced;
mod reply;
mod signals;
mod visit;
mod worker;

use accept::Accepting;
pub use signals::{Hangup, wait_for_signal};
use worker::Worker;

/// The limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub workers: usize,
    /// Connections of the network, and as many for the operator. Beyond it, idle connections close; if there is none,
    /// a new connection gets 503.
    pub connections_max: usize,
    /// Connections of one address that is not a trusted proxy.
    pub connections_per_peer: usize,
    /// Bytes of bodies and replies in memory, besides each connection's buffers; as many for the operator.
    pub buffered_bytes_max: usize,
    /// How long a body or a reply may wait for its peer before it may be dropped for others.
    pub patience: Duration,
    /// Bytes of a request head. hyper requires at least 8,192.
    pub head_bytes_max: usize,
    /// The largest piece in which a body is read.
    pub piece_bytes_max: usize,
    /// Time from the first byte of a head to its last.
    pub head: Duration,
    /// Time from a head to the last byte of its body.
    pub body: Duration,
    /// Time without a byte of the next request.
    pub idle: Duration,
    /// How long a reply may wait for its reader.
    pub stalled: Duration,
    /// How long bytes of a refused request are discarded before the connection closes.
    pub linger: Duration,
    /// How long requests in progress may take after the server stops.
    pub drain: Duration,
    /// How long a stopping server waits for the rest of a head.
    pub half_head: Duration,
    pub uploads: s3::Limits,
    pub calls: inference::Limits,
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
            piece_bytes_max: 128 << 10, // with small pieces an upload spends its time on overhead
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            stalled: Duration::from_secs(60),
            linger: Duration::from_secs(1),
            drain: Duration::from_secs(10),
            half_head: Duration::from_millis(200),
            uploads: s3::Limits::default(),
            calls: inference::Limits::default(),
        }
    }
}

/// A running server.
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts no more connections. Requests in progress finish, or are cut off after the drain time.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        self.threads.iter().for_each(|thread| thread.thread().unpark()); // the runner sleeps until it is woken
    }

    /// Waits until all requests in progress have ended.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join(); // a thread that panicked has nothing left to finish
        }
    }
}

/// Starts a server. The operator's listener, if there is one, also serves the operator's routes.
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
    let shares = Shares::of(limits.connections_max);
    for number in 0..limits.workers {
        let (give, take) = mpsc::unbounded_channel();
        let worker = Worker {
            app: Arc::clone(app),
            uploads: Arc::clone(&uploads),
            calls: Calls::new(Arc::clone(app), limits.calls, Arc::clone(&shares), head::now),
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
    let (kept, until) = (Arc::clone(app), stopped.clone());
    let forget_unfinished = move |now| uploads.forget_unfinished(now);
    threads.push(thread("sweeper", move || {
        retention::keep_swept(&kept.db, head::now, forget_unfinished, || *until.borrow());
    })?);
    let (runs, until) = (Arc::clone(app), stopped.clone());
    let part = if app.machine.is_some() { Part::OfArchives } else { Part::All };
    threads.push(thread("runner", move || runner::run(&runs.db, part, head::now, || *until.borrow()))?);
    if let Some(machine) = app.machine.clone() {
        let (lives, until) = (Arc::clone(app), stopped.clone());
        threads.push(thread("lifecycle", move || {
            let App { db, fleet, chain_keys, .. } = &*lives;
            let parts = lifecycle::Parts { db, machine: &machine, fleet, chain_keys, address: addr, now: head::now };
            lifecycle::run(parts, || *until.borrow());
        })?);
        app.db.attach_trainer();
        let (trains, until) = (Arc::clone(app), stopped.clone());
        threads.push(thread("trainer", move || {
            let Some(machine) = &trains.machine else { return };
            training::run(&trains.db, machine, training::Settings::default(), &head::now, || *until.borrow());
        })?);
    } else {
        app.db.write_blocking(head::now(), serving::rest).map_err(|cause| std::io::Error::other(cause.to_string()))?;
    }
    let (expiring, until) = (Arc::clone(app), stopped.clone());
    threads.push(thread("expiry", move || expiry::keep_marked(&expiring.db, head::now, || *until.borrow()))?);
    let (sends, until) = (Arc::clone(app), stopped.clone());
    threads.push(thread("mail", move || {
        if let Some(mailer) = sends.mailer.get() {
            mail::keep_sending(&sends.db, mailer, head::now, || *until.borrow());
        }
    })?);
    let (metered, until) = (Arc::clone(app), stopped.clone());
    threads.push(thread("metering", move || {
        let App { db, meter, fleet, .. } = &*metered;
        let take = |batch: &mut Batch| {
            let waiting = meter.take();
            waiting.calls.iter().for_each(|call| batch.add(call));
            waiting.model_apis.iter().for_each(|used| batch.add_model_api(used));
        };
        metering::keep_metered(db, head::now, take, || fleet.replica_counts(), || *until.borrow());
    })?);
    let (queue, until, of_queue) = (Arc::clone(app), stopped.clone(), runtime()?);
    threads.push(thread("queue", move || {
        let calls = Calls::new(Arc::clone(&queue), limits.calls, shares, head::now);
        of_queue.block_on(inference::queue::run(queue, calls, head::now, until));
    })?);
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
