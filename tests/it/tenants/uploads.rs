//! The S3 interface: what a team starts, reserves or claims there does not affect other teams.

use std::io::Write as _;
use std::net::TcpStream;

use super::site::{BaseUrl, Tenant};
use crate::uploads::s3::{S3, head, noise, part_query};

/// Opens uploads in parts until one is refused. Gives how many it got.
fn open_until_refused(tenant: &Tenant, times: usize) -> usize {
    let s3 = tenant.upload();
    (0..times).take_while(|_| s3.send(s3.request("POST", "?uploads", b"")).status == 200).count()
}

/// An archive goes up in two parts.
fn upload_in_parts(tenant: &Tenant) {
    let s3 = tenant.upload();
    let upload = s3.create();
    let parts = [s3.part(&upload, 1, &noise(5 << 20)), s3.part(&upload, 2, &noise(1000))];
    s3.complete(&upload, &parts).is(200, "");
}

#[test]
fn uploads_that_one_team_begins_are_no_other_team_s() {
    let mut site = BaseUrl::new();
    let other = site.hostile.another_team();
    site.beside("1,100 uploads begun", |hostile| {
        let got = open_until_refused(hostile, 1100);
        assert!(got < 1100, "there is no end to them");
    });
    upload_in_parts(&other);
    upload_in_parts(&site.neighbour);
    // One upload in many small parts.
    site.beside("400 parts of one upload", |_| {
        let s3 = other.upload();
        let upload = s3.create();
        for number in 1..=400 {
            let sent = s3.request("PUT", &part_query(&upload, number), b"p");
            if s3.send(sent).status != 200 {
                break;
            }
        }
    });
    upload_in_parts(&site.neighbour);
    site.assert_restarts("uploads begun");
    upload_in_parts(&site.hostile);
}

/// Sends the head of this request and as much of the body.
fn begin(s3: &S3, query: &str, declared: u64, body: &[u8]) -> TcpStream {
    let sent = s3.request("PUT", query, b"").with("content-length", &declared.to_string());
    let sent = s3.sign(sent.with("x-amz-content-sha256", &"0".repeat(64)));
    let mut socket = s3.connect();
    let _ = socket.write_all(&head(&sent));
    let _ = socket.write_all(body);
    socket
}

#[test]
fn lengths_that_are_only_declared_take_no_room() {
    let mut site = BaseUrl::new();
    let other = site.hostile.another_team();
    let piece = noise(64 << 10);
    site.beside("40 archives of 5 GB declared, hardly sent", |hostile| {
        let s3 = hostile.upload();
        let held: Vec<_> = (0..40).map(|_| begin(&s3, "", 5_000_000_000, &piece)).collect();
        let upload = s3.create();
        let parts: Vec<_> =
            (1..=40).map(|number| begin(&s3, &part_query(&upload, number), 4_900_000_000, &piece)).collect();
        upload_in_parts(&other);
        drop((held, parts));
    });
    upload_in_parts(&site.neighbour);
}

#[test]
fn every_operation_bears_what_is_hostile() {
    let mut site = BaseUrl::new();
    let entity = |levels: usize| {
        let mut text = "<!DOCTYPE l [<!ENTITY e0 \"lol\">".to_owned();
        for level in 1..levels {
            text += &format!("<!ENTITY e{level} \"{}\">", format!("&e{};", level - 1).repeat(10));
        }
        text + &format!("]><CompleteMultipartUpload>&e{};</CompleteMultipartUpload>", levels - 1)
    };
    let part = |number: usize| format!("<Part><ETag>\"{number}\"</ETag><PartNumber>{number}</PartNumber></Part>");
    let lists = [
        entity(12),
        format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", (1..26_000).map(part).collect::<String>()),
        "<a>".repeat(300_000),
        format!("<CompleteMultipartUpload {}/>", (0..60_000).map(|at| format!("a{at}=\"\" ")).collect::<String>()),
        format!("<CompleteMultipartUpload><Part><ETag>{}", "&quot;".repeat(300_000)),
    ];
    site.beside("lists of parts", |hostile| {
        let s3 = hostile.upload();
        let upload = s3.create();
        for list in &lists {
            let answer = s3.send(s3.request("POST", &format!("?uploadId={upload}"), list.as_bytes()));
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
    });
    site.beside("chunks of one byte", |hostile| {
        let s3 = hostile.upload();
        let content = noise(120_000);
        let chunks: Vec<&[u8]> = content.chunks(1).collect();
        let answer = s3.send(s3.chunked("", &chunks, &crate::uploads::s3::trailer(&content)));
        assert!(answer.status == 200 || (400..500).contains(&answer.status), "{answer:?}");
    });
    site.beside("a chunk's line without an end", |hostile| {
        let s3 = hostile.upload();
        let body = format!("1;{}", "x".repeat(3 << 20));
        let sent = s3.hashed("PUT", &s3.path(), body.as_bytes(), "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let sent = sent.with("content-encoding", "aws-chunked").with("x-amz-decoded-content-length", "1");
        let answer = s3.send(sent.with("x-amz-trailer", "x-amz-checksum-crc32"));
        assert!((400..500).contains(&answer.status), "{answer:?}");
    });
    site.beside("heads of many parameters, to each operation", |hostile| {
        let s3 = hostile.upload();
        let many: String = (0..2500).map(|at| format!("&p{at}=v")).collect();
        for (method, query) in [
            ("PUT", format!("?x-id=PutObject{many}")),
            ("POST", format!("?uploads{many}")),
            ("PUT", format!("?partNumber=1&uploadId=x{many}")),
            ("POST", format!("?uploadId=x{many}")),
            ("DELETE", format!("?uploadId=x{many}")),
            ("GET", format!("?list-type=2{many}")),
        ] {
            let answer = s3.send(s3.request(method, &query, b""));
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
    });
    site.assert_restarts("operations");
    upload_in_parts(&site.neighbour);
}
