//! S3 features beyond storing bytes that clients request: each is supported or refused by name, and never ignored.

use super::s3::{S3, crc32, noise, part_query, sha256, trailer};
use super::site::BaseUrl;
use super::{PART, assert_kept, assert_nothing_kept};

#[test]
fn over_plain_http_the_body_is_signed_too() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let unsigned = client.hashed("PUT", &client.path(), b"unsigned", "UNSIGNED-PAYLOAD");
    let told = client.send_expecting(unsigned).is(403, "AccessDenied");
    assert!(told.element("Message").contains("x-amz-content-sha256"), "{told:?}");
    client.send(client.chunked("", &[b"chunked"], &trailer(b"chunked"))).is(403, "AccessDenied");
    let upload = client.create();
    let part = format!("{}{}", client.path(), part_query(&upload, 1));
    client.send(client.hashed("PUT", &part, b"part", "UNSIGNED-PAYLOAD")).is(403, "AccessDenied");
    let part = client.part(&upload, 1, b"part");
    let mut completion = client.completion(&upload, &[part]);
    completion = completion.with("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    client.send(completion).is(403, "AccessDenied");
    client.send(client.request("DELETE", &format!("?uploadId={upload}"), b"")).is(204, "");
    assert_nothing_kept(&site);
}

#[test]
fn a_request_that_is_sent_once_more_with_another_body_replaces_nothing() {
    let site = BaseUrl::behind_tls();
    let client = site.client(&site.bob);
    let mut sent = client.sign(client.hashed("PUT", &client.path(), b"original", "UNSIGNED-PAYLOAD"));
    client.send_as_it_is(&sent).is(200, "");
    sent.body = b"replayed".to_vec();
    client.send_as_it_is(&sent).is(409, "OperationAborted");
    assert_kept(&site, &client, b"original");
}

#[test]
fn nothing_is_stored_where_something_must_not_be() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let put = |body: &[u8]| client.send(client.request("PUT", "", body).with("if-none-match", "*"));
    put(b"first").is(200, "");
    put(b"first").is(412, "PreconditionFailed");
    put(b"second").is(412, "PreconditionFailed");
    let expecting = client.request("PUT", "", b"second").with("if-none-match", "*");
    client.send_expecting(expecting).is(412, "PreconditionFailed"); // before its body is read
    let upload = client.create();
    let parts = [client.part(&upload, 1, b"first")];
    let completion = || client.completion(&upload, &parts);
    client.send(completion().with("if-none-match", "*")).is(412, "PreconditionFailed");
    client.send(completion()).is(200, "");
    client.send(completion().with("if-none-match", "*")).is(412, "PreconditionFailed");
    for (name, value) in [
        ("if-none-match", "\"an etag\""),
        ("if-match", "\"an etag\""),
        ("if-match", "*"),
        ("if-modified-since", "Thu, 26 Nov 2026 00:00:00 GMT"),
        ("if-unmodified-since", "Thu, 26 Nov 2026 00:00:00 GMT"),
    ] {
        client.send(client.request("PUT", "", b"first").with(name, value)).is(501, "NotImplemented");
        client.send(completion().with(name, value)).is(501, "NotImplemented");
    }
    assert_kept(&site, &client, b"first");
}

#[test]
fn an_upload_in_parts_is_stored_where_nothing_is() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let upload = client.create();
    let parts = [client.part(&upload, 1, b"in parts")];
    client.send(client.completion(&upload, &parts).with("if-none-match", "*")).is(200, "");
    assert_kept(&site, &client, b"in parts");
}

#[test]
fn what_is_not_done_is_refused_by_its_name() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let upload = client.create();
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "key"),
        ("x-amz-server-side-encryption-context", "e30="),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-server-side-encryption-customer-key", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
        ("x-amz-server-side-encryption-customer-key-md5", "hRasmdxgYDKV3nvbahU1MA=="),
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-website-redirect-location", "/"),
        ("x-amz-write-offset-bytes", "0"),
    ] {
        let part = part_query(&upload, 1);
        for (method, query) in [("PUT", ""), ("PUT", part.as_str()), ("POST", "?uploads")] {
            let told = client.send(client.request(method, query, b"").with(name, value)).is(501, "NotImplemented");
            assert!(told.element("Message").contains(&format!("`{name}`")), "{told:?}");
        }
    }
    client.send(client.request("DELETE", &format!("?uploadId={upload}"), b"")).is(204, "");
    assert_nothing_kept(&site);
    let private = client.request("PUT", "", b"content").with("x-amz-acl", "private");
    client.send(private.with("x-amz-storage-class", "STANDARD")).is(200, "");
    assert_kept(&site, &client, b"content");
}

#[test]
fn the_number_of_a_part_is_one_of_ten_thousand() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let upload = client.create();
    for number in ["0", "10001", "65537", "99999999999999999999", "-1", "%2B1", "1.0", "one", ""] {
        let part = client.request("PUT", &format!("?partNumber={number}&uploadId={upload}"), b"part");
        client.send(part).is(400, "InvalidArgument");
    }
    let last = client.part(&upload, 10_000, b"last");
    for number in ["0", "10001", "99999999999999999999", "-1", "+1", "one"] {
        let listed = last.replace("10000", number);
        client.complete(&upload, &[listed]).is(400, "InvalidArgument");
    }
    client.complete(&upload, &[last]).is(200, "");
    assert_kept(&site, &client, b"last");
}

/// An upload of two parts, the first with its CRC-32 and the second with its SHA-256 beside the bytes.
struct TwoParts {
    site: BaseUrl,
    client: S3,
    upload: String,
    content: Vec<u8>,
    parts: [String; 2],
}

impl TwoParts {
    fn new() -> TwoParts {
        let site = BaseUrl::new();
        let client = site.client(&site.bob);
        let content = noise(PART + 10);
        let upload = client.create();
        let parts = [client.part(&upload, 1, &content[..PART]), client.part(&upload, 2, &content[PART..])];
        TwoParts { site, client, upload, content, parts }
    }

    fn halves(&self) -> (&[u8], &[u8]) {
        self.content.split_at(PART)
    }

    /// Both parts, with an element more in each.
    fn listed(&self, first: &str, second: &str) -> [String; 2] {
        let with = |part: &String, more: &str| part.replace("</Part>", &format!("{more}</Part>"));
        [with(&self.parts[0], first), with(&self.parts[1], second)]
    }
}

fn crc32_of(bytes: &[u8]) -> String {
    format!("<ChecksumCRC32>{}</ChecksumCRC32>", crc32(bytes))
}

fn sha256_of(bytes: &[u8]) -> String {
    format!("<ChecksumSHA256>{}</ChecksumSHA256>", sha256(bytes))
}

#[test]
fn the_checksums_of_listed_parts_are_checked() {
    let two = TwoParts::new();
    let (first, second) = two.halves();
    let complete = |one: &str, other: &str| two.client.complete(&two.upload, &two.listed(one, other));
    for (one, other) in [
        (crc32_of(b"other"), crc32_of(second)),
        (crc32_of(first), crc32_of(b"other")),
        (sha256_of(b"other"), sha256_of(second)),
        (crc32_of(first) + &sha256_of(b"other"), String::new()),
    ] {
        complete(&one, &other).is(400, "InvalidPart");
    }
    complete("<ChecksumCRC32>not Base64</ChecksumCRC32>", "").is(400, "InvalidRequest");
    for name in ["CRC32C", "CRC64NVME", "SHA1"] {
        complete(&format!("<Checksum{name}>AAAAAA==</Checksum{name}>"), "").is(501, "NotImplemented");
    }
    complete("<PartNumber>2</PartNumber>", "").is(400, "MalformedXML");
    assert_eq!(two.site.count("SELECT count(*) FROM upload"), 0);
    complete(&crc32_of(first), &sha256_of(second)).is(200, "");
    assert_kept(&two.site, &two.client, &two.content);
}

#[test]
fn the_length_of_the_whole_is_checked() {
    let two = TwoParts::new();
    let complete = |bytes: &str| {
        let completion = two.client.completion(&two.upload, &two.parts);
        two.client.send(completion.with("x-amz-mp-object-size", bytes))
    };
    let bytes = two.content.len();
    for wrong in [(bytes - 1).to_string(), (bytes + 1).to_string(), "0".to_owned(), "-1".to_owned(), "x".to_owned()] {
        complete(&wrong).is(400, "InvalidRequest");
    }
    assert_eq!(two.site.count("SELECT count(*) FROM upload"), 0);
    complete(&bytes.to_string()).is(200, "");
    complete(&bytes.to_string()).is(200, "");
    complete("1").is(400, "InvalidRequest"); // also of what is complete
    let [first, _] = &two.parts;
    two.client.complete(&two.upload, std::slice::from_ref(first)).is(409, "OperationAborted");
    assert_kept(&two.site, &two.client, &two.content);
}

#[test]
fn a_checksum_of_the_checksums_of_the_parts_is_checked() {
    let two = TwoParts::new();
    let (first, second) = two.halves();
    let crcs = [first, second].map(|part| crc32fast::hash(part).to_be_bytes()).concat();
    let shas = [first, second].map(<sha2::Sha256 as sha2::Digest>::digest).concat();
    let complete =
        |name: &str, sum: String| two.client.send(two.client.completion(&two.upload, &two.parts).with(name, &sum));
    complete("x-amz-checksum-crc32", crc32(b"other") + "-2").is(400, "BadDigest");
    complete("x-amz-checksum-crc32", crc32(&crcs) + "-3").is(400, "BadDigest");
    complete("x-amz-checksum-sha256", sha256(b"other") + "-2").is(400, "BadDigest");
    complete("x-amz-checksum-sha256", sha256(&shas) + "-x").is(400, "InvalidRequest");
    assert_eq!(two.site.count("SELECT count(*) FROM upload"), 0);
    complete("x-amz-checksum-sha256", sha256(&shas) + "-2").is(200, "");
    assert_kept(&two.site, &two.client, &two.content);
    let two = TwoParts::new();
    let completion = two.client.completion(&two.upload, &two.parts);
    two.client.send(completion.with("x-amz-checksum-crc32", &(crc32(&crcs) + "-2"))).is(200, "");
    assert_kept(&two.site, &two.client, &two.content);
}

#[test]
fn a_wrong_checksum_of_a_part_refuses_the_part() {
    let site = BaseUrl::behind_tls();
    let client = site.client(&site.bob);
    let upload = client.create();
    let part = || client.request("PUT", &part_query(&upload, 1), b"part");
    client.send(part().with("x-amz-checksum-crc32", &crc32(b"other"))).is(400, "BadDigest");
    client.send(part().with("x-amz-checksum-sha256", &sha256(b"other"))).is(400, "BadDigest");
    client.send(part().with("x-amz-checksum-crc32", &(crc32(b"part") + "-1"))).is(400, "BadDigest");
    client.send(client.chunked(&part_query(&upload, 1), &[b"part"], &trailer(b"other"))).is(400, "BadDigest");
    client.send(client.request("DELETE", &format!("?uploadId={upload}"), b"")).is(204, "");
    assert_nothing_kept(&site);
}

#[test]
fn a_signature_for_another_host_says_which_host_it_was() {
    let site = BaseUrl::new();
    let client = site.client(&site.bob);
    let mut sent = client.sign(client.request("PUT", "", b"content"));
    let host = sent.headers.iter_mut().find(|(name, _)| name == "host").unwrap();
    host.1 = format!("{}.example.com", "h".repeat(100));
    let told = client.send_as_it_is(&sent).is(403, "SignatureDoesNotMatch");
    let message = told.element("Message");
    assert!(message.contains(&"h".repeat(59)) && !message.contains(&"h".repeat(61)), "{message}");
    assert_nothing_kept(&site);
}
