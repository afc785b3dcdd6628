//! The SQLite file. No SQL stands outside this module.
//!
//! One writer thread owns the writing connection and commits in groups: every queued write runs in a savepoint of its
//! own, one fsync answers them all. Reads run where they are asked, on one read-only connection a thread, and many of
//! them share one snapshot: the writer announces each commit by a number, and a read that finds a new number begins anew.
//! So whatever was answered as written is seen by every request that comes after. It holds only while every write goes
//! through this process's writer, which the lock on the data directory ensures.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

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
pub mod audit;
pub mod billing;
pub mod chains;
mod columns;
pub mod deployments;
pub mod directory;
pub mod downloads;
pub mod endings;
pub mod environment_groups;
pub mod environments;
pub mod fixtures;
pub mod invitations;
pub mod logs;
pub mod members;
pub mod metrics;
pub mod model_apis;
pub mod models;
pub mod opening;
pub mod organizations;
pub mod password_resets;
pub mod progress;
pub mod pushes;
pub mod quotas;
pub mod readiness;
pub mod resources;
pub mod secrets;
pub mod space;
mod storage;
pub mod teams;
pub mod training_capacity;
pub mod training_jobs;
pub mod training_projects;
pub mod uploads;
pub mod users;
mod writer;

/// Bugs in older releases touch what we rely on: WAL resets and STRICT tables.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
const STATEMENTS_MAX: usize = 256;

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
    /// In the writer alone.
    desk: Option<&'c Desk>,
    found_ended_at: &'c AtomicI64,
    pub now: Time,
}

/// When a request came, and the randomness drawn for it: nothing below reads a clock or a generator, so histories replay.
#[derive(Clone, Copy)]
pub struct Now {
    pub time: Time,
    pub seed: [u8; 32],
}

impl<'c> Tx<'c> {
    /// `desk` is the writer's.
    fn new(
        sql: &'c Connection,
        sealer: &'c Sealer,
        found_ended_at: &'c AtomicI64,
        quotas: &'c Quotas,
        desk: Option<&'c Desk>,
        now: Now,
    ) -> Tx<'c> {
        let rng = RefCell::new(StdRng::from_seed(now.seed));
        let (client, charged) = (OnceCell::new(), Charged::default());
        Tx { sql, sealer, rng, client, quotas, charged, desk, found_ended_at, now: now.time }
    }
}

impl Tx<'_> {
    pub(crate) fn id(&self) -> String {
        token::id(&mut self.rng.borrow_mut())
    }

    /// Does all of `work` or none of it; the transaction goes on either way.
    pub(crate) fn attempt<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<Result<T, E>, Error> {
        self.sql.prepare_cached("SAVEPOINT attempt")?.execute([])?;
        let mark = self.desk.map(|desk| desk.books.mark());
        let done = work();
        if self.sql.is_autocommit() {
            return Ok(done); // SQLite itself rolled all of it back: there is nothing left to end
        }
        if done.is_err() {
            self.sql.prepare_cached("ROLLBACK TO attempt")?.execute([])?;
            self.desk.zip(mark).into_iter().for_each(|(desk, mark)| desk.books.go_back(mark));
        }
        self.sql.prepare_cached("RELEASE attempt")?.execute([])?;
        Ok(done)
    }

    /// Does `work`; if it changed nothing but the audit log, that entry goes too: a write that changes nothing leaves none.
    pub(crate) fn unless_unchanged<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let Some(desk) = self.desk else { return work() };
        self.sql.prepare_cached("SAVEPOINT attempt")?.execute([])?;
        let mark = desk.books.mark();
        let done = work();
        if self.sql.is_autocommit() {
            return done; // SQLite itself rolled all of it back: there is nothing left to end
        }
        if done.is_ok() && !desk.books.has_change() && desk.books.has_grown(&mark) {
            self.sql.prepare_cached("ROLLBACK TO attempt")?.execute([])?;
            desk.books.go_back(mark);
        }
        self.sql.prepare_cached("RELEASE attempt")?.execute([])?;
        done
    }

    /// Says that this write changes something, though no row shows it.
    pub(crate) fn note_change(&self) {
        self.desk.into_iter().for_each(|desk| desk.books.note_change());
    }

    /// Says which program asks for what is done here: the audit log keeps it.
    pub(crate) fn sent_by(&self, client: Client) {
        self.client.get_or_init(|| client);
    }

    /// Says that something was found expired whose row does not say so yet.
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

/// The database of one data directory: readers on every thread, one writer.
pub struct Db {
    readable: Readable,
    archives: archives::Archives,
    writer: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    migrated: Option<Migrated>,
    notes: Vec<String>,
    /// Whether what was made when it was opened stays.
    keeps: Arc<AtomicBool>,
}

/// What a reading thread needs to know.
#[derive(Clone)]
struct Readable {
    /// Tells apart the databases of one process: tests open several.
    id: u64,
    path: PathBuf,
    sealer: Arc<Sealer>,
    /// Counts commits. It rises before their answers are sent.
    commits: Arc<AtomicU64>,
    quotas: Arc<Quotas>,
    shortage: Shortage,
    /// By which time, in milliseconds, a transaction found something expired that is not marked yet; 0 if none did.
    found_ended_at: Arc<AtomicI64>,
}

impl Db {
    /// Opens the database of a data directory, which `directory` has prepared and locked.
    pub fn open(directory: directory::Directory, now: Now) -> Result<Db, Error> {
        Db::open_with(directory, now, Settings::default())
    }

    /// The same, with the operator's quotas.
    pub fn open_with(mut directory: directory::Directory, now: Now, settings: Settings) -> Result<Db, Error> {
        let opening::Opened { sql, sealer, migrated, notes } = opening::open(&mut directory, now)?;
        let sealer = Arc::new(sealer);
        let readable = Readable {
            id: next_id(),
            path: directory.database(),
            sealer: Arc::clone(&sealer),
            commits: Arc::new(AtomicU64::new(1)),
            quotas: Arc::new(Quotas::new(settings)),
            shortage: Shortage::default(),
            found_ended_at: Arc::default(),
        };
        let books = Books::open(&sql)?;
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

    pub fn quotas(&self) -> &Quotas {
        &self.readable.quotas
    }

    /// Whether the disk, or the number of the database's pages, leaves room only for what frees space.
    pub fn is_short_of_space(&self) -> bool {
        self.readable.shortage.is_there()
    }

    pub fn shortage(&self) -> Shortage {
        self.readable.shortage.clone()
    }

    /// What opening it has done to the schema.
    pub fn migrated(&self) -> Option<&Migrated> {
        self.migrated.as_ref()
    }

    /// What opening it has changed otherwise that the operator should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Closes it, and takes away again what was made for a new installation.
    pub fn abandon(self) {
        self.keeps.store(false, Ordering::Release);
    }

    /// The files of archives in the data directory.
    pub fn archives(&self) -> &archives::Archives {
        &self.archives
    }

    /// Counts commits: as long as it stays the same, there is nothing new to see.
    pub fn commits(&self) -> u64 {
        self.readable.commits.load(Ordering::Acquire)
    }

    /// Marks what transactions have found expired, if they have: whoever answers a request waits for it. What counts is
    /// the time by which it was found, whatever the clock says now.
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

    /// Runs `work` in a read transaction, here and now.
    pub fn read<T>(&self, now: Now, work: impl FnOnce(&Tx) -> Result<T, Error>) -> Result<T, Error> {
        with_reader(&self.readable, |reader| {
            reader.begin(&self.readable.commits)?;
            let Readable { sealer, found_ended_at, quotas, .. } = &self.readable;
            let outcome = work(&Tx::new(&reader.sql, sealer, found_ended_at, quotas, None, now));
            if matches!(outcome, Err(Error::Internal(_) | Error::Defect(_))) {
                reader.end();
            }
            outcome
        })
    }

    /// Hands `work` to the writer, which runs it in a savepoint and answers once the group is on the disk.
    pub async fn write<T: Send + 'static>(
        &self,
        now: Now,
        work: impl FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue(now, work, move |outcome| {
            let _ = answer.send(outcome); // whoever asked may have hung up
        })?;
        answered.await.unwrap_or_else(|_| Err(Error::Internal("the writer dropped a job".to_owned())))
    }

    /// The same for callers that may block: commands and start-up.
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

    /// Queues a write that nobody waits for, such as when a key was last used.
    pub fn write_later(&self, now: Now, work: impl FnOnce(&Tx) -> Result<(), Error> + Send + 'static) {
        let _ = self.queue(now, work, |_: Result<(), Error>| ()); // it is lost with the process, and may be
    }

    /// Queues a write, and hands `answer` what came of it once its group is on the disk.
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

/// Ends the writer after all that was queued, checkpoints the log and lets the lock go.
impl Drop for Db {
    fn drop(&mut self) {
        drop(self.writer.take());
        park();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the database that is read has the schema of this binary.
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
    // Without it the planner prepares a statement anew for every bound value once ANALYZE has run.
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
    /// The number of commits that this snapshot has certainly seen; `None` between snapshots.
    snapshot: Cell<Option<u64>>,
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
                readers.push((readable.id, Reader { sql, snapshot: Cell::new(None) }));
                readers.len() - 1
            }
        };
        let outcome = work(&readers[at].1);
        if !PARKS.get() {
            readers.remove(at); // a thread that never parks would hold its snapshot, and the log's reset, for ever
        }
        outcome
    })
}

/// Says that this thread calls [`park`] whenever it runs dry, so that its snapshots may stay open between reads.
pub fn thread_parks() {
    PARKS.set(true);
}

/// Ends this thread's snapshots: an idle thread must not hold back the log's reset.
pub fn park() {
    READERS.with_borrow(|readers| readers.iter().for_each(|(_, reader)| reader.end()));
}

impl Reader {
    fn begin(&self, commits: &AtomicU64) -> Result<(), Error> {
        let now = commits.load(Ordering::Acquire); // before the first SELECT: the snapshot can only be newer
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
            let _ = self.sql.execute_batch("ROLLBACK"); // after an error there may be nothing left to end
        }
    }
}
