//! Asks a server whether it is ready, by one short HTTP request.
//!
//! The answer is a status. Its body is not read, and nothing that a server sends can hold the caller longer than the
//! time that it was given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How much of an answer is read for its status line.
const HEAD_BYTES_MAX: usize = 4 << 10;

/// A request without a body.
pub struct Probe<'a> {
    pub method: &'static str,
    pub host: &'a str,
    pub path: &'a str,
    pub headers: &'a [(String, String)],
}

impl Probe<'_> {
    /// Asks a server on a Unix socket. Returns the status of its answer.
    ///
    /// # Errors
    ///
    /// The error of the connection, or [`io::ErrorKind::InvalidData`] for an answer that is not HTTP.
    pub fn of_socket(&self, socket: &Path, within: Duration) -> io::Result<u16> {
        let stream = UnixStream::connect(socket)?;
        let deadline = Instant::now() + within;
        self.ask(stream, |stream| {
            let left = left(deadline)?;
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))
        })
    }

    /// Asks a server at an address. Returns the status of its answer.
    ///
    /// # Errors
    ///
    /// The error of the connection, or [`io::ErrorKind::InvalidData`] for an answer that is not HTTP.
    pub fn of_address(&self, address: SocketAddr, within: Duration) -> io::Result<u16> {
        let deadline = Instant::now() + within;
        let stream = TcpStream::connect_timeout(&address, within)?;
        self.ask(stream, |stream| {
            let left = left(deadline)?;
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))
        })
    }

    /// Asks over an open stream. `limit` gives the stream the time that is left, before each step.
    fn ask<S: Read + Write>(&self, mut stream: S, limit: impl Fn(&S) -> io::Result<()>) -> io::Result<u16> {
        let Probe { method, host, path, headers } = self;
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in *headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "content-length: 0\r\n\r\n";
        limit(&stream)?;
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut piece = [0; 512];
        while !head.contains(&b'\n') && head.len() < HEAD_BYTES_MAX {
            limit(&stream)?;
            match stream.read(&mut piece)? {
                0 => break,
                bytes => head.extend_from_slice(&piece[..bytes]),
            }
        }
        status(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The status of an answer that begins like this.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    rest.get(..3)?.parse().ok().filter(|status| (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn asked(answer: &'static [u8]) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
            std::thread::sleep(Duration::from_millis(300));
        });
        let probe = Probe { method: "GET", host: "localhost", path: "/", headers: &[] };
        let status = probe.of_address(address, Duration::from_millis(200));
        server.join().unwrap();
        status
    }

    #[test]
    fn the_status_is_read_and_silence_ends_in_time() {
        assert_eq!(asked(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), 204);
        assert_eq!(asked(b"HTTP/1.0 503 Busy\r\n").unwrap(), 503);
        assert!(asked(b"SSH-2.0\r\n").is_err());
        assert!(asked(b"").is_err());
    }
}
