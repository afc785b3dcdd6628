//! Multipart uploads: parts in any order, in parallel, repeated or wrongly listed, and uploads that are aborted.

use std::io::Write as _;
use std::time::Duration;

use super::s3::{crc32, head, noise, part_query, read, sha256};
use super::site::BaseUrl;
use super::{PART, assert_kept, assert_nothing_kept};

#[test]
fn parts_come_in_any_order_and_at_once() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(4 * PART + 7);
    let upload = client.create();
    let parts = std::thread::scope(|scope| {
        let send = |(at, part)| {
            let (client, upload) = (&client, &upload);
            scope.spawn(move || client.part(upload, at as u16 + 1, part))
        };
        let sent: Vec<_> = content.chunks(PART).enumerate().rev().map(send).collect();
        sent.into_iter().rev().map(|part| part.join().unwrap()).collect::<Vec<_>>()
    });
    let completed = client.complete(&upload, &parts).is(200, "");
    assert!(completed.element("ETag").ends_with("-5\""), "{completed:?}");
    // A client that did not hear of it asks again.
    assert_eq!(client.complete(&upload, &parts).is(200, "").element("ETag"), completed.element("ETag"));
    assert_kept(&site, &client, &content);
    let late = client.request("PUT", &part_query(&upload, 1), b"late");
    client.send(late).is(404, "NoSuchUpload");
}

#[test]
fn parts_that_begin_in_the_midst_of_a_subtree_are_read_again() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(2 * PART + 3);
    let upload = client.create();
    let parts: Vec<String> =
        content.chunks(PART + 1).enumerate().map(|(at, part)| client.part(&upload, at as u16 + 1, part)).collect();
    client.complete(&upload, &parts).is(200, "");
    assert_kept(&site, &client, &content);
}

#[test]
fn a_checksum_of_the_whole_is_checked_when_the_parts_are_there() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(2 * PART);
    let upload = client.create();
    let parts = [client.part(&upload, 1, &content[..PART]), client.part(&upload, 2, &content[PART..])];
    let completion = |name: &str, sum: &str| client.send(client.completion(&upload, &parts).with(name, sum));
    completion("x-amz-checksum-crc32", &crc32(b"other")).is(400, "BadDigest");
    completion("x-amz-checksum-sha256", &sha256(b"other")).is(400, "BadDigest");
    assert_eq!(site.count("SELECT count(*) FROM upload"), 0);
    completion("x-amz-checksum-sha256", &sha256(&content)).is(200, "");
    assert_kept(&site, &client, &content);
    let client = site.client(&site.bob);
    let upload = client.create();
    let parts = [client.part(&upload, 1, &content[..PART]), client.part(&upload, 2, &content[PART..])];
    client.send(client.completion(&upload, &parts).with("x-amz-checksum-crc32", &crc32(&content))).is(200, "");
    assert_kept(&site, &client, &content);
}

#[test]
fn parts_side_by_side_are_the_archive_and_what_is_not_listed_is_not_in_it() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(3 * PART + 9);
    let upload = client.create();
    let mut parts: Vec<String> =
        content.chunks(PART).enumerate().map(|(at, part)| client.part(&upload, at as u16 + 1, part)).collect();
    client.part(&upload, 5, b"not listed");
    assert_eq!(site.files("uploads").len(), 1);
    // Of a part sent again, the later counts.
    let again = noise(PART + 1)[1..].to_vec();
    parts[1] = client.part(&upload, 2, &again);
    assert_eq!(site.files("uploads").len(), 2);
    let other = site.client(&site.bob);
    let upload_of_first = other.create();
    let first: Vec<String> =
        content.chunks(PART).enumerate().map(|(at, part)| other.part(&upload_of_first, at as u16 + 1, part)).collect();
    other.part(&upload_of_first, 9, b"not listed");
    other.complete(&upload_of_first, &first).is(200, "");
    client.complete(&upload, &parts).is(200, "");
    let expected = [&content[..PART], &again, &content[2 * PART..]].concat();
    assert_kept(&site, &client, &expected);
    assert_eq!(site.files("archives").len(), 2);
    assert!(site.files("archives").iter().any(|path| std::fs::read(path).unwrap() == content));
}

#[test]
fn a_part_that_is_still_written_does_not_reach_the_archive() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(2 * PART);
    let upload = client.create();
    let parts = [client.part(&upload, 1, &content[..PART]), client.part(&upload, 2, &content[PART..])];
    let late = client.sign(client.request("PUT", &part_query(&upload, 3), &content[..PART]));
    let mut socket = client.connect();
    socket.write_all(&head(&late)).unwrap();
    socket.write_all(&late.body[..PART / 2]).unwrap();
    let begun = |path: &std::path::PathBuf| std::fs::metadata(path).unwrap().len() > 2 * PART as u64;
    while !site.files("uploads").iter().any(begun) {
        std::thread::sleep(Duration::from_millis(5));
    }
    client.complete(&upload, &parts).is(200, "");
    socket.write_all(&late.body[PART / 2..]).unwrap();
    read(&mut socket).is(404, "NoSuchUpload");
    assert_kept(&site, &client, &content);
}

#[test]
fn a_part_sent_again_has_the_tag_that_it_had() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let content = noise(2 * PART);
    let upload = client.create();
    let parts = [client.part(&upload, 1, &content[..PART]), client.part(&upload, 2, &content[PART..])];
    assert_eq!(client.part(&upload, 2, &content[PART..]), parts[1]); // though it stands in another file
    client.complete(&upload, &parts).is(200, "");
    assert_kept(&site, &client, &content);
}

#[test]
fn a_part_sent_again_replaces_the_first() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let upload = client.create();
    let first = client.part(&upload, 7, b"first");
    let second = client.part(&upload, 7, b"second");
    client.complete(&upload, &[first]).is(400, "InvalidPart");
    client.complete(&upload, &[second]).is(200, "");
    assert_kept(&site, &client, b"second");
}

#[test]
fn a_wrong_list_of_parts_completes_nothing() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let upload = client.create();
    let (one, two) = (client.part(&upload, 1, b"short"), client.part(&upload, 2, b"last"));
    client.complete(&upload, &[two.clone(), one.clone()]).is(400, "InvalidPartOrder");
    client.complete(&upload, &[one.clone(), one.clone()]).is(400, "InvalidPartOrder");
    client.complete(&upload, &[one.clone(), two.clone()]).is(400, "EntityTooSmall");
    client.complete(&upload, &[one.clone(), two.replace("2<", "3<")]).is(400, "InvalidPart");
    client.complete(&upload, &[]).is(400, "MalformedXML");
    client.complete(&upload, &["<Part><ETag>x</ETag></Part>".to_owned()]).is(400, "MalformedXML");
    client.complete("0000", std::slice::from_ref(&one)).is(404, "NoSuchUpload");
    assert_eq!(site.count("SELECT count(*) FROM upload"), 0);
    client.complete(&upload, &[one]).is(200, "");
    assert_kept(&site, &client, b"short");
}

#[test]
fn an_aborted_upload_leaves_nothing() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let upload = client.create();
    let part = client.part(&upload, 1, &noise(100_000));
    client.send(client.request("DELETE", &format!("?uploadId={upload}"), b"")).is(204, "");
    client.complete(&upload, &[part]).is(404, "NoSuchUpload");
    assert_nothing_kept(&site);
}
