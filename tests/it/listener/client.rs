//! A server with an open listener, and clients that send it bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Instant;

use guildhall::server::{self, Limits, Server};

use super::{GET, LONG, PATIENCE, SHORT, WITH_BODY};
use crate::seed::WORLD;
use crate::test_server::TestServer;

pub struct Open {
    server: Option<Server>,
    pub addr: SocketAddr,
    _test_server: TestServer,
}

pub fn open_listener(limits: Limits) -> Open {
    open_listeners(limits, None)
}

pub fn open_listeners(limits: Limits, operator: Option<UnixListener>) -> Open {
    let test_server = WORLD.server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server::serve(&Arc::clone(&test_server.app), listener, operator, limits).unwrap();
    Open { addr: server.addr(), server: Some(server), _test_server: test_server }
}

impl Open {
    pub fn stop(&self) {
        self.server.as_ref().unwrap().stop();
    }

    pub fn join(&mut self) {
        self.server.take().unwrap().join();
    }

    #[track_caller]
    pub fn assert_serves(&self) {
        assert_eq!(self.send(GET), [401], "the next client is served");
    }

    /// Sends all of it, says that no more comes, and gives all replies until the connection closes.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> Vec<Reply> {
        let mut client = Client::connect(self.addr);
        client.write(bytes.as_ref());
        let _ = client.0.shutdown(Shutdown::Write);
        client.replies()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

pub fn patient() -> Limits {
    Limits {
        workers: 2,
        connections_max: 64,
        connections_per_peer: 64,
        patience: LONG,
        head: LONG,
        body: LONG,
        idle: LONG,
        stalled: LONG,
        drain: LONG,
        ..Limits::default()
    }
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client(socket)
    }

    /// One whose request is being served: its body has begun to come.
    pub fn busy(addr: SocketAddr) -> Client {
        let mut client = Client::connect(addr);
        client.write(format!("{WITH_BODY}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
        assert_eq!(client.reply(), 100);
        client.write("{");
        client
    }

    #[track_caller]
    pub fn finish(&mut self) {
        self.write("}");
        assert_eq!(self.reply(), 200);
    }

    /// What the server no longer takes is not this side's failure.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// Sends byte after byte, each well within any deadline, until the server hangs up.
    pub fn trickle(&mut self, bytes: &str) {
        let begun = Instant::now();
        for byte in bytes.bytes().cycle() {
            if self.0.write_all(&[byte]).is_err() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "each byte puts the deadline off");
            std::thread::sleep(SHORT / 20);
        }
    }

    /// One reply, the connection staying open.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let mut bytes = Vec::new();
        loop {
            if let Some((reply, rest)) = Reply::parse(&bytes) {
                assert!(rest.is_empty(), "one reply and no more");
                return reply;
            }
            let mut more = [0; 4096];
            match self.0.read(&mut more) {
                Ok(0) => panic!("closed after {:?}", String::from_utf8_lossy(&bytes)),
                Ok(count) => bytes.extend_from_slice(&more[..count]),
                Err(cause) => panic!("no reply: {cause}"),
            }
        }
    }

    /// All replies until the connection closes.
    #[track_caller]
    pub fn replies(&mut self) -> Vec<Reply> {
        let bytes = self.rest();
        let (mut replies, mut rest) = (Vec::new(), &bytes[..]);
        while let Some((reply, left)) = Reply::parse(rest) {
            replies.push(reply);
            rest = left;
        }
        assert!(rest.is_empty(), "no reply: {:?}", String::from_utf8_lossy(rest));
        replies
    }

    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => panic!("the connection stays open"),
            Ok(_) | Err(_) => bytes, // a reset is an end, too
        }
    }

    /// The server closes without a word.
    #[track_caller]
    pub fn assert_hung_up(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "");
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Option<(Reply, &[u8])> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let (head, rest) = bytes.split_at(end);
        let head = String::from_utf8(head.to_ascii_lowercase()).unwrap();
        let status = head.strip_prefix("http/1.")?.split(' ').nth(1)?.parse().unwrap();
        let length =
            head.split("content-length: ").nth(1).map_or(0, |tail| tail.lines().next().unwrap().parse().unwrap());
        let (body, rest) = rest.split_at_checked(length)?;
        Some((Reply { status, head, body: String::from_utf8(body.to_vec()).unwrap() }, rest))
    }

    /// The code of a refusal in our shape.
    #[track_caller]
    pub fn code(&self) -> String {
        for header in ["content-type: application/json", "cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(self.head.contains(header), "{header} in {}", self.head);
        }
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("a body of JSON");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "a sentence in {body}");
        body["code"].as_str().expect("a code").to_owned()
    }

    pub fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

impl PartialEq<u16> for Reply {
    fn eq(&self, status: &u16) -> bool {
        self.status == *status
    }
}

/// One reply in our shape, and then the end.
#[track_caller]
pub fn assert_refused(replies: &[Reply], status: u16, code: &str) {
    assert_eq!(replies, [status]);
    assert_eq!(replies[0].code(), code);
}
