//! Quotas: what a team, an organization and a caller may take of what all share.
//!
//! A write is charged to its caller ([`Tx::charge_to`]) and checked at its end, in the writer, against the numbers that
//! [`accounting`] keeps: what would exceed a quota is undone as a whole. What revokes, removes or deletes says so
//! ([`Tx::frees_space`]) and is never refused here. Uploads in progress are in memory alone and counted by [`in_progress`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension as _, named_params};
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

pub use accounting::UNCHARGED;
use accounting::{Books, Delta};
use growth::{Grower, Growth};
pub use in_progress::InProgress;

/// A refusal is noted in the audit log so often at most for each team, and the disk is measured so often.
const NOTED_EVERY_SECONDS: i64 = 60;

/// The quotas of a team, with what shares of its organization's it can use.
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

/// What all connections know of quotas.
pub struct Quotas {
    pub settings: Settings,
    pub in_progress: InProgress,
    /// What the disk has for us, used or not.
    disk_bytes: AtomicU64,
}

impl Quotas {
    pub(in crate::db) fn new(settings: Settings) -> Quotas {
        Quotas { settings, in_progress: InProgress::default(), disk_bytes: AtomicU64::new(u64::MAX) }
    }

    /// An organization's share of the disk.
    pub fn organization_disk_bytes(&self) -> u64 {
        let disk = u128::from(self.disk_bytes.load(Ordering::Relaxed));
        let share = disk * u128::from(self.settings.organization_disk_percent) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// Whoever causes a write.
#[derive(Clone)]
struct Cause {
    caller: Caller,
    grower: Grower,
}

impl Tx<'_> {
    /// Says whose write this is: what it makes grow is counted to them.
    pub(crate) fn charge_to(&self, caller: &Caller) {
        let cause = Cause { caller: caller.clone(), grower: Grower::of(caller) };
        self.charged.cause.replace(Some(cause));
    }

    /// Says that this write revokes, removes or deletes: it is refused neither by a quota nor on a full disk. To be said
    /// before anything is written.
    pub(crate) fn frees_space(&self) -> Result<(), Error> {
        self.charged.frees_space.set(true);
        self.desk.map_or(Ok(()), |desk| desk.space.open_reserve(self.sql))
    }
}

/// What a write says of itself.
#[derive(Default)]
pub(in crate::db) struct Charged {
    cause: RefCell<Option<Cause>>,
    frees_space: Cell<bool>,
}

/// What the writer keeps from one write to the next.
pub(in crate::db) struct Desk {
    pub books: Books,
    pub space: Space,
    growth: RefCell<Growth>,
    /// When a refusal was last noted, by team, or by organization where no team is charged.
    noted: RefCell<HashMap<String, Time>>,
    refusal: RefCell<Option<Refusal>>,
    disk_measured: Cell<Option<Time>>,
}

impl Desk {
    pub fn new(books: Books, space: Space) -> Desk {
        Desk {
            books,
            space,
            growth: RefCell::default(),
            noted: RefCell::default(),
            refusal: RefCell::default(),
            disk_measured: Cell::default(),
        }
    }

    /// When a write was refused by a quota that is not noted yet.
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

/// Runs a write and settles it: adds what it changed to what is used, and undoes it if that is too much.
pub(in crate::db) fn settled<T>(tx: &Tx, desk: &Desk, work: impl FnOnce(&Tx) -> Result<T, Error>) -> Result<T, Error> {
    desk.books.clear();
    let changes = tx.sql.total_changes();
    let outcome = work(tx).and_then(|done| {
        let frees_space = tx.charged.frees_space.get();
        if desk.space.is_low() && !frees_space && tx.sql.total_changes() != changes {
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
    let tally = desk.books.lock().clone();
    if tally.teams.is_empty() && tally.organizations.is_empty() {
        return Ok(());
    }
    let teams = tally.teams.iter().map(|(id, delta)| Ok((id, delta, Used::add_to_team(tx, id, delta)?)));
    let teams: Vec<(&String, &Delta, Option<Used>)> = teams.collect::<Result<_, Error>>()?;
    let organizations =
        tally.organizations.iter().map(|(id, delta)| Ok((delta, Used::add_to_organization(tx, id, delta)?)));
    let organizations: Vec<(&Delta, Option<Used>)> = organizations.collect::<Result<_, Error>>()?;
    let cause = tx.charged.cause.borrow();
    let Some(cause) = cause.as_ref().filter(|_| !frees_space) else { return Ok(()) };
    for (id, delta, used) in teams {
        used.map_or(Ok(()), |used| check_team(tx, id, delta, used))?;
    }
    for (delta, used) in organizations {
        used.map_or(Ok(()), |used| check_organization(tx, desk, delta, used))?;
    }
    let bytes_per_hour_max = tx.quotas.settings.growth_bytes_per_hour;
    desk.growth.borrow_mut().add(&cause.grower, tally.grown_bytes, bytes_per_hour_max, tx.now)
}

/// What is used with the write, against what is allowed. What the write does not make grow never refuses it.
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

/// Measures once a minute what the disk has for us: what is free, and what we use.
pub(in crate::db) fn measure_disk(sql: &Connection, quotas: &Quotas, desk: &Desk, now: Time) -> Result<(), Error> {
    if desk.disk_measured.get().is_some_and(|at| is_recent(at, now)) {
        return Ok(());
    }
    let mut query = sql.prepare_cached("SELECT ifnull(sum(archive_bytes), 0) FROM organization_usage")?;
    let archives: i64 = query.query_row([], |row| row.get(0))?;
    let disk = desk.space.free_bytes().saturating_add(desk.space.used_bytes()).saturating_add(unsigned(archives));
    quotas.disk_bytes.store(disk, Ordering::Relaxed);
    desk.disk_measured.set(Some(now));
    Ok(())
}

/// Within the last minute; a clock that was set back makes nothing recent.
fn is_recent(at: Time, now: Time) -> bool {
    at <= now && now < at.plus_seconds(NOTED_EVERY_SECONDS)
}

/// Notes in the audit log that a quota refused a write: once a minute for each team.
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

/// What a team or an organization uses.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::db) struct Used {
    pub database_bytes: u64,
    pub database_rows: u64,
    pub archive_bytes: u64,
}

impl Used {
    pub fn by_team(tx: &Tx, team_id: &str) -> Result<Option<Used>, Error> {
        let sql = "SELECT database_bytes, database_rows, archive_bytes FROM team_usage WHERE team_id = :id";
        let mut query = tx.sql.prepare_cached(sql)?;
        Ok(query.query_row(named_params! { ":id": team_id }, Used::from_row).optional()?)
    }

    pub fn by_organization(tx: &Tx, org_id: &str) -> Result<Option<Used>, Error> {
        let sql = "SELECT database_bytes, database_rows, archive_bytes FROM organization_usage WHERE org_id = :id";
        let mut query = tx.sql.prepare_cached(sql)?;
        Ok(query.query_row(named_params! { ":id": org_id }, Used::from_row).optional()?)
    }

    /// `None` where the team is gone.
    fn add_to_team(tx: &Tx, team_id: &str, delta: &Delta) -> Result<Option<Used>, Error> {
        Used::add(
            tx,
            "UPDATE team_usage
             SET database_bytes = database_bytes + :bytes, database_rows = database_rows + :rows,
                 archive_bytes = archive_bytes + :archive_bytes
             WHERE team_id = :id
             RETURNING database_bytes, database_rows, archive_bytes",
            team_id,
            delta,
        )
    }

    fn add_to_organization(tx: &Tx, org_id: &str, delta: &Delta) -> Result<Option<Used>, Error> {
        Used::add(
            tx,
            "UPDATE organization_usage
             SET database_bytes = database_bytes + :bytes, database_rows = database_rows + :rows,
                 archive_bytes = archive_bytes + :archive_bytes
             WHERE org_id = :id
             RETURNING database_bytes, database_rows, archive_bytes",
            org_id,
            delta,
        )
    }

    fn add(tx: &Tx, sql: &str, id: &str, delta: &Delta) -> Result<Option<Used>, Error> {
        let params = named_params! {
            ":id": id, ":bytes": delta.bytes, ":rows": delta.rows, ":archive_bytes": delta.archive_bytes,
        };
        Ok(tx.sql.prepare_cached(sql)?.query_row(params, Used::from_row).optional()?)
    }

    fn from_row(row: &rusqlite::Row) -> rusqlite::Result<Used> {
        let number = |column: &str| row.get(column).map(unsigned);
        Ok(Used {
            database_bytes: number("database_bytes")?,
            database_rows: number("database_rows")?,
            archive_bytes: number("archive_bytes")?,
        })
    }
}

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

fn count(tx: &Tx, sql: &str, team_id: &str) -> Result<u64, Error> {
    let mut query = tx.sql.prepare_cached(sql)?;
    Ok(query.query_row(named_params! { ":team_id": team_id }, |row| row.get(0)).map(unsigned)?)
}
