//! A server elsewhere, as a test writes it: the receiver of a webhook, or the upstream of a Model API.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server on a port of this machine. It answers one request for each connection.
pub struct Receiver {
    addr: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

/// A request as the receiver got it.
#[derive(Clone, Debug)]
pub struct Got {
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Receiver {
    /// `answer` gives the bytes of the answer to a request; its number begins with 0.
    pub fn new(answer: impl Fn(usize, &Got) -> Vec<u8> + Send + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, got) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Got>>>::default());
        let noted = Arc::clone(&got);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                let Some(request) = read(&mut connection) else { continue };
                let number = noted.lock().unwrap().len();
                let bytes = answer(number, &request);
                noted.lock().unwrap().push(request);
                let _ = connection.write_all(&bytes);
            }
        });
        Receiver { addr, got }
    }

    /// Answers every request with this status.
    pub fn with_status(status: u16) -> Receiver {
        Receiver::new(move |_, _| plain(status, "application/json", "{}"))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

/// An answer after which the connection closes.
pub fn plain(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Said\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn read(connection: &mut TcpStream) -> Option<Got> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 64 << 10]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match connection.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes.split_off(end);
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let mut got = Got { line, headers, body: Vec::new() };
    let length: usize = got.header("content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        match connection.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => body.extend_from_slice(&piece[..count]),
        }
    }
    got.body = body;
    Some(got)
}
