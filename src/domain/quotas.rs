//! Quotas, and their sizes. The operator sets sizes with `--quota NAME=VALUE`.

/// A quota of a team, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub name: &'static str,
    pub used: u64,
    pub allowed: u64,
    pub unit: Unit,
}

/// The unit of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    BytesPerHour,
    Rows,
    Uploads,
    Files,
    Deployments,
    TrainingJobs,
    Requests,
}

impl Unit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::BytesPerHour => "bytes per hour",
            Unit::Rows => "rows",
            Unit::Uploads => "uploads",
            Unit::Files => "files",
            Unit::Deployments => "deployments",
            Unit::TrainingJobs => "training jobs",
            Unit::Requests => "requests",
        }
    }
}

/// The size of every quota, and of the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The maximum size of a team's data in the database, including its entries in the audit log.
    pub database_bytes: u64,
    pub database_rows: u64,
    /// The maximum size of a team's archives: those of its deployments and jobs, and those that its keys have uploaded
    /// and not yet used. The same maximum applies to the unused archives of a person.
    pub archive_bytes: u64,
    /// The maximum size of an organization's archives.
    pub organization_archive_bytes: u64,
    /// The maximum number of unfinished multipart uploads of a team or a person. An organization may have ten times as
    /// many.
    pub uploads_in_progress: u64,
    pub upload_files_in_progress: u64,
    pub upload_bytes_in_progress: u64,
    pub deployments_in_progress: u64,
    pub training_jobs_in_progress: u64,
    /// The maximum number of queued calls of a team that are not finished.
    pub async_requests: u64,
    /// An organization's maximum share of the disk: its part of the database and its archives together.
    pub organization_disk_percent: u64,
    /// By how much one caller may make the database grow: a person, the keys of a team or the keys of an organization.
    pub growth_bytes_per_hour: u64,
    /// The space that is kept free for acts that revoke, remove and delete. `None`: it depends on the size of the disk.
    pub reserve_bytes: Option<u64>,
    /// SQLite's `max_page_count`. `None`: SQLite's own limit.
    pub max_page_count: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            database_bytes: 2 << 30,
            database_rows: 5_000_000,
            archive_bytes: 100 << 30,
            organization_archive_bytes: 100 << 30,
            uploads_in_progress: 100,
            upload_files_in_progress: 10_000,
            upload_bytes_in_progress: 50 << 30,
            deployments_in_progress: 200,
            training_jobs_in_progress: 1000,
            async_requests: 5000,
            organization_disk_percent: 50,
            growth_bytes_per_hour: 512 << 20,
            reserve_bytes: None,
            max_page_count: None,
        }
    }
}

/// The size of one quota, as the operator writes it: `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: u64,
}

const NAMES: &[&str] = &[
    "database_bytes",
    "database_rows",
    "archive_bytes",
    "organization_archive_bytes",
    "uploads_in_progress",
    "upload_files_in_progress",
    "upload_bytes_in_progress",
    "deployments_in_progress",
    "training_jobs_in_progress",
    "async_requests",
    "organization_disk_percent",
    "growth_bytes_per_hour",
    "reserve_bytes",
    "max_page_count",
];

impl Setting {
    /// The description for the operator.
    pub const HELP: &str = "\
What a team, an organization or a caller may take, as NAME=VALUE; repeated for several. Bytes take KiB, MiB, GiB or TiB.

Of each team: database_bytes, database_rows, archive_bytes, deployments_in_progress, training_jobs_in_progress,
async_requests (queued calls that are not finished).
Of each team and person: uploads_in_progress, upload_files_in_progress, upload_bytes_in_progress.
Of each organization: organization_archive_bytes, organization_disk_percent (its share of the disk).
Of each caller: growth_bytes_per_hour (what it makes the database grow).
Of the installation: reserve_bytes (kept free for revoking and deleting), max_page_count (of the database).";

    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if the name is unknown or the value is not a number in the allowed range.
    pub fn parse(text: &str) -> Result<Setting, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as database_bytes=4GiB")?;
        if !NAMES.contains(&name) {
            return Err(format!("there is no such quota; there are {}", NAMES.join(", ")));
        }
        let value = number(value).ok_or("the value is a number, for bytes also with KiB, MiB, GiB or TiB behind it")?;
        let bound = match name {
            "organization_disk_percent" => 100,
            "max_page_count" => u64::from(u32::MAX - 1),
            _ => i64::MAX as u64,
        };
        if value > bound {
            return Err(format!("the value is at most {bound}"));
        }
        Ok(Setting { name: name.to_owned(), value })
    }

    /// Applies this size to `settings`. If a quota is set several times, the last one counts.
    pub fn apply(&self, settings: &mut Settings) {
        let value = self.value;
        match self.name.as_str() {
            "database_bytes" => settings.database_bytes = value,
            "database_rows" => settings.database_rows = value,
            "archive_bytes" => settings.archive_bytes = value,
            "organization_archive_bytes" => settings.organization_archive_bytes = value,
            "uploads_in_progress" => settings.uploads_in_progress = value,
            "upload_files_in_progress" => settings.upload_files_in_progress = value,
            "upload_bytes_in_progress" => settings.upload_bytes_in_progress = value,
            "deployments_in_progress" => settings.deployments_in_progress = value,
            "training_jobs_in_progress" => settings.training_jobs_in_progress = value,
            "async_requests" => settings.async_requests = value,
            "organization_disk_percent" => settings.organization_disk_percent = value,
            "growth_bytes_per_hour" => settings.growth_bytes_per_hour = value,
            "reserve_bytes" => settings.reserve_bytes = Some(value),
            "max_page_count" => settings.max_page_count = u32::try_from(value).ok(),
            other => unreachable!("no name is read that is not known: {other}"),
        }
    }
}

pub fn number(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let number: u64 = digits.trim().parse().ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_something() {
        for name in NAMES {
            let mut settings = Settings::default();
            Setting::parse(&format!("{name}=7")).unwrap().apply(&mut settings);
            assert_ne!(settings, Settings::default(), "{name}");
        }
    }

    #[test]
    fn values_carry_units() {
        let mut settings = Settings::default();
        Setting::parse("database_bytes=3GiB").unwrap().apply(&mut settings);
        assert_eq!(settings.database_bytes, 3 << 30);
        for wrong in [
            "database_bytes",
            "database_bytes=",
            "database_bytes=-1",
            "database_bytes=1GB",
            "bytes=1",
            "organization_disk_percent=101",
            "database_bytes=99999999TiB",
        ] {
            assert!(Setting::parse(wrong).is_err(), "{wrong}");
        }
    }
}
