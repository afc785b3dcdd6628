//! An S3 client with its own implementation of Signature Version 4.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use guildhall::domain::uploads::BUCKET;
use guildhall::domain::uploads::Credentials;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

/// A client with the credentials of one upload.
pub struct S3 {
    pub addr: SocketAddr,
    pub credentials: Credentials,
}

/// A request to be signed. What a test changes after that is not covered.
pub struct Sent {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The text of an element.
    pub fn element(&self, name: &str) -> &str {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let rest = self.body.split_once(&open).unwrap_or_else(|| panic!("no {name} in {}", self.body)).1;
        rest.split_once(&close).unwrap().0
    }

    #[track_caller]
    pub fn is(self, status: u16, code: &str) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        if !code.is_empty() {
            assert_eq!(self.element("Code"), code, "{self:?}");
        }
        self
    }
}

impl S3 {
    pub fn new(addr: SocketAddr, credentials: Credentials) -> S3 {
        S3 { addr, credentials }
    }

    pub fn path(&self) -> String {
        format!("/{BUCKET}/{}", self.credentials.s3_key)
    }

    /// A request on the granted key, its body's hash signed.
    pub fn request(&self, method: &'static str, query: &str, body: &[u8]) -> Sent {
        self.hashed(method, &format!("{}{query}", self.path()), body, &hex(&Sha256::digest(body)))
    }

    pub fn hashed(&self, method: &'static str, target: &str, body: &[u8], content: &str) -> Sent {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let headers = [
            ("host", self.addr.to_string()),
            ("content-length", body.len().to_string()),
            ("x-amz-date", OffsetDateTime::now_utc().format(format).unwrap()),
            ("x-amz-content-sha256", content.to_owned()),
            ("x-amz-security-token", self.credentials.session_token.to_string()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Sent { method, target: target.to_owned(), headers, body: body.to_vec() }
    }

    /// As the Go SDK sends it: all of it in one chunk, its CRC-32 behind it.
    pub fn chunked(&self, query: &str, chunks: &[&[u8]], trailer: &str) -> Sent {
        let mut body = Vec::new();
        for chunk in chunks {
            body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
        let target = format!("{}{query}", self.path());
        let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        self.hashed("PUT", &target, &body, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .with("content-encoding", "aws-chunked")
            .with("x-amz-decoded-content-length", &bytes.to_string())
            .with("x-amz-trailer", "x-amz-checksum-crc32")
    }

    pub fn send(&self, sent: Sent) -> Answer {
        let signed = self.sign(sent);
        self.send_as_it_is(&signed)
    }

    pub fn sign(&self, mut sent: Sent) -> Sent {
        sent.headers.sort();
        let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
        let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        pairs.iter_mut().filter(|pair| !pair.contains('=')).for_each(|pair| pair.push('='));
        pairs.sort();
        let names: Vec<&str> = sent.headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let headers: String = sent.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let header = |name: &str| sent.headers.iter().find(|(key, _)| key == name).unwrap().1.as_str();
        let (date, content) = (header("x-amz-date"), header("x-amz-content-sha256"));
        let canonical = format!("{}\n{path}\n{}\n{headers}\n{names}\n{content}", sent.method, pairs.join("&"));
        let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let secret = format!("AWS4{}", *self.credentials.secret_access_key);
        let key = scope.split('/').fold(secret.into_bytes(), |key, part| hmac(&key, part));
        let id = &self.credentials.access_key_id;
        let signature = hex(&hmac(&key, &to_sign));
        sent.headers.push((
            "authorization".to_owned(),
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"),
        ));
        sent
    }

    pub fn send_as_it_is(&self, sent: &Sent) -> Answer {
        let mut socket = self.connect();
        socket.write_all(&head(sent)).unwrap();
        let _ = socket.write_all(&sent.body); // refused, the rest may find the socket closed
        read(&mut socket)
    }

    /// Sends the head, waits for leave to go on, and sends the body.
    pub fn send_expecting(&self, sent: Sent) -> Answer {
        let sent = self.sign(sent.with("expect", "100-continue"));
        let mut socket = self.connect();
        socket.write_all(&head(&sent)).unwrap();
        let answer = read(&mut socket);
        if answer.status != 100 {
            return answer;
        }
        socket.write_all(&sent.body).unwrap();
        read(&mut socket)
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    pub fn create(&self) -> String {
        self.send(self.request("POST", "?uploads", b"")).is(200, "").element("UploadId").to_owned()
    }

    /// Sends a part, from where it stands, and gives what is listed of it.
    pub fn part(&self, upload_id: &str, number: u16, body: &[u8]) -> String {
        let target = format!("{}{}", self.path(), part_query(upload_id, number));
        let sent = self.hashed("PUT", &target, b"", &hex(&Sha256::digest(body)));
        let sent = self.sign(sent.with("content-length", &body.len().to_string()));
        let mut socket = self.connect();
        socket.write_all(&head(&sent)).unwrap();
        socket.write_all(body).unwrap();
        let answer = read(&mut socket).is(200, "");
        let tag = answer.header("etag").unwrap();
        format!("<Part><ETag>{}</ETag><PartNumber>{number}</PartNumber></Part>", tag.replace('"', "&quot;"))
    }

    pub fn complete(&self, upload_id: &str, parts: &[String]) -> Answer {
        self.send(self.completion(upload_id, parts))
    }

    pub fn completion(&self, upload_id: &str, parts: &[String]) -> Sent {
        let list = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.concat());
        self.request("POST", &format!("?uploadId={upload_id}"), list.as_bytes())
    }
}

impl Sent {
    pub fn with(mut self, name: &str, value: &str) -> Sent {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub fn part_query(upload_id: &str, number: u16) -> String {
    format!("?partNumber={number}&uploadId={upload_id}")
}

pub fn crc32(bytes: &[u8]) -> String {
    BASE64.encode(crc32fast::hash(bytes).to_be_bytes())
}

pub fn sha256(bytes: &[u8]) -> String {
    BASE64.encode(Sha256::digest(bytes))
}

pub fn trailer(bytes: &[u8]) -> String {
    format!("x-amz-checksum-crc32:{}\r\n", crc32(bytes))
}

/// Bytes that do not repeat soon.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(bytes)
    .collect()
}

pub fn head(sent: &Sent) -> Vec<u8> {
    let headers: String = sent.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{} {} HTTP/1.1\r\n{headers}\r\n", sent.method, sent.target).into_bytes()
}

pub fn read(socket: &mut TcpStream) -> Answer {
    let mut reader = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the server closed the connection: {head}");
    }
    let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    answer.body = String::from_utf8(body).unwrap();
    answer
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
