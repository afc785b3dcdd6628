//! A client that sends the bytes that it is given, and reads as much of the reply as it is told to.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::Value;

/// How long a client waits for the server. Whoever waits longer is starved.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each organization has an address of its own, so that what is counted by address is counted apart.
pub const HOSTILE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
pub const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Clone)]
pub struct Peer {
    pub addr: SocketAddr,
    pub from: IpAddr,
    pub key: Option<String>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// What it says, shortened.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(400).collect()
    }
}

impl Peer {
    pub fn connect(&self) -> io::Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::new(self.from, 0))?;
        connect(&socket, &self.addr)?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// The head of a request, with a line for the key and these lines. It ends without the empty line.
    pub fn head(&self, method: &str, target: &str, lines: &str) -> String {
        let key = self.key.as_ref().map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n{key}{lines}", self.addr)
    }

    pub fn send(&self, method: &str, target: &str, body: Option<Value>) -> io::Result<Reply> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send_bytes(method, target, body.as_bytes())
    }

    pub fn send_bytes(&self, method: &str, target: &str, body: &[u8]) -> io::Result<Reply> {
        let lines =
            format!("content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        let mut socket = self.connect()?;
        socket.write_all(format!("{}\r\n", self.head(method, target, &lines)).as_bytes())?;
        let sent = socket.write_all(body); // who is refused early may find the socket closed, with the answer in it
        read(&mut socket).or_else(|cause| sent.and(Err(cause)))
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Value {
        self.send("GET", target, None).unwrap().ok()
    }

    #[track_caller]
    pub fn post(&self, target: &str, body: Value) -> Value {
        self.send("POST", target, Some(body)).unwrap().ok()
    }
}

/// One answer, past those that only say to go on.
pub fn read(socket: &mut TcpStream) -> io::Result<Reply> {
    let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut reader = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(cut_off());
            }
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut_off)?;
        if status == 100 {
            continue;
        }
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
        };
        let mut body = Vec::new();
        match header("content-length") {
            Some(length) => {
                body.resize(length.parse().map_err(|_| cut_off())?, 0);
                reader.read_exact(&mut body)?;
            }
            None if header("transfer-encoding").is_some() => read_chunks(&mut reader, &mut body)?,
            None => drop(reader.read_to_end(&mut body)?),
        }
        return Ok(Reply { status, body });
    }
}

fn read_chunks(reader: &mut BufReader<&mut TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(|_| malformed())?;
        let begin = body.len();
        body.resize(begin + length + 2, 0);
        reader.read_exact(&mut body[begin..])?;
        body.truncate(begin + length);
        if length == 0 {
            return Ok(());
        }
    }
}
