//! Quotas: how much of the shared resources a team, an organization and a caller may use.
//!
//! A write is charged to its caller (`Tx::charge_to`). At its end the writer checks it against the numbers that
//! `accounting` keeps, and undoes it completely if it would exceed a quota. A write that revokes, removes or deletes
//! declares it (`Tx::frees_space`) and is never refused here. Uploads in progress are kept only in memory and counted
//! by [`in_progress`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::{Connection, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::space::Space;
use crate::db::{Tx, teams};
use crate::domain::Time;
use crate::domain::quotas::{Quota, Settings, Unit};
use crate::domain::uploads::Owner;
use crate::error::{Error, QuotaExceeded};
use crate::policy::{Caller, InTeam};

pub(in crate::db) mod accounting;
mod growth;
pub mod in_progress;
mod usage;

pub use accounting::UNCHARGED;
use accounting::{Books, Delta, Tally};
use growth::{Grower, Growth};
pub use in_progress::InProgress;
use usage::Usage;
pub(in crate::db) use usage::Used;

/// How many seconds pass at least between two audit entries about refusals of one team, and between two measurements of
/// the disk.
const NOTED_EVERY_SECONDS: i64 = 60;

/// The quotas of a team, and the quotas of its organization that it shares.
pub fn list(tx: &Tx, team: &InTeam) -> Result<Vec<Quota>, Error> {
    let Quotas { settings, in_progress, .. } = tx.quotas;
    let (team_id, org_id) = (&team.team().id, &team.team().org_id);
    let used = Used::by_team(tx, team_id.as_str())?.unwrap_or_default();
    let uploads = in_progress.of(&Owner::Team(team_id.clone()), org_id);
    let quota = |name, used, allowed, unit| Quota { name, used, allowed, unit };
    let organization = Used::by_organization(tx, org_id.as_str())?.unwrap_or_default();
    Ok(vec![
        quota("database_bytes", used.database_bytes, settings.database_bytes, Unit::Bytes),
        quota("database_rows", used.database_rows, settings.database_rows, Unit::Rows),
        quota("archive_bytes", used.archive_bytes, settings.archive_bytes, Unit::Bytes),
        quota("uploads_in_progress", uploads.uploads, settings.uploads_in_progress, Unit::Uploads),
        quota("upload_files_in_progress", uploads.files, settings.upload_files_in_progress, Unit::Files),
        quota("upload_bytes_in_progress", uploads.bytes, settings.upload_bytes_in_progress, Unit::Bytes),
        quota(
            "deployments_in_progress",
            deployments_in_progress(tx, team_id.as_str())?,
            settings.deployments_in_progress,
            Unit::Deployments,
        ),
        quota(
            "training_jobs_in_progress",
            training_jobs_in_progress(tx, team_id.as_str())?,
            settings.training_jobs_in_progress,
            Unit::TrainingJobs,
        ),
        quota(
            "async_requests",
            unfinished_async_requests(tx, team_id.as_str())?,
            settings.async_requests,
            Unit::Requests,
        ),
        quota(
            "organization_archive_bytes",
            organization.archive_bytes + in_progress.of_organization(org_id).bytes,
            settings.organization_archive_bytes,
            Unit::Bytes,
        ),
        quota(
            "organization_disk_bytes",
            organization.database_bytes + organization.archive_bytes + in_progress.of_organization(org_id).bytes,
            tx.quotas.organization_disk_bytes(),
            Unit::Bytes,
        ),
    ])
}

/// The state of quotas, and of what runs, that all connections share.
pub struct Quotas {
    pub settings: Settings,
    pub in_progress: InProgress,
    /// The size of the disk space that is available to this installation, used or free.
    disk_bytes: AtomicU64,
    /// Whether deployed training jobs are run.
    pub(in crate::db) has_trainer: AtomicBool,
}

impl Quotas {
    pub(in crate::db) fn new(settings: Settings) -> Quotas {
        let (disk_bytes, has_trainer) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
        Quotas { settings, in_progress: InProgress::default(), disk_bytes, has_trainer }
    }

    /// The share of the disk that one organization may use, in bytes.
    pub fn organization_disk_bytes(&self) -> u64 {
        let disk = u128::from(self.disk_bytes.load(Ordering::Relaxed));
        let share = disk * u128::from(self.settings.organization_disk_percent) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// The caller that causes a write.
#[derive(Clone)]
struct Cause {
    caller: Caller,
    grower: Grower,
}

impl Tx<'_> {
    /// Sets the caller of this write, to whom the growth of the database is charged.
    pub(crate) fn charge_to(&self, caller: &Caller) {
        let cause = Cause { caller: caller.clone(), grower: Grower::of(caller) };
        self.charged.cause.replace(Some(cause));
    }

    /// Declares that this write revokes, removes or deletes, so that neither a quota nor a full disk refuses it. Call
    /// it before anything is written.
    pub(crate) fn frees_space(&self) -> Result<(), Error> {
        self.charged.frees_space.set(true);
        self.desk.map_or(Ok(()), |desk| desk.space.open_reserve(self.sql))
    }
}

/// What a write declares about itself.
#[derive(Default)]
pub(in crate::db) struct Charged {
    cause: RefCell<Option<Cause>>,
    frees_space: Cell<bool>,
}

/// The state that the writer keeps from one write to the next.
pub(in crate::db) struct Desk {
    pub books: Books,
    pub space: Space,
    usage: RefCell<Usage>,
    growth: RefCell<Growth>,
    /// When a refusal was last recorded, by team id, or by organization id where no team is charged.
    noted: RefCell<HashMap<String, Time>>,
    refusal: RefCell<Option<Refusal>>,
    disk_measured: Cell<Option<Time>>,
    /// How many rows the connection had changed when the current write began.
    changes_before: Cell<u64>,
}

impl Desk {
    pub fn new(books: Books, space: Space) -> Desk {
        Desk {
            books,
            space,
            usage: RefCell::new(Usage::new()),
            growth: RefCell::default(),
            noted: RefCell::default(),
            refusal: RefCell::default(),
            disk_measured: Cell::default(),
            changes_before: Cell::default(),
        }
    }

    /// Writes the usage of a group of writes to the database before the group is committed.
    pub fn write_down(&self, sql: &Connection) -> Result<(), Error> {
        self.usage.borrow_mut().write_down(sql)
    }

    /// Forgets the known usage after a group was undone.
    pub fn forget_usage(&self) {
        self.usage.borrow_mut().forget();
    }

    /// Whether the current write has changed any row.
    pub fn has_written(&self, sql: &Connection) -> bool {
        sql.total_changes() != self.changes_before.get()
    }

    /// When a quota refused a write whose refusal is not recorded yet.
    pub fn refused_at(&self) -> Option<Time> {
        self.refusal.borrow().as_ref().map(|refusal| refusal.at)
    }
}

/// A write that a quota refused.
struct Refusal {
    caller: Caller,
    quota: QuotaExceeded,
    at: Time,
}

/// Runs a write and adds what it changed to the usage. If this function fails, the writer undoes the whole write.
///
/// # Errors
///
/// The errors of `work`; [`Error::QuotaExceeded`] and [`Error::GrowthLimited`] for a write that exceeds a quota;
/// [`Error::StorageFull`] for a write while the disk is short of space. A write that frees space is refused for none of
/// these reasons.
pub(in crate::db) fn settled<T>(tx: &Tx, desk: &Desk, work: impl FnOnce(&Tx) -> Result<T, Error>) -> Result<T, Error> {
    desk.books.clear();
    desk.changes_before.set(tx.sql.total_changes());
    let outcome = work(tx).and_then(|done| {
        let frees_space = tx.charged.frees_space.get();
        if desk.space.is_low() && !frees_space && desk.has_written(tx.sql) {
            return Err(Error::StorageFull);
        }
        settle(tx, desk, frees_space).map(|()| done)
    });
    if tx.charged.frees_space.get() {
        desk.space.close_reserve(tx.sql)?;
    }
    if let (Err(Error::QuotaExceeded(quota)), Some(cause)) = (&outcome, tx.charged.cause.borrow().as_ref()) {
        desk.refusal.replace(Some(Refusal { caller: cause.caller.clone(), quota: quota.clone(), at: tx.now }));
    }
    outcome
}

fn settle(tx: &Tx, desk: &Desk, frees_space: bool) -> Result<(), Error> {
    let tally = desk.books.take();
    if tally.teams.is_empty() && tally.organizations.is_empty() {
        return Ok(());
    }
    if let Some(cause) = tx.charged.cause.borrow().as_ref().filter(|_| !frees_space) {
        check_all(tx, desk, &tally)?;
        let bytes_per_hour_max = tx.quotas.settings.growth_bytes_per_hour;
        desk.growth.borrow_mut().add(&cause.grower, tally.grown_bytes, bytes_per_hour_max, tx.now)?;
    }
    desk.usage.borrow_mut().add(tx.sql, &tally)
}

fn check_all(tx: &Tx, desk: &Desk, tally: &Tally) -> Result<(), Error> {
    for (id, delta) in &tally.teams {
        let used = desk.usage.borrow_mut().of_team_with(tx.sql, id, delta)?;
        used.map_or(Ok(()), |used| check_team(tx, id, delta, used))?;
    }
    for (id, delta) in &tally.organizations {
        let used = desk.usage.borrow_mut().of_organization_with(tx.sql, id, delta)?;
        used.map_or(Ok(()), |used| check_organization(tx, desk, delta, used))?;
    }
    Ok(())
}

/// Checks the usage after the write against the quotas of the team. A quota whose usage the write does not increase
/// never refuses it.
fn check_team(tx: &Tx, team_id: &str, delta: &Delta, used: Used) -> Result<(), Error> {
    let settings = &tx.quotas.settings;
    let check =
        |name, grown: i64, used: u64, allowed: u64, unit: Unit| check(Some(team_id), name, grown, used, allowed, unit);
    check("database_bytes", delta.bytes, used.database_bytes, settings.database_bytes, Unit::Bytes)?;
    check("database_rows", delta.rows, used.database_rows, settings.database_rows, Unit::Rows)?;
    check("archive_bytes", delta.archive_bytes, used.archive_bytes, settings.archive_bytes, Unit::Bytes)?;
    if !delta.work {
        return Ok(());
    }
    let in_progress = deployments_in_progress(tx, team_id)?;
    check("deployments_in_progress", 1, in_progress, settings.deployments_in_progress, Unit::Deployments)?;
    let in_progress = training_jobs_in_progress(tx, team_id)?;
    check("training_jobs_in_progress", 1, in_progress, settings.training_jobs_in_progress, Unit::TrainingJobs)
}

fn check_organization(tx: &Tx, desk: &Desk, delta: &Delta, used: Used) -> Result<(), Error> {
    let allowed = tx.quotas.settings.organization_archive_bytes;
    check(None, "organization_archive_bytes", delta.archive_bytes, used.archive_bytes, allowed, Unit::Bytes)?;
    let grown = delta.bytes + delta.archive_bytes;
    if grown <= 0 {
        return Ok(());
    }
    measure_disk(tx.sql, tx.quotas, desk, tx.now)?;
    let (used, allowed) = (used.database_bytes + used.archive_bytes, tx.quotas.organization_disk_bytes());
    check(None, "organization_disk_bytes", grown, used, allowed, Unit::Bytes)
}

fn check(
    team_id: Option<&str>,
    name: &'static str,
    grown: i64,
    used: u64,
    allowed: u64,
    unit: Unit,
) -> Result<(), Error> {
    if grown <= 0 || used <= allowed {
        return Ok(());
    }
    let before = used.saturating_sub(grown.unsigned_abs());
    let team_id = team_id.map(str::to_owned);
    Err(Error::QuotaExceeded(QuotaExceeded { team_id, name, used: before, allowed, unit: unit.as_str() }))
}

/// Measures, at most once a minute, the disk space of this installation: what is free and what it uses.
pub(in crate::db) fn measure_disk(sql: &Connection, quotas: &Quotas, desk: &Desk, now: Time) -> Result<(), Error> {
    if desk.disk_measured.get().is_some_and(|at| is_recent(at, now)) {
        return Ok(());
    }
    let mut query = sql.prepare_cached("SELECT ifnull(sum(archive_bytes), 0) FROM organization_usage")?;
    let written: i64 = query.query_row([], |row| row.get(0))?;
    let archives = written + desk.usage.borrow().archive_bytes_added();
    let disk = desk.space.free_bytes().saturating_add(desk.space.used_bytes()).saturating_add(unsigned(archives));
    quotas.disk_bytes.store(disk, Ordering::Relaxed);
    desk.disk_measured.set(Some(now));
    Ok(())
}

/// Whether a time is within the last minute. After a clock was set back, later times are not recent.
fn is_recent(at: Time, now: Time) -> bool {
    at <= now && now < at.plus_seconds(NOTED_EVERY_SECONDS)
}

/// Records in the audit log that a quota refused a write, at most once a minute for each team.
pub(in crate::db) fn note_refusal(tx: &Tx, desk: &Desk) -> Result<(), Error> {
    let Some(Refusal { caller, quota, .. }) = desk.refusal.take() else { return Ok(()) };
    let key = quota.team_id.clone().unwrap_or_else(|| caller.org_id.as_str().to_owned());
    let mut noted = desk.noted.borrow_mut();
    noted.retain(|_, at| is_recent(*at, tx.now));
    if noted.contains_key(&key) {
        return Ok(());
    }
    noted.insert(key, tx.now);
    let team = quota.team_id.as_deref().map(|id| teams::find(tx, id)).transpose()?;
    let data = json!({ "name": quota.name, "used": quota.used, "allowed": quota.allowed, "unit": quota.unit });
    audit::record(tx, Actor::Caller(&caller), &caller.org_id, team.as_ref(), Event::new("QUOTA_EXCEEDED", data))
}

// ---- what is used ----

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn deployments_in_progress(tx: &Tx, team_id: &str) -> Result<u64, Error> {
    count(
        tx,
        "SELECT count(*) FROM deployment INDEXED BY deployment_in_progress
         WHERE team_id = :team_id
           AND status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'UPDATING', 'DEACTIVATING', 'WAKING_UP')",
        team_id,
    )
}

fn training_jobs_in_progress(tx: &Tx, team_id: &str) -> Result<u64, Error> {
    count(
        tx,
        "SELECT count(*) FROM training_job INDEXED BY training_job_under_way
         WHERE team_id = :team_id
           AND status IN ('TRAINING_JOB_PENDING', 'TRAINING_JOB_CREATED', 'TRAINING_JOB_QUEUED', 'TRAINING_JOB_DEPLOYING',
                          'TRAINING_JOB_RUNNING')",
        team_id,
    )
}

/// How many async requests of the team are queued or in progress.
pub(in crate::db) fn unfinished_async_requests(tx: &Tx, team_id: &str) -> Result<u64, Error> {
    count(
        tx,
        "SELECT count(*) FROM async_request INDEXED BY async_request_unfinished
         WHERE team_id = :team_id AND status IN ('QUEUED', 'IN_PROGRESS')",
        team_id,
    )
}

fn count(tx: &Tx, sql: &str, team_id: &str) -> Result<u64, Error> {
    let mut query = tx.sql.prepare_cached(sql)?;
    Ok(query.query_row(named_params! { ":team_id": team_id }, |row| row.get(0)).map(unsigned)?)
}
