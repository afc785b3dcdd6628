//! How many unfinished uploads may one owner have, and what remains for others?

use guildhall::domain::quotas::Settings;

use super::s3::{noise, part_query};
use super::site::BaseUrl;

fn small() -> Settings {
    Settings {
        uploads_in_progress: 3,
        upload_files_in_progress: 4,
        upload_bytes_in_progress: 10_000,
        ..Settings::default()
    }
}

#[test]
fn one_key_opens_a_few_uploads_and_the_others_go_on() {
    let site = BaseUrl::with_quotas(small());
    let uploads: Vec<_> = (0..3).map(|_| site.client(&site.team)).collect();
    let ids: Vec<String> = uploads.iter().map(|client| client.create()).collect();
    let fourth = site.client(&site.team);
    let refused = fourth.send(fourth.request("POST", "?uploads", b"")).is(503, "SlowDown");
    let message = refused.element("Message").to_owned();
    assert!(message.contains("uploads_in_progress") && message.contains("3 of 3"), "{message}");
    // People are others than the team.
    let bob = site.client(&site.bob);
    bob.create();
    bob.send(bob.request("PUT", "", b"at once")).is(200, "");
    // What ends makes room.
    uploads[0].send(uploads[0].request("DELETE", &format!("?uploadId={}", ids[0]), b"")).is(204, "");
    fourth.create();
    // A completed one is in progress no more.
    let part = uploads[1].part(&ids[1], 1, b"whole");
    uploads[1].complete(&ids[1], &[part]).is(200, "");
    site.client(&site.team).create();
}

#[test]
fn files_in_progress_and_what_they_declare_are_counted_to_who_sends_them() {
    let site = BaseUrl::with_quotas(small());
    let client = site.client(&site.team);
    let upload = client.create();
    for number in 1..=4 {
        client.part(&upload, number, b"part");
    }
    client.send(client.request("PUT", &part_query(&upload, 5), b"part")).is(503, "SlowDown");
    // Sent again it takes the place of what it was: that is one more file until it is there.
    let ada = site.client(&site.ada);
    let other = ada.create();
    ada.part(&other, 1, &noise(9_000));
    let more = site.client(&site.ada);
    more.send_expecting(more.request("PUT", "", &noise(2_000))).is(429, "QuotaExceeded");
    ada.send(ada.request("DELETE", &format!("?uploadId={other}"), b"")).is(204, "");
    more.send(more.request("PUT", "", &noise(2_000))).is(200, "");
}

#[test]
fn a_refusal_is_in_the_audit_log_once() {
    let site = BaseUrl::with_quotas(small());
    for _ in 0..6 {
        let client = site.client(&site.team);
        client.send(client.request("POST", "?uploads", b""));
    }
    site.app.db.write_blocking(super::site::now(), |_| Ok(())).unwrap();
    assert_eq!(site.count("SELECT count(*) FROM audit WHERE event_type = 'QUOTA_EXCEEDED'"), 1);
}

/// A team pays for what its deployments use, once for each upload, and no longer than they are there.
#[test]
fn a_teams_archives_are_those_that_its_deployments_use() {
    let site = BaseUrl::with_quotas(Settings { archive_bytes: 1000, ..Settings::default() });
    let client = site.client(&site.team);
    client.send(client.request("PUT", "", &noise(700))).is(200, "");
    assert_eq!(site.count("SELECT sum(archive_bytes) FROM team_usage"), 700);
    let next = site.client(&site.team);
    next.send_expecting(next.request("PUT", "", &noise(400))).is(429, "QuotaExceeded");
    // Another person has as much of their own.
    let bob = site.client(&site.bob);
    bob.send(bob.request("PUT", "", &noise(400))).is(200, "");
    assert_eq!(site.count("SELECT sum(archive_bytes) FROM team_usage"), 700);
    assert_eq!(site.count("SELECT sum(archive_bytes) FROM organization_usage"), 1100);
}
