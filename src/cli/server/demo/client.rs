//! A small HTTP client for the demo's own server: one request on one connection.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const ANSWER_BYTES_MAX: u64 = 1 << 20;
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Whoever sends requests with one key.
pub struct Client<'a> {
    pub server: SocketAddr,
    pub key: &'a str,
}

impl Client<'_> {
    /// The answer to a request, if it is 2xx and JSON.
    ///
    /// # Errors
    ///
    /// A sentence with the status and the answer, or the error of the connection.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let (status, answer) = self.send(method, path, body).map_err(|cause| format!("{method} {path}: {cause}"))?;
        match status {
            200..300 => serde_json::from_str(&answer).map_err(|cause| format!("{method} {path}: {cause}")),
            _ => Err(format!("{method} {path}: {status} {answer}")),
        }
    }

    /// HTTP/1.0, so that the answer is not in chunks and ends with the connection.
    fn send(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, String)> {
        let mut connection = TcpStream::connect(self.server)?;
        connection.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.server,
            self.key,
            body.len()
        );
        connection.write_all(request.as_bytes())?;
        let mut answer = String::new();
        connection.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
        Ok((status, body.to_owned()))
    }
}
