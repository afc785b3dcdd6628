//! Is there always space to revoke, remove and delete? The tests use small disks of their own, if the system can mount
//! them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use guildhall::domain::quotas::Settings;
use serde_json::json;

use super::{job, project, secret};
use crate::org::{Org, Someone, Teams};
use crate::test_server::{Answered, TestServer};
use crate::vocabulary::text;

/// A file system in memory, of its own and small.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` where nobody but the system's administrator may mount; where tests must be able to, the gate says so.
    fn mount(size: &str) -> Option<Tmpfs> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Tmpfs(folder));
        }
        assert!(std::env::var_os("GUILDHALL_TESTS_MOUNT").is_none(), "cannot mount a tmpfs: {mounted:?}");
        eprintln!("skipped: cannot mount a tmpfs here: {mounted:?}");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A team that grew as far as it could, and what is to be taken from it.
struct Grown<'h> {
    org: Org<'h>,
    team: String,
    key: Someone,
    max: Someone,
    project: String,
    /// What refused to let it grow further.
    refused: Answered,
}

impl<'h> Grown<'h> {
    fn new(server: &'h TestServer) -> Grown<'h> {
        let org = Org::new(server, "acme", Teams::On);
        let team = org.team("Research");
        let max = org.person("max", "MEMBER", json!([{ "team_id": team, "role": "ADMIN" }]));
        let made =
            org.post(&max, &format!("/v1/teams/{team}/api_keys"), json!({ "type": "WORKSPACE_MANAGE_ALL" })).ok();
        let key = text(&made["api_key"]);
        let key = Someone { id: key.split('.').next().unwrap().to_owned(), key };
        let project = project(&org, &key, &team);
        let refused = fill(&org, &key, &team, &project);
        Grown { org, team, key, max, project, refused }
    }

    /// Everything that takes away succeeds.
    fn is_taken_apart(&self) {
        let Grown { org, team, key, max, project, .. } = self;
        let by = &org.founder;
        org.delete(by, &format!("/v1/api_keys/{}", key.id)).ok();
        org.get(key, "/v1/users/me").refused(401, "UNAUTHENTICATED");
        org.delete(by, &format!("/v1/teams/{team}/members/{}", max.id)).ok();
        org.delete(by, &format!("/v1/users/{}", max.id)).ok();
        org.delete(by, &format!("/v1/teams/{team}/secrets/s0")).ok();
        org.delete(by, &format!("/v1/training_projects/{project}")).ok();
        org.delete(by, &format!("/v1/teams/{team}?force=true")).ok();
    }
}

/// Posts large jobs and then small secrets, until nothing more is taken.
fn fill(org: &Org, by: &Someone, team: &str, project: &str) -> Answered {
    org.post(by, &format!("/v1/teams/{team}/secrets"), secret("s0", 1)).ok();
    let jobs = (0..200).map(|_| org.post(by, &format!("/v1/training_projects/{project}/jobs"), job(900_000)));
    let refused = jobs.into_iter().find(|answered| answered.status != 200).expect("the disk is not that large");
    let secrets =
        (1..3000).map(|at| org.post(by, &format!("/v1/teams/{team}/secrets"), secret(&format!("s{at}"), 3_000)));
    secrets.into_iter().find(|answered| answered.status != 200).expect("the disk is not that large");
    refused
}

fn server_on(disk: &Tmpfs, quotas: Settings) -> TestServer {
    TestServer::at_with(tempfile::tempdir_in(disk.path()).unwrap(), quotas)
}

#[test]
fn one_organization_does_not_fill_the_disk_and_the_neighbour_writes_on() {
    let Some(disk) = Tmpfs::mount("40m") else { return };
    let server = server_on(&disk, Settings::default());
    let grown = Grown::new(&server);
    let used = grown.refused.body["details"].clone();
    assert_eq!(
        (grown.refused.status, &used["name"]),
        (429, &json!("organization_disk_bytes")),
        "{}",
        grown.refused.body
    );
    assert!((15 << 20..=20 << 20).contains(&used["allowed"].as_u64().unwrap()), "{used}");
    let neighbour = Org::new(&server, "globex", Teams::On);
    let team = neighbour.team("Research");
    for at in 0..50 {
        neighbour
            .post(&neighbour.founder, &format!("/v1/teams/{team}/secrets"), secret(&format!("s{at}"), 30_000))
            .ok();
    }
    grown.is_taken_apart();
    // The organization may grow again.
    let team = grown.org.team("Other");
    grown.org.post(&grown.org.founder, &format!("/v1/teams/{team}/secrets"), secret("s", 60_000)).ok();
    neighbour.post(&neighbour.founder, "/v1/teams", json!({ "name": "More" })).ok();
}

#[test]
fn on_a_full_disk_what_takes_away_succeeds_and_the_rest_is_told_so() {
    let Some(disk) = Tmpfs::mount("40m") else { return };
    let server = server_on(&disk, Settings::default());
    let grown = Grown::new(&server);
    let neighbour = Org::new(&server, "globex", Teams::On);
    // Somebody else takes all that is left.
    let foreign = disk.path().join("foreign");
    let mut file = File::create(&foreign).unwrap();
    let refused = (0..10).map(|at| {
        // What the server gives back of its log is taken too.
        while file.write_all(&[1; 4096]).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
        neighbour.post(&neighbour.founder, "/v1/teams", json!({ "name": format!("Before {at}") }))
    });
    let refused = refused.into_iter().find(|answered| answered.status != 200).expect("the disk is full");
    refused.refused(507, "STORAGE_FULL");
    drop(file);
    assert!(server.app.db.is_short_of_space());
    neighbour.get(&neighbour.founder, "/v1/teams").ok();
    grown.is_taken_apart();
    std::fs::remove_file(foreign).unwrap();
    neighbour.post(&neighbour.founder, "/v1/teams", json!({ "name": "Research" })).ok();
    assert!(!server.app.db.is_short_of_space());
    let reserve = server.data().join("reserve").metadata().unwrap();
    assert!(reserve.len() > 1 << 20, "the reserve is held again");
}

/// Without a share for each organization the disk is full at last, and it is the same.
#[test]
fn a_disk_that_one_team_filled_lets_it_be_deleted() {
    let Some(disk) = Tmpfs::mount("40m") else { return };
    let server = server_on(&disk, Settings { organization_disk_percent: 100, ..Settings::default() });
    let grown = Grown::new(&server);
    assert!(matches!(grown.refused.status, 429 | 507), "{}", grown.refused.body);
    grown.is_taken_apart();
    grown.org.team("Other");
}

#[test]
fn a_database_that_has_all_its_pages_lets_rows_be_deleted() {
    let pages = 4000;
    let server = TestServer::with_quotas(Settings { max_page_count: Some(pages), ..Settings::default() });
    let grown = Grown::new(&server);
    assert_eq!(grown.refused.status, 507, "{}", grown.refused.body);
    let neighbour = grown.org.post(&grown.org.founder, "/v1/teams", json!({ "name": "x".repeat(60) }));
    assert!(matches!(neighbour.status, 200 | 507), "{}", neighbour.body);
    grown.is_taken_apart();
    grown.org.team("Other");
    let taken: i64 = server.sql().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    assert!(taken <= i64::from(pages), "{taken}");
}
