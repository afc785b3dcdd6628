//! A model's server as a test writes it, and a client that calls it: both speak HTTP byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::PATIENCE;

/// A server on a Unix socket. Each connection is served by a thread of its own.
pub struct Model {
    folder: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
    ended: Arc<Mutex<usize>>,
}

/// A request as a model saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a model does with a request: it writes to the connection. `false` closes it.
type Answers = dyn Fn(&Seen, &mut UnixStream) -> bool + Send + Sync;

impl Model {
    pub fn new(answers: impl Fn(&Seen, &mut UnixStream) -> bool + Send + Sync + 'static) -> Model {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let noted = Arc::clone(&seen);
        Model { seen, ..Model::raw(move |connection| serve(connection, &answers, &noted)) }
    }

    /// A server that does with each connection what it likes.
    pub fn raw(serves: impl Fn(UnixStream) + Send + Sync + 'static) -> Model {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let (serves, ended) = (Arc::new(serves), Arc::<Mutex<usize>>::default());
        let closed = Arc::clone(&ended);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let (serves, closed) = (Arc::clone(&serves), Arc::clone(&closed));
                std::thread::spawn(move || {
                    serves(connection);
                    *closed.lock().unwrap() += 1;
                });
            }
        });
        Model { folder, seen: Arc::default(), ended }
    }

    /// Answers each request with a body.
    pub fn says(body: &'static str) -> Model {
        Model::new(move |_, connection| reply(connection, 200, "", body))
    }

    /// Answers each request with its own body.
    pub fn echo() -> Model {
        Model::new(|seen, connection| {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            reply(connection, 200, "", &body)
        })
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections have ended.
    pub fn ended(&self) -> usize {
        *self.ended.lock().unwrap()
    }
}

fn serve(mut connection: UnixStream, answers: &Answers, noted: &Mutex<Vec<Seen>>) {
    let mut bytes = Vec::new();
    loop {
        let Some(seen) = read_request(&mut connection, &mut bytes) else { return };
        noted.lock().unwrap().push(seen.clone());
        if !answers(&seen, &mut connection) {
            return;
        }
    }
}

pub fn reply(connection: &mut UnixStream, status: u16, more: &str, body: &str) -> bool {
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}\r\n",
        body.len()
    );
    connection.write_all((head + body).as_bytes()).is_ok()
}

fn read_request(connection: &mut UnixStream, bytes: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(connection, bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    bytes.drain(..end);
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut seen = Seen { line, headers: lines.filter_map(header).collect(), body: Vec::new() };
    if let Some(length) = seen.header("content-length") {
        let length: usize = length.parse().unwrap();
        while bytes.len() < length {
            more(connection, bytes)?;
        }
        seen.body = bytes.drain(..length).collect();
    } else if seen.header("transfer-encoding").is_some() {
        seen.body = read_chunks(connection, bytes)?;
    }
    Some(seen)
}

fn read_chunks(connection: &mut UnixStream, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = bytes.windows(2).position(|two| two == b"\r\n") {
                break at;
            }
            more(connection, bytes)?;
        };
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        bytes.drain(..end + 2);
        while bytes.len() < length + 2 {
            more(connection, bytes)?;
        }
        body.extend(bytes.drain(..length));
        bytes.drain(..2);
        if length == 0 {
            return Some(body);
        }
    }
}

fn more(connection: &mut UnixStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 64 << 10];
    match connection.read(&mut piece) {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            bytes.extend_from_slice(&piece[..count]);
            Some(())
        }
    }
}

pub struct Client {
    pub socket: TcpStream,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn error(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        assert_eq!(body.as_object().map(|body| body.len()), Some(1), "{self:?}");
        body["error"].as_str().expect("a message").to_owned()
    }
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client { socket, bytes: Vec::new() }
    }

    /// What the server no longer takes is not this side's failure.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// A reply; its body is read by its length or its chunks.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let (status, head) = self.reply_head();
        let length = head.split("content-length: ").nth(1).and_then(|tail| tail.lines().next()?.parse::<usize>().ok());
        let body = match length {
            Some(length) => self.take(length),
            None if head.contains("transfer-encoding: chunked") => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk() {
                    body.extend(chunk);
                }
                body
            }
            None => Vec::new(),
        };
        Reply { status, head, body: String::from_utf8_lossy(&body).into_owned() }
    }

    #[track_caller]
    pub fn reply_head(&mut self) -> (u16, String) {
        loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.bytes.drain(..at + 4).collect();
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                if status != 100 {
                    return (status, head);
                }
                continue;
            }
            assert!(self.fill(), "closed after {:?}", String::from_utf8_lossy(&self.bytes));
        }
    }

    /// The next chunk; `None` at the end of the body.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = loop {
            if let Some(at) = self.bytes.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..at + 2).collect();
                break usize::from_str_radix(std::str::from_utf8(&line[..at]).unwrap(), 16).unwrap();
            }
            assert!(self.fill(), "closed within a body");
        };
        let chunk = self.take(length + 2);
        (length > 0).then(|| chunk[..length].to_vec())
    }

    #[track_caller]
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.bytes.len() < length {
            assert!(self.fill(), "closed within a body");
        }
        self.bytes.drain(..length).collect()
    }

    /// Whether the server closes the connection, perhaps after more bytes.
    pub fn is_closed(&mut self) -> bool {
        while self.fill() {}
        true
    }

    /// What has arrived and was not read.
    pub fn rest(&self) -> &[u8] {
        &self.bytes
    }

    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut piece = [0; 64 << 10];
        match self.socket.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.bytes.extend_from_slice(&piece[..count]);
                true
            }
            Err(cause) if cause.kind() == ErrorKind::ConnectionReset => false,
            Err(cause) => panic!("nothing came: {cause}"),
        }
    }
}
