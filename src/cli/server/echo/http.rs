//! The part of HTTP/1.1 that `guildhall echo` speaks: requests with a length or in chunks, on connections that stay open.

use std::io::{self, BufRead, Read as _, Write};
use std::net::TcpStream;

use serde_json::Value;

/// The maximum size of a line, and of all headers together.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Somewhat more than the largest body of a call.
const BODY_BYTES_MAX: u64 = 128 << 20;

/// What came next on a connection.
pub enum Incoming {
    Request(Request),
    /// The request cannot be understood, which is answered before the connection is closed.
    Refused(&'static str),
    End,
}

pub struct Request {
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// The headers, with their names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the client will send no other request on this connection.
    pub is_last: bool,
}

impl Request {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The id that the caller gave the request.
    pub fn id(&self) -> Option<&str> {
        self.header("x-baseten-request-id")
    }

    /// The body as JSON. An absent body is null.
    pub fn input(&self) -> serde_json::Result<Value> {
        if self.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&self.body) }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str, token: &str) -> bool {
        self.header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }
}

/// Reads the next request. `out` gets the interim answer that some clients wait for before they send a body.
///
/// # Errors
///
/// The error of the connection.
pub fn read(from: &mut impl BufRead, out: &mut impl Write) -> io::Result<Incoming> {
    let mut request = match head(from)? {
        Head::Request(request) => request,
        Head::Refused(why) => return Ok(Incoming::Refused(why)),
        Head::End => return Ok(Incoming::End),
    };
    if request.has("expect", "100-continue") {
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = if request.has("transfer-encoding", "chunked") {
        chunks(from)?
    } else {
        match request.header("content-length").map(str::parse::<u64>) {
            None => Some(Vec::new()),
            Some(Ok(length)) if length <= BODY_BYTES_MAX => Some(exactly(from, length)?),
            Some(_) => None,
        }
    };
    let Some(body) = body else { return Ok(Incoming::Refused("the body is too large or has no valid length")) };
    request.body = body;
    Ok(Incoming::Request(request))
}

enum Head {
    Request(Request),
    Refused(&'static str),
    End,
}

fn head(from: &mut impl BufRead) -> io::Result<Head> {
    let first = line(from)?;
    if first.is_empty() {
        return Ok(Head::End);
    }
    let mut words = first.split_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Ok(Head::Refused("the first line is no request"));
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        is_last: version != "HTTP/1.1",
    };
    let mut bytes = 0;
    loop {
        let header = line(from)?;
        bytes += header.len() as u64;
        match header.trim_end().split_once(':') {
            None if header.trim_end().is_empty() && !header.is_empty() => break,
            Some((name, value)) if bytes <= HEAD_BYTES_MAX => {
                request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            _ => return Ok(Head::Refused("the headers are too large or broken")),
        }
    }
    request.is_last |= request.has("connection", "close");
    Ok(Head::Request(request))
}

/// The next line with its end, or an empty text at the end of the connection.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(HEAD_BYTES_MAX).read_until(b'\n', &mut line)?;
    String::from_utf8(line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

fn exactly(from: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = from.take(length).read_to_end(&mut bytes)?;
    if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// A body in chunks. `None` if it is broken or too large.
fn chunks(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let size = line(from)?;
        let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let Ok(size) = size else { return Ok(None) };
        if size > BODY_BYTES_MAX - body.len() as u64 {
            return Ok(None);
        }
        body.extend(exactly(from, size)?);
        if size > 0 {
            line(from)?; // the end of the chunk
            continue;
        }
        loop {
            let trailer = line(from)?;
            if trailer.trim_end().is_empty() {
                return Ok(Some(body));
            }
        }
    }
}

/// Sends a complete answer.
///
/// # Errors
///
/// The error of the connection.
pub fn answer(out: &mut TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        _ => "Service Unavailable",
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    out.write_all(answer.as_bytes())
}

/// An answer in pieces, each sent at once.
pub struct Body<'c>(&'c mut TcpStream);

impl<'c> Body<'c> {
    pub fn begin(out: &'c mut TcpStream) -> io::Result<Body<'c>> {
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
        Ok(Body(out))
    }

    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut piece = format!("{:x}\r\n", bytes.len()).into_bytes();
        piece.extend_from_slice(bytes);
        piece.extend_from_slice(b"\r\n");
        self.0.write_all(&piece)
    }

    pub fn end(self) -> io::Result<()> {
        self.0.write_all(b"0\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &str) -> Vec<Request> {
        let mut from = bytes.as_bytes();
        let mut requests = Vec::new();
        while let Incoming::Request(request) = read(&mut from, &mut io::sink()).unwrap() {
            requests.push(request);
        }
        requests
    }

    #[test]
    fn requests_follow_each_other_with_a_length_or_in_chunks() {
        let requests = all("POST /predict?a=1 HTTP/1.1\r\nContent-Length: 4\r\nX-Baseten-Request-Id: r1\r\n\r\ntrue\
                            POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[1\r\n3;x=y\r\n,2]\r\n0\r\n\r\n\
                            GET /health HTTP/1.0\r\n\r\n");
        let bodies: Vec<_> = requests.iter().map(|request| request.input().unwrap()).collect();
        assert_eq!(bodies, [serde_json::json!(true), serde_json::json!([1, 2]), Value::Null]);
        assert_eq!((requests[0].path(), requests[0].id()), ("/predict", Some("r1")));
        assert_eq!(requests.iter().map(|request| request.is_last).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn broken_requests_are_refused_or_end() {
        for broken in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\na: b\r\n"] {
            assert!(matches!(read(&mut broken.as_bytes(), &mut io::sink()).unwrap(), Incoming::Refused(_)), "{broken}");
        }
        let huge = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        assert!(matches!(read(&mut huge.as_bytes(), &mut io::sink()).unwrap(), Incoming::Refused(_)));
        let short = "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nshort";
        assert!(read(&mut short.as_bytes(), &mut io::sink()).is_err());
        assert!(matches!(read(&mut "".as_bytes(), &mut io::sink()).unwrap(), Incoming::End));
    }
}
