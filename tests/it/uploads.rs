//! Uploads over a socket, as clients send them. An accepted upload is durable and complete; a refused one leaves
//! nothing.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use guildhall::api::dispatch::answer;
use guildhall::api::{Listener, Request, S3Hosts};
use guildhall::domain::Archive;
use guildhall::domain::quotas::Settings;
use guildhall::domain::uploads::BUCKET;
use guildhall::domain::uploads::Credentials;
use guildhall::error::Error;
use sha2::{Digest as _, Sha256};

use crate::process::{Client, Serving, init};

mod in_progress;
mod narrowed;
mod parts;
mod requested;
pub mod s3;
mod seed;
mod site;
mod sweeping;

use s3::{S3, Sent, crc32, head, noise, part_query, read, sha256, trailer};
use site::{BaseUrl, now};

const PART: usize = 5 << 20;

/// What was uploaded stands under its hash, is the caller's alone, and nothing is under way.
#[track_caller]
fn assert_kept(site: &BaseUrl, client: &S3, content: &[u8]) {
    let archive = site.take(&site.bob, &client.credentials.s3_key).unwrap();
    assert_eq!(archive.bytes, content.len() as u64);
    assert_eq!(archive.hash, *blake3::hash(content).as_bytes());
    assert_eq!(std::fs::read(archive.path(site.data())).unwrap(), content);
    site.settles();
}

#[track_caller]
fn assert_nothing_kept(site: &BaseUrl) {
    site.settles();
    assert_eq!(site.count("SELECT count(*) FROM upload"), 0);
    assert_eq!(site.count("SELECT count(*) FROM audit WHERE event_type = 'ARCHIVE_UPLOADED'"), 0);
}

#[test]
fn a_put_is_kept_under_its_hash() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(1_000_003);
    let answer = client.send(client.request("PUT", "", &content)).is(200, "");
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", &blake3::hash(&content).to_hex()[..32]).as_str()));
    assert_eq!(answer.header("x-amz-checksum-crc32"), Some(crc32(&content).as_str()));
    assert_kept(&site, &client, &content);
    let entries = "SELECT count(*) FROM audit WHERE event_type = 'ARCHIVE_UPLOADED' AND actor_user_id = 'bob'";
    assert_eq!(site.count(entries), 1);
}

#[test]
fn an_empty_archive_and_an_unsigned_body_are_archives_too() {
    let site = BaseUrl::behind_tls();
    let client = site.client(&site.bob);
    client.send(client.request("PUT", "", b"")).is(200, "");
    assert_kept(&site, &client, b"");
    let client = site.client(&site.bob);
    client.send(client.hashed("PUT", &client.path(), b"unsigned", "UNSIGNED-PAYLOAD")).is(200, "");
    assert_kept(&site, &client, b"unsigned");
}

#[test]
fn the_body_is_invited_only_once_the_head_holds() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(100_000);
    client.send_expecting(client.request("PUT", "", &content)).is(200, "");
    assert_kept(&site, &client, &content);
    let elsewhere = client.hashed("PUT", &format!("/{BUCKET}/models/other"), &content, "UNSIGNED-PAYLOAD");
    let refused = client.send_expecting(elsewhere).is(403, "AccessDenied");
    assert_eq!(refused.header("connection"), Some("close"));
    let of_no_upload = client.request("PUT", &part_query("0000", 1), &content);
    client.send_expecting(of_no_upload).is(404, "NoSuchUpload");
}

#[test]
fn chunks_of_any_size_and_a_crc32_behind_them() {
    let site = BaseUrl::behind_tls();
    let content = noise(3_000_000);
    let small: Vec<&[u8]> = content.chunks(65_537).collect();
    for chunks in [&[&content[..]][..], &small] {
        let client = site.client(&site.bob);
        let sent = client.chunked("?x-id=PutObject", chunks, &trailer(&content));
        client.send(sent).is(200, "");
        assert_kept(&site, &client, &content);
    }
}

#[test]
fn a_bucket_in_the_host_is_the_bucket() {
    let site = BaseUrl::behind_tls();
    let client = site.client(&site.bob);
    let target = format!("/{}?x-id=PutObject", client.credentials.s3_key);
    let sent = client.hashed("PUT", &target, b"go", "UNSIGNED-PAYLOAD");
    client.send(sent.with("host", &format!("{BUCKET}.s3.us-east-1.amazonaws.com"))).is(200, "");
    assert_kept(&site, &client, b"go");
}

#[test]
fn what_the_signature_does_not_hold_for_is_refused() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let signed = || client.sign(client.request("PUT", "", b"content"));
    let changed = |change: fn(&mut Sent)| {
        let mut sent = signed();
        change(&mut sent);
        client.send_as_it_is(&sent)
    };
    let set = |sent: &mut Sent, name: &str, value: &str| {
        sent.headers.iter_mut().find(|(key, _)| key == name).unwrap().1 = value.to_owned();
    };
    changed(|sent| sent.method = "POST").is(403, "SignatureDoesNotMatch");
    changed(|sent| sent.target += "?x-id=PutObject").is(403, "SignatureDoesNotMatch");
    changed(|sent| sent.headers[1].1 = "elsewhere".to_owned()).is(403, "SignatureDoesNotMatch");
    let mut other_hash = signed();
    set(&mut other_hash, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    client.send_as_it_is(&other_hash).is(403, "SignatureDoesNotMatch");
    let mut stale = client.request("PUT", "", b"content");
    set(&mut stale, "x-amz-date", "20200101T000000Z");
    client.send(stale).is(403, "RequestTimeTooSkewed");
    let unsigned = client.request("PUT", "", b"content");
    client.send_as_it_is(&unsigned).is(403, "AccessDenied");
    // A header that says what is asked must be under the signature.
    let mut without_token = client.request("PUT", "", b"content");
    without_token.headers.retain(|(name, _)| name != "x-amz-security-token");
    let mut without_token = client.sign(without_token);
    without_token.headers.push(("x-amz-security-token".to_owned(), client.credentials.session_token.to_string()));
    client.send_as_it_is(&without_token).is(403, "AccessDenied");
    for authorization in ["Bearer x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=, Signature=zz"]
    {
        client.send_as_it_is(&unsigned_with(&client, authorization)).is(400, "AuthorizationHeaderMalformed");
    }
    assert_nothing_kept(&site);
}

fn unsigned_with(client: &S3, authorization: &str) -> Sent {
    client.request("PUT", "", b"content").with("authorization", authorization)
}

#[test]
fn credentials_end_after_an_hour() {
    let site = BaseUrl::new();
    let now = now().time;
    let almost = site.credentials_at(&site.bob, now.plus_seconds(-3590));
    let client = S3::new(site.addr(), almost);
    client.send(client.request("PUT", "", b"in time")).is(200, "");
    let over = site.credentials_at(&site.bob, now.plus_seconds(-3601));
    let client = S3::new(site.addr(), over);
    client.send(client.request("PUT", "", b"late")).is(400, "ExpiredToken");
}

#[test]
fn credentials_are_for_their_own_key_and_nothing_else() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let other = site.client(&site.ada);
    let refused = |method, target: &str| {
        client.send(client.hashed(method, target, b"", "UNSIGNED-PAYLOAD")).is(403, "AccessDenied");
    };
    let own = client.path();
    for target in [
        other.path(),
        format!("/{BUCKET}"),
        format!("/{BUCKET}/"),
        format!("/{BUCKET}/../guildhall.db"),
        format!("/{BUCKET}/..%2fguildhall.db"),
        format!("/{BUCKET}/%2e%2e/guildhall.db"),
        format!("/{BUCKET}//etc/passwd"),
        format!("/{BUCKET}/..\\guildhall.db"),
        format!("/{BUCKET}/a%00b"),
        format!("/{BUCKET}/{}", "k".repeat(2000)),
        format!("{own}/"),
        format!("{own}?acl"),
        format!("{own}?tagging"),
        format!("{own}?partNumber=1"),
    ] {
        refused("PUT", &target);
    }
    for method in ["GET", "DELETE", "POST"] {
        refused(method, &own);
        refused(method, &format!("/{BUCKET}"));
    }
    refused("GET", &format!("/{BUCKET}?list-type=2"));
    let copy = client.request("PUT", "", b"").with("x-amz-copy-source", &other.path());
    client.send(copy).is(403, "AccessDenied");
    assert_nothing_kept(&site);
}

#[test]
fn nobody_uses_another_s_credentials() {
    let site = BaseUrl::new();
    let mut client = site.client(&site.bob);
    let ada = site.client(&site.ada);
    client.credentials.session_token = ada.credentials.session_token.clone();
    client.send(client.request("PUT", "", b"")).is(400, "InvalidToken");
    let mut client = site.client(&site.bob);
    client.credentials.secret_access_key = ada.credentials.secret_access_key.clone();
    client.send(client.request("PUT", "", b"")).is(403, "SignatureDoesNotMatch");
    assert_nothing_kept(&site);
    ada.send(ada.request("PUT", "", b"ada's")).is(200, "");
    for other in [&site.bob, &site.team] {
        assert!(matches!(site.take(other, &ada.credentials.s3_key), Err(Error::NotFound("upload"))));
    }
    site.take(&site.ada, &ada.credentials.s3_key).unwrap();
    let team = site.client(&site.team);
    team.send(team.request("PUT", "", b"the team's")).is(200, "");
    assert!(matches!(site.take(&site.ada, &team.credentials.s3_key), Err(Error::NotFound("upload"))));
    site.take(&site.team, &team.credentials.s3_key).unwrap();
}

#[test]
fn who_no_longer_stands_uploads_nothing() {
    let site = BaseUrl::new();
    let (bob, team) = (site.client(&site.bob), site.client(&site.team));
    site.sql(&format!("UPDATE api_key SET revoked_at = 1 WHERE prefix = '{}'", site.team.prefix()));
    team.send(team.request("PUT", "", b"")).is(403, "AccessDenied");
    site.sql("DELETE FROM team_member WHERE user_id = 'bob'");
    bob.send(bob.request("PUT", "", b"")).is(403, "AccessDenied");
    site.sql("DELETE FROM org_member WHERE user_id = 'bob'");
    bob.send(bob.request("PUT", "", b"")).is(403, "AccessDenied");
    assert_nothing_kept(&site);
}

#[test]
fn what_came_must_be_what_was_announced() {
    let site = BaseUrl::behind_tls();
    let client = site.client(&site.bob);
    let content = noise(600_000);
    let other_body = Sent { body: noise(600_001)[1..].to_vec(), ..client.sign(client.request("PUT", "", &content)) };
    client.send_as_it_is(&other_body).is(400, "XAmzContentSHA256Mismatch");
    let put = || client.hashed("PUT", &client.path(), &content, "UNSIGNED-PAYLOAD");
    client.send(put().with("x-amz-checksum-crc32", &crc32(b"other"))).is(400, "BadDigest");
    client.send(put().with("x-amz-checksum-sha256", &sha256(b"other"))).is(400, "BadDigest");
    client.send(put().with("x-amz-checksum-crc32", "not Base64")).is(400, "InvalidRequest");
    client.send(put().with("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")).is(501, "NotImplemented");
    client.send(put().with("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")).is(501, "NotImplemented");
    client.send(put().with("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")).is(501, "NotImplemented");
    client.send(client.chunked("", &[&content], &trailer(b"other"))).is(400, "BadDigest");
    client.send(client.chunked("", &[&content], "x-amz-checksum-sha256:AAAA\r\n")).is(400, "InvalidRequest");
    let trailed = |sum: &str| {
        let sent = client.chunked("", &[&content], &format!("x-amz-checksum-sha256:{sum}\r\n"));
        client.send(sent.with("x-amz-trailer", "x-amz-checksum-sha256"))
    };
    trailed(&sha256(b"other")).is(400, "BadDigest");
    client.send(client.chunked("", &[&content], "")).is(400, "InvalidRequest");
    let chunked = || client.chunked("", &[&content], &trailer(&content));
    client.send(chunked().with("x-amz-decoded-content-length", "600001")).is(400, "IncompleteBody");
    client.send(chunked().with("x-amz-decoded-content-length", "599999")).is(400, "IncompleteBody");
    let mut without_length = chunked();
    without_length.headers.retain(|(name, _)| name != "x-amz-decoded-content-length");
    client.send(without_length).is(411, "MissingContentLength");
    assert_nothing_kept(&site);
    client.send(put().with("x-amz-checksum-crc32", &crc32(&content))).is(200, "");
    client.send(put().with("x-amz-checksum-sha256", &sha256(&content))).is(200, "");
    trailed(&sha256(&content)).is(200, "");
    assert_kept(&site, &client, &content);
}

#[test]
fn an_archive_has_a_limit() {
    let site = BaseUrl::with(|limits| limits.uploads.archive_bytes_max = 6 << 20);
    let client = site.client(&site.bob);
    let long = noise((6 << 20) + 1);
    client.send_expecting(client.request("PUT", "", &long)).is(400, "EntityTooLarge");
    let upload = client.create();
    let parts = [client.part(&upload, 1, &long[..PART]), client.part(&upload, 2, &long[PART..])];
    client.complete(&upload, &parts).is(400, "EntityTooLarge");
    client.send(client.request("DELETE", &format!("?uploadId={upload}"), b"")).is(204, "");
    assert_nothing_kept(&site);
    client.send(client.request("PUT", "", &long[1..])).is(200, "");
    assert_kept(&site, &client, &long[1..]);
}

#[test]
fn an_organization_has_a_quota_and_what_is_under_way_counts() {
    let quotas = Settings { organization_archive_bytes: 1000, ..Settings::default() };
    let site = BaseUrl::with_quotas(quotas);
    let client = site.client(&site.bob);
    client.send(client.request("PUT", "", &noise(700))).is(200, "");
    // Sent again, it does not count twice.
    client.send(client.request("PUT", "", &noise(700))).is(200, "");
    let next = site.client(&site.ada);
    next.send_expecting(next.request("PUT", "", &noise(301))).is(429, "QuotaExceeded");
    let upload = next.create();
    let part = next.part(&upload, 1, &noise(200));
    let third = site.client(&site.ada);
    third.send_expecting(third.request("PUT", "", &noise(101))).is(429, "QuotaExceeded");
    next.complete(&upload, &[part]).is(200, "");
    site.settles();
    third.send(third.request("PUT", "", &noise(100))).is(200, "");
}

#[test]
fn an_archive_that_is_there_is_not_replaced() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    client.send(client.request("PUT", "", b"deployed")).is(200, "");
    client.send(client.request("PUT", "", b"before it is used")).is(409, "OperationAborted");
    let upload = client.create();
    let part = client.part(&upload, 1, b"in parts");
    client.complete(&upload, &[part]).is(409, "OperationAborted");
    client.send(client.request("DELETE", &format!("?uploadId={upload}"), b"")).is(204, "");
    assert_kept(&site, &client, b"deployed");
    client.send(client.request("PUT", "", b"changed")).is(409, "OperationAborted");
    client.send(client.request("PUT", "", b"deployed")).is(200, "");
    assert_kept(&site, &client, b"deployed");
    assert_eq!(site.files("archives").len(), 1);
    assert_eq!(site.count("SELECT count(*) FROM audit WHERE event_type = 'ARCHIVE_UPLOADED'"), 1);
}

#[test]
fn a_client_that_stalls_or_leaves_holds_nothing() {
    let site = BaseUrl::with(|limits| limits.uploads.stalled = Duration::from_millis(200));
    let client = site.client(&site.bob);
    let sent = client.sign(client.request("PUT", "", &noise(1_000_000)));
    let mut stalls = client.connect();
    stalls.write_all(&head(&sent)).unwrap();
    stalls.write_all(&sent.body[..700_000]).unwrap();
    read(&mut stalls).is(400, "RequestTimeout");
    let mut leaves = client.connect();
    leaves.write_all(&head(&sent)).unwrap();
    leaves.write_all(&sent.body[..700_000]).unwrap();
    drop(leaves);
    assert_nothing_kept(&site);
}

/// Sets a file's time so many hours back.
pub fn age(path: &std::path::Path, hours: u64) {
    let then = std::time::SystemTime::now() - Duration::from_secs(hours * 60 * 60);
    std::fs::File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn a_start_sweeps_what_was_under_way_and_what_no_upload_names() {
    let site = BaseUrl::new();
    let (used, unused) = (site.client(&site.bob), site.client(&site.bob));
    used.send(used.request("PUT", "", b"used")).is(200, "");
    unused.send(unused.request("PUT", "", b"unused")).is(200, "");
    assert_kept(&site, &used, b"used");
    let upload = unused.create();
    unused.part(&upload, 1, b"under way");
    std::fs::write(site.data().join("uploads/999"), "from a process that was killed").unwrap();
    let nobody_s = site.data().join("archives/00");
    std::fs::create_dir(&nobody_s).unwrap();
    std::fs::write(nobody_s.join("00".repeat(32)), "placed, and killed before its row").unwrap();
    site.sql("UPDATE upload SET uploaded_at = 0");
    site.files("archives").iter().for_each(|path| age(path, 25));
    let site = site.restart();
    site.sweeps_to(1);
    assert_kept(&site, &used, b"used");
    assert!(matches!(site.take(&site.bob, &unused.credentials.s3_key), Err(Error::NotFound("upload"))));
}

#[test]
fn an_archive_that_was_named_otherwise_before_stays() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    client.send(client.request("PUT", "", b"from before")).is(200, "");
    let old = Archive { hash: Sha256::digest(b"from before").into(), bytes: 11 };
    std::fs::create_dir_all(old.path(site.data()).parent().unwrap()).unwrap();
    std::fs::rename(site.files("archives").pop().unwrap(), old.path(site.data())).unwrap();
    site.sql(&format!("UPDATE upload SET hash = x'{}'", old.hex()));
    let nobody_s = site.data().join("archives/00");
    std::fs::create_dir(&nobody_s).unwrap();
    std::fs::write(nobody_s.join("00".repeat(32)), "swept").unwrap();
    site.files("archives").iter().for_each(|path| age(path, 25));
    let site = site.restart();
    site.sweeps_to(1);
    assert_eq!(site.take(&site.bob, &client.credentials.s3_key).unwrap(), old);
    assert_eq!(std::fs::read(old.path(site.data())).unwrap(), b"from before");
}

#[test]
fn a_kill_in_the_middle_leaves_no_row_and_the_next_start_no_file() {
    let data = tempfile::tempdir().unwrap();
    let key = init(data.path());
    let server = Serving::start(data.path());
    let (_, granted) = Client::new(server.addr, &key).send("GET", "/v1/blobs/credentials/model", None).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let credentials = Credentials {
        s3_key: text(&granted["s3_key"]),
        access_key_id: text(&granted["creds"]["aws_access_key_id"]),
        secret_access_key: text(&granted["creds"]["aws_secret_access_key"]).into(),
        session_token: text(&granted["creds"]["aws_session_token"]).into(),
    };
    let mut client = S3::new(server.addr, credentials);
    let content = noise(20_000_000);
    let sent = client.sign(client.request("PUT", "", &content));
    let mut socket = client.connect();
    socket.write_all(&head(&sent)).unwrap();
    socket.write_all(&content[..19_000_000]).unwrap();
    let in_progress = || site::files(&data.path().join("uploads"));
    while in_progress().iter().all(|path| std::fs::metadata(path).unwrap().len() < 10_000_000) {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.kill();
    assert_eq!(in_progress().len(), 1);
    let sql = rusqlite::Connection::open(data.path().join("guildhall.db")).unwrap();
    let rows = || sql.query_row("SELECT count(*) FROM upload", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(rows(), 0);
    let server = Serving::start(data.path());
    assert_eq!(in_progress(), Vec::<std::path::PathBuf>::new());
    client.addr = server.addr;
    client.send(client.request("PUT", "", &content)).is(200, "");
    assert_eq!(rows(), 1);
}

#[test]
fn credentials_over_http() {
    let site = BaseUrl::new();
    let ask = |key: &str, path: &str| {
        let request = Request {
            method: "GET".to_owned(),
            base_url: guildhall::domain::BaseUrl::of_host("127.0.0.1:8000").unwrap(),
            s3_hosts: S3Hosts::default(),
            mailing: Default::default(),
            callee: None,
            path: path.split('/').map(str::to_owned).collect(),
            query: Vec::new(),
            authorization: Some(format!("Bearer {key}")),
            user_agent: None,
            content_type: None,
            browser: Default::default(),
            body: bytes::Bytes::new(),
            from: Listener::Network,
            at: now().time,
            seed: rand::random(),
            log: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let reply = runtime.block_on(answer(&Arc::clone(&site.app), request));
        (reply.status, serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap())
    };
    for (path, begins) in [("v1/blobs/credentials/model", "models/"), ("v1/blobs/credentials/train", "training/")] {
        let (status, body) = ask(site.team.reveal(), path);
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["s3_bucket"], BUCKET);
        assert!(body["s3_key"].as_str().unwrap().starts_with(begins));
        assert_eq!(body["creds"]["endpoint_url"], "http://127.0.0.1:8000");
        assert_eq!(body["creds"]["region_name"], "us-east-1");
        assert_eq!(body["creds"]["aws_access_key_id"].as_str().unwrap().len(), 20);
        assert_eq!(ask(site.invoke.reveal(), path).0, 403);
        assert_eq!(ask("guild_nokey", path).0, 401);
    }
    site.sql("DELETE FROM team_member WHERE user_id = 'bob'");
    assert_eq!(ask(site.bob.reveal(), "v1/blobs/credentials/model").0, 403);
}
