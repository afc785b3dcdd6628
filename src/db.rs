//! The SQLite database. All SQL of the crate is in this module.
//!
//! One writer thread owns the only connection that writes, and it commits writes in groups: each queued write runs in
//! its own savepoint, and one fsync makes the whole group durable. Reads run on the thread that asks for them. Each
//! thread has one read-only connection, and many of its reads share one snapshot: the writer announces each commit by a
//! number, and a read that finds a new number starts a new snapshot. Therefore every request that starts after a write
//! was answered sees that write. This holds only while every write goes through the writer of this process, which the
//! lock on the data directory ensures.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{JoinHandle, Thread};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use crate::db::commits::Commits;
use crate::db::memo::Memo;
use crate::db::quotas::accounting::Books;
use crate::db::quotas::{Charged, Desk, Quotas};
use crate::db::space::{Shortage, Space};
use crate::db::writer::{Job, Writer, job};
use crate::domain::quotas::Settings;
use crate::domain::{Client, Time};
use crate::error::Error;
use crate::seal::Sealer;
use crate::token;

pub mod api_keys;
pub mod archive_readings;
pub mod archives;
pub mod async_requests;
pub mod audit;
pub mod billing;
mod callers;
pub mod calls;
pub mod chains;
mod changes;
mod columns;
mod commits;
pub mod deployments;
pub mod directory;
pub mod downloads;
pub mod endings;
pub mod environment_groups;
pub mod environments;
pub mod first_run;
pub mod fixtures;
pub mod invitations;
mod key_events;
pub mod logs;
pub mod mail;
pub mod members;
mod memo;
pub mod metering;
pub mod metrics;
pub mod model_apis;
pub mod models;
pub mod opening;
pub mod organization_roles;
pub mod organizations;
pub mod password_resets;
pub mod passwords;
pub mod people;
pub mod personal_keys;
mod positions;
pub mod progress;
pub mod pushes;
pub mod quotas;
pub mod readiness;
pub mod resources;
mod savepoints;
pub mod second_factor;
pub mod secrets;
pub mod serving;
pub mod sessions;
pub mod space;
mod storage;
pub mod teams;
pub mod training_capacity;
pub mod training_jobs;
pub mod training_projects;
pub mod uploads;
pub mod users;
mod ways_in;
mod writer;

/// The oldest SQLite release that is accepted. Older releases have bugs in features that this module needs: WAL resets
/// and STRICT tables.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
const STATEMENTS_MAX: usize = 256;

pub use changes::Followed;
pub use opening::Migrated;

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// One request's view of the database: one transaction, at one time, with its own random generator.
pub struct Tx<'c> {
    sql: &'c Connection,
    sealer: &'c Sealer,
    rng: RefCell<StdRng>,
    client: OnceCell<Client>,
    pub(crate) quotas: &'c Quotas,
    charged: Charged,
    /// State of the writer; `None` on the connections that only read.
    desk: Option<&'c Desk>,
    /// What the reading thread remembers between requests; `None` in the writer.
    memo: Option<&'c Memo>,
    /// How many savepoints of [`Tx::attempt`] are open inside the savepoint of the writer.
    savepoints: Cell<u32>,
    found_ended_at: &'c AtomicI64,
    pub now: Time,
}

/// The time of a request and the seed of its randomness. The code below reads no clock and no other source of
/// randomness, so that a history can be replayed.
#[derive(Clone, Copy)]
pub struct Now {
    pub time: Time,
    pub seed: [u8; 32],
}

impl<'c> Tx<'c> {
    /// Makes the view of one request. Only the writer passes a `desk`.
    fn new(
        sql: &'c Connection,
        sealer: &'c Sealer,
        found_ended_at: &'c AtomicI64,
        quotas: &'c Quotas,
        desk: Option<&'c Desk>,
        now: Now,
    ) -> Tx<'c> {
        let rng = RefCell::new(StdRng::from_seed(now.seed));
        let (client, charged, savepoints) = (OnceCell::new(), Charged::default(), Cell::new(0));
        Tx { sql, sealer, rng, client, quotas, charged, desk, memo: None, savepoints, found_ended_at, now: now.time }
    }
}

impl Tx<'_> {
    pub(crate) fn id(&self) -> String {
        token::id(&mut self.rng.borrow_mut())
    }

    /// Marks this write as a change although it changes no row that counts as one.
    pub(crate) fn note_change(&self) {
        self.desk.into_iter().for_each(|desk| desk.books.note_change());
    }

    /// Sets the client program of this request, which the audit log records.
    pub(crate) fn sent_by(&self, client: Client) {
        self.client.get_or_init(|| client);
    }

    /// Records that this transaction found something expired that is not marked as expired in its row yet.
    fn found_ended(&self) {
        self.found_ended_at.fetch_max(self.now.0, Ordering::Relaxed);
    }

    fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    pub(crate) fn rng(&self) -> std::cell::RefMut<'_, StdRng> {
        self.rng.borrow_mut()
    }
}

/// The database of one data directory: a read-only connection for each thread, and one writer.
pub struct Db {
    readable: Readable,
    archives: archives::Archives,
    writer: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    migrated: Option<Migrated>,
    notes: Vec<String>,
    /// Whether the files that opening the database created are kept.
    keeps: Arc<AtomicBool>,
}

/// What a thread needs to read the database.
#[derive(Clone)]
struct Readable {
    /// Identifies this database in the process: tests open several at once.
    id: u64,
    path: PathBuf,
    sealer: Arc<Sealer>,
    commits: Arc<Commits>,
    quotas: Arc<Quotas>,
    shortage: Shortage,
    /// The latest time, in milliseconds, at which a transaction found an expired row that is not marked; 0 if none.
    found_ended_at: Arc<AtomicI64>,
}

impl Db {
    /// Opens the database of a data directory, which `directory` has prepared and locked, with the default quotas.
    pub fn open(directory: directory::Directory, now: Now) -> Result<Db, Error> {
        Db::open_with(directory, now, Settings::default())
    }

    /// Opens the database of a data directory, which `directory` has prepared and locked, with the operator's quotas.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] where the database cannot be opened or migrated; its message says why and names the file.
    pub fn open_with(mut directory: directory::Directory, now: Now, settings: Settings) -> Result<Db, Error> {
        let opening::Opened { sql, sealer, migrated, notes } = opening::open(&mut directory, now)?;
        let sealer = Arc::new(sealer);
        let readable = Readable {
            id: next_id(),
            path: directory.database(),
            sealer: Arc::clone(&sealer),
            commits: Arc::default(),
            quotas: Arc::new(Quotas::new(settings)),
            shortage: Shortage::default(),
            found_ended_at: Arc::default(),
        };
        let books = Books::open(&sql)?;
        readable.commits.changes.follow(&sql)?;
        let folder = readable.path.parent().expect("the database stands in a directory");
        let space = Space::open(folder, &sql, &settings, readable.shortage.clone())?;
        let desk = Desk::new(books, space);
        quotas::measure_disk(&sql, &readable.quotas, &desk, now.time)?;
        let (writer, jobs) = mpsc::channel();
        let path = directory.database();
        let commits = Arc::clone(&readable.commits);
        let quotas = Arc::clone(&readable.quotas);
        let found_ended_at = Arc::clone(&readable.found_ended_at);
        let keeps = directory.keep();
        let writer_of =
            move || Writer { sql, sealer, commits, path, quotas, found_ended_at, desk, _directory: directory };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer_of().run(&jobs))
            .map_err(|cause| Error::Internal(format!("cannot start the writer: {cause}")))?;
        let archives = archives::Archives::new(readable.path.parent().expect("the database is in a directory"));
        Ok(Db { readable, archives, writer: Some(writer), thread: Some(thread), migrated, notes, keeps })
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.readable.path.parent().expect("the database stands in a directory")
    }

    /// The quotas, which all connections share.
    pub fn quotas(&self) -> &Quotas {
        &self.readable.quotas
    }

    /// Whether the disk or the permitted number of database pages is nearly used up: only writes that free space work.
    pub fn is_short_of_space(&self) -> bool {
        self.readable.shortage.is_there()
    }

    pub fn shortage(&self) -> Shortage {
        self.readable.shortage.clone()
    }

    /// The schema migration that ran when the database was opened, if one ran.
    pub fn migrated(&self) -> Option<&Migrated> {
        self.migrated.as_ref()
    }

    /// Other changes that opening the database made and the operator should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Closes the database and deletes the files that were created for a new installation.
    pub fn abandon(self) {
        self.keeps.store(false, Ordering::Release);
    }

    /// The files of archives in the data directory.
    pub fn archives(&self) -> &archives::Archives {
        &self.archives
    }

    /// The number of commits so far. While it stays the same, there is nothing new to read.
    pub fn commits(&self) -> u64 {
        self.readable.commits.count()
    }

    /// How often the subject may have changed so far. While it stays the same, there is nothing new to read about it.
    pub fn changes(&self, followed: Followed) -> u64 {
        self.readable.commits.changes.count(followed)
    }

    /// Registers a thread that each commit wakes if it is parked.
    pub fn wake_on_commit(&self, thread: Thread) {
        self.readable.commits.wake(thread);
    }

    /// Marks as expired what transactions have found expired, if they have found anything. A request is answered only
    /// after that. What counts as expired is judged by the time at which it was found, not by the present time.
    pub async fn mark_ended(&self, seed: [u8; 32]) -> Result<(), Error> {
        let found = &self.readable.found_ended_at;
        if found.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        match found.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            at => self.write(Now { time: Time(at), seed }, endings::mark).await,
        }
    }

    /// Runs `work` in a read transaction on the calling thread.
    pub fn read<T>(&self, now: Now, work: impl FnOnce(&Tx) -> Result<T, Error>) -> Result<T, Error> {
        with_reader(&self.readable, |reader| {
            reader.begin(&self.readable.commits)?;
            let Readable { sealer, found_ended_at, quotas, .. } = &self.readable;
            let memo = Some(&reader.memo);
            let outcome = work(&Tx { memo, ..Tx::new(&reader.sql, sealer, found_ended_at, quotas, None, now) });
            if matches!(outcome, Err(Error::Internal(_) | Error::Defect(_))) {
                reader.end();
            }
            outcome
        })
    }

    /// Runs `work` on the writer, in a savepoint of its own, and returns once its group of writes is durable.
    pub async fn write<T: Send + 'static>(
        &self,
        now: Now,
        work: impl FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue(now, work, move |outcome| {
            let _ = answer.send(outcome); // the caller may have stopped waiting
        })?;
        answered.await.unwrap_or_else(|_| Err(Error::Internal("the writer dropped a job".to_owned())))
    }

    /// Runs `work` on the writer, and blocks until its group of writes is durable: for commands and start-up.
    pub fn write_blocking<T: Send + 'static>(
        &self,
        now: Now,
        work: impl FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = mpsc::channel();
        self.queue(now, work, move |outcome| {
            let _ = answer.send(outcome);
        })?;
        answered.recv().unwrap_or_else(|_| Err(Error::Internal("the writer dropped a job".to_owned())))
    }

    /// Queues a write whose outcome nobody needs, such as the time at which a key was last used.
    pub fn write_later(&self, now: Now, work: impl FnOnce(&Tx) -> Result<(), Error> + Send + 'static) {
        let _ = self.queue(now, work, |_: Result<(), Error>| ()); // it may be lost if the process ends
    }

    /// Queues a write. `answer` receives its outcome once its group of writes is durable.
    pub fn queue<T: Send + 'static>(
        &self,
        now: Now,
        work: impl FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
        answer: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let writer = self.writer.as_ref().expect("the writer is taken only when the database is dropped");
        writer.send(job(now, work, answer)).map_err(|_| Error::Internal("the writer is gone".to_owned()))
    }
}

/// Stops the writer after all queued writes, checkpoints the WAL and releases the lock on the data directory.
impl Drop for Db {
    fn drop(&mut self) {
        drop(self.writer.take());
        park();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Checks that the schema of the database is the one of this binary.
fn check_schema(tx: &Tx) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached("SELECT max(version) FROM refinery_schema_history")?;
    let applied: Option<i32> = query.query_row([], |row| row.get(0))?;
    if applied == Some(opening::newest_schema()) {
        return Ok(());
    }
    Err(Error::Unavailable("the database's schema is not this binary's: start the binary that migrated it"))
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(Error::Internal(format!("SQLite {} is too old", rusqlite::version())));
    }
    let sql = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Without this setting SQLite prepares a statement again for every bound value once ANALYZE has run.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    sql.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    sql.execute_batch(
        "PRAGMA foreign_keys = ON;
         PRAGMA recursive_triggers = ON;
         PRAGMA mmap_size = 2147418112;
         PRAGMA temp_store = MEMORY;
         PRAGMA busy_timeout = 5000;",
    )?;
    Ok(sql)
}

// ---- the readers ----

struct Reader {
    sql: Connection,
    /// How many commits this snapshot is certain to include; `None` while no snapshot is open.
    snapshot: Cell<Option<u64>>,
    memo: Memo,
}

thread_local! {
    static READERS: RefCell<Vec<(u64, Reader)>> = const { RefCell::new(Vec::new()) };
    static PARKS: Cell<bool> = const { Cell::new(false) };
}

fn with_reader<T>(readable: &Readable, work: impl FnOnce(&Reader) -> Result<T, Error>) -> Result<T, Error> {
    READERS.with_borrow_mut(|readers| {
        let at = match readers.iter().position(|(id, _)| *id == readable.id) {
            Some(at) => at,
            None => {
                let sql = connect(&readable.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                readers.push((readable.id, Reader { sql, snapshot: Cell::new(None), memo: Memo::default() }));
                readers.len() - 1
            }
        };
        let outcome = work(&readers[at].1);
        if !PARKS.get() {
            readers.remove(at); // without `park` the open snapshot would block the WAL reset for ever
        }
        outcome
    })
}

/// Declares that this thread calls [`park`] whenever it has no work, so that its snapshots may stay open between reads.
pub fn thread_parks() {
    PARKS.set(true);
}

/// Ends the snapshots of this thread. An idle thread must call it: an open snapshot prevents the WAL from being reset.
pub fn park() {
    READERS.with_borrow(|readers| readers.iter().for_each(|(_, reader)| reader.end()));
}

impl Reader {
    fn begin(&self, commits: &Commits) -> Result<(), Error> {
        let now = commits.count(); // read before the first SELECT, so the snapshot can only be newer
        self.memo.keep_at(now);
        if self.snapshot.get() != Some(now) {
            self.end();
            self.sql.prepare_cached("BEGIN")?.execute([])?;
            self.snapshot.set(Some(now));
        }
        Ok(())
    }

    fn end(&self) {
        if self.snapshot.take().is_some()
            && self.sql.prepare_cached("COMMIT").and_then(|mut end| end.execute([])).is_err()
        {
            let _ = self.sql.execute_batch("ROLLBACK"); // after an error there may be no transaction left to end
        }
    }
}
