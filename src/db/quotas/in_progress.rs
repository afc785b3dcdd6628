//! Uploads in progress, which are charged to the team of the key that was sent, or to the person.
//!
//! They are kept in memory, so a restart ends them. A declared size counts from the moment at which the client declares
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::db::quotas::is_recent;
use crate::domain::quotas::{Settings, Unit};
use crate::domain::uploads::{Grant, Owner};
use crate::domain::{OrgId, TeamId, Time};
use crate::error::{Error, QuotaExceeded};

/// How many times the limits of one team an organization may have in progress, in uploads and in files.
pub const ORGANIZATION_TIMES: u64 = 10;

/// What one owner or organization has in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Multipart uploads.
    pub uploads: u64,
    /// Files being received: single-request uploads, and each part of a multipart upload.
    pub files: u64,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, other: Amount) {
        self.uploads += other.uploads;
        self.files += other.files;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Amount) {
        self.uploads -= other.uploads;
        self.files -= other.files;
        self.bytes -= other.bytes;
    }
}

/// Everything in progress.
#[derive(Clone, Debug, Default)]
pub struct InProgress(Arc<Mutex<Amounts>>);

#[derive(Debug, Default)]
struct Amounts {
    owners: HashMap<(OrgId, Owner), Amount>,
    organizations: HashMap<OrgId, Amount>,
    /// When a refusal was last passed on for the audit log, by owner.
    noted: HashMap<Owner, Time>,
}

/// A charge for something in progress. It counts until this value is dropped.
#[derive(Debug)]
pub struct Charge {
    org_id: OrgId,
    owner: Owner,
    amount: Amount,
    amounts: Arc<Mutex<Amounts>>,
}

/// The usage and limits of the disk and of the archives.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The archive bytes of the owner: used and allowed.
    pub owner: Share,
    pub organization: Share,
    /// The disk bytes of the organization, database and archives together: used and allowed.
    pub disk: Share,
}

#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub used: u64,
    pub allowed: u64,
}

impl InProgress {
    /// What an owner has in progress.
    pub fn of(&self, owner: &Owner, org_id: &OrgId) -> Amount {
        let amounts = self.0.lock().expect("nobody panics holding it");
        amounts.owners.get(&(org_id.clone(), owner.clone())).copied().unwrap_or_default()
    }

    /// What an organization has in progress.
    pub fn of_organization(&self, org_id: &OrgId) -> Amount {
        let amounts = self.0.lock().expect("nobody panics holding it");
        amounts.organizations.get(org_id).copied().unwrap_or_default()
    }

    /// Whether a refusal of this owner is to be recorded in the audit log: at most one a minute.
    pub fn is_to_note(&self, owner: &Owner, now: Time) -> bool {
        let mut amounts = self.0.lock().expect("nobody panics holding it");
        amounts.noted.retain(|_, at| is_recent(*at, now));
        if amounts.noted.contains_key(owner) {
            return false;
        }
        amounts.noted.insert(owner.clone(), now);
        true
    }

    /// Charges a multipart upload.
    ///
    /// # Errors
    ///
    /// [`Error::QuotaExceeded`] if the owner or the organization would have too many uploads in progress.
    pub fn begin_upload(&self, settings: &Settings, grant: &Grant) -> Result<Charge, Error> {
        self.charge(settings, grant, Amount { uploads: 1, ..Amount::default() }, None)
    }

    /// Charges a file of this declared size.
    ///
    /// # Errors
    ///
    /// [`Error::QuotaExceeded`] if the owner or the organization would have too much in progress, or if the file does
    /// not fit into `room`.
    pub fn begin_file(&self, settings: &Settings, grant: &Grant, bytes: u64, room: Room) -> Result<Charge, Error> {
        self.charge(settings, grant, Amount { files: 1, bytes, ..Amount::default() }, Some(room))
    }

    fn charge(&self, settings: &Settings, grant: &Grant, amount: Amount, room: Option<Room>) -> Result<Charge, Error> {
        let (org_id, owner) = (&grant.org_id, grant.owner());
        let mut amounts = self.0.lock().expect("nobody panics holding it");
        let mut of_owner = amounts.owners.get(&(org_id.clone(), owner.clone())).copied().unwrap_or_default();
        let mut of_organization = amounts.organizations.get(org_id).copied().unwrap_or_default();
        check_in_progress(settings, grant, &amount, &of_owner, &of_organization)?;
        if let Some(room) = room {
            room.admit(grant, amount.bytes, of_owner.bytes, of_organization.bytes)?;
        }
        of_owner.add(amount);
        of_organization.add(amount);
        amounts.owners.insert((org_id.clone(), owner.clone()), of_owner);
        amounts.organizations.insert(org_id.clone(), of_organization);
        Ok(Charge { org_id: org_id.clone(), owner, amount, amounts: Arc::clone(&self.0) })
    }
}

fn check_in_progress(
    settings: &Settings,
    grant: &Grant,
    more: &Amount,
    of_owner: &Amount,
    of_organization: &Amount,
) -> Result<(), Error> {
    let team_id = grant.team_id.as_ref();
    let (uploads, files) = (settings.uploads_in_progress, settings.upload_files_in_progress);
    let times = |allowed: u64| allowed.saturating_mul(ORGANIZATION_TIMES);
    check(team_id, "uploads_in_progress", of_owner.uploads, more.uploads, uploads, Unit::Uploads)?;
    check(team_id, "upload_files_in_progress", of_owner.files, more.files, files, Unit::Files)?;
    let bytes = settings.upload_bytes_in_progress;
    check(team_id, "upload_bytes_in_progress", of_owner.bytes, more.bytes, bytes, Unit::Bytes)?;
    let (of_all, name) = (of_organization, "organization_uploads_in_progress");
    check(None, name, of_all.uploads, more.uploads, times(uploads), Unit::Uploads)?;
    check(None, "organization_upload_files_in_progress", of_all.files, more.files, times(files), Unit::Files)
}

impl Room {
    /// Checks that this many more bytes fit, together with what the owner and the organization have in progress.
    ///
    /// # Errors
    ///
    /// [`Error::QuotaExceeded`] if they exceed the archive quota of the owner or the organization, or the
    /// organization's share of the disk.
    pub fn admit(&self, grant: &Grant, bytes: u64, by_owner: u64, by_organization: u64) -> Result<(), Error> {
        let team_id = grant.team_id.as_ref();
        let Room { owner, organization, disk } = self;
        check(team_id, "archive_bytes", owner.used + by_owner, bytes, owner.allowed, Unit::Bytes)?;
        let used = organization.used + by_organization;
        check(None, "organization_archive_bytes", used, bytes, organization.allowed, Unit::Bytes)?;
        check(None, "organization_disk_bytes", disk.used + by_organization, bytes, disk.allowed, Unit::Bytes)
    }
}

fn check(
    team_id: Option<&TeamId>,
    name: &'static str,
    used: u64,
    more: u64,
    allowed: u64,
    unit: Unit,
) -> Result<(), Error> {
    if more == 0 || used.saturating_add(more) <= allowed {
        return Ok(());
    }
    let team_id = team_id.map(|id| id.as_str().to_owned());
    Err(Error::QuotaExceeded(QuotaExceeded { team_id, name, used, allowed, unit: unit.as_str() }))
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut amounts = self.amounts.lock().expect("nobody panics holding it");
        let key = (self.org_id.clone(), self.owner.clone());
        if let Some(amount) = amounts.owners.get_mut(&key) {
            amount.subtract(self.amount);
            if *amount == Amount::default() {
                amounts.owners.remove(&key);
            }
        }
        if let Some(amount) = amounts.organizations.get_mut(&self.org_id) {
            amount.subtract(self.amount);
            if *amount == Amount::default() {
                amounts.organizations.remove(&self.org_id);
            }
        }
    }
}
