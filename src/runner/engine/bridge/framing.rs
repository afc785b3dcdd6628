//! How a request of HTTP/1.1 is framed: where its head and its body end. Everything else passes as it is.
//!
//! Framing that two readers could take differently is refused (RFC 9112, section 6.3).

use std::io::{self, BufRead, Write};

use subtle::ConstantTimeEq as _;

/// The header by which a caller shows the token.
const TOKEN: &[u8] = b"x-guildhall-token";
/// The maximum size of a head, and of the trailers of a body.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// The maximum length of a line that begins a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 1 << 10;

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The head without the token, as it is forwarded.
    pub bytes: Vec<u8>,
    pub body: Body,
    /// Whether the caller asks for another protocol.
    pub asks_upgrade: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Length(u64),
    Chunked,
}

/// Why a request is not forwarded.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The caller has closed the connection, or it broke.
    Gone,
    /// The token is missing or wrong.
    Token,
    TooLarge,
    Malformed,
}

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Refused {
        Refused::Gone
    }
}

/// Reads a head.
///
/// # Errors
/// [`Refused`].
pub fn read_head(reader: &mut impl BufRead, token: &[u8]) -> Result<Head, Refused> {
    let mut bytes = Vec::new();
    let mut line = Vec::new();
    read_line(reader, &mut line, HEAD_BYTES_MAX)?;
    check_request_line(&line)?;
    bytes.extend_from_slice(&line);
    let (mut length, mut is_chunked, mut shown, mut asks_upgrade) = (None, false, None, false);
    loop {
        line.clear();
        read_line(reader, &mut line, HEAD_BYTES_MAX - bytes.len())?;
        let text = &line[..line.len() - 2];
        if text.is_empty() {
            break;
        }
        let (name, value) = header(text)?;
        if name.eq_ignore_ascii_case(TOKEN) {
            if shown.replace(value.to_vec()).is_some() {
                return Err(Refused::Malformed);
            }
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let own = decimal(value).ok_or(Refused::Malformed)?;
            if length.replace(own).is_some() {
                return Err(Refused::Malformed);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused::Malformed);
            }
            is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            asks_upgrade = true;
        }
        bytes.extend_from_slice(&line);
    }
    bytes.extend_from_slice(b"\r\n");
    if !bool::from(shown.unwrap_or_default().ct_eq(token)) {
        return Err(Refused::Token);
    }
    let body = match (is_chunked, length) {
        (true, Some(_)) => return Err(Refused::Malformed),
        (true, None) => Body::Chunked,
        (false, length) => Body::Length(length.unwrap_or(0)),
    };
    Ok(Head { bytes, body, asks_upgrade })
}

/// Forwards a body.
///
/// # Errors
/// [`Refused`]. What is forwarded already stays forwarded.
pub fn forward_body(reader: &mut impl BufRead, writer: &mut impl Write, body: Body) -> Result<(), Refused> {
    match body {
        Body::Length(bytes) => forward_bytes(reader, writer, bytes),
        Body::Chunked => forward_chunks(reader, writer),
    }
}

fn forward_chunks(reader: &mut impl BufRead, writer: &mut impl Write) -> Result<(), Refused> {
    let mut line = Vec::new();
    loop {
        line.clear();
        read_line(reader, &mut line, CHUNK_LINE_BYTES_MAX)?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let bytes = hexadecimal(size).ok_or(Refused::Malformed)?;
        writer.write_all(&line)?;
        if bytes == 0 {
            return forward_trailers(reader, writer);
        }
        forward_bytes(reader, writer, bytes)?;
        line.clear();
        read_line(reader, &mut line, CHUNK_LINE_BYTES_MAX)?;
        if line != b"\r\n" {
            return Err(Refused::Malformed);
        }
        writer.write_all(&line)?;
    }
}

fn forward_trailers(reader: &mut impl BufRead, writer: &mut impl Write) -> Result<(), Refused> {
    let mut left = HEAD_BYTES_MAX;
    loop {
        let mut line = Vec::new();
        read_line(reader, &mut line, left)?;
        left -= line.len();
        if line != b"\r\n" && header(&line[..line.len() - 2])?.0.eq_ignore_ascii_case(TOKEN) {
            continue;
        }
        writer.write_all(&line)?;
        if line == b"\r\n" {
            return Ok(());
        }
    }
}

fn forward_bytes(reader: &mut impl BufRead, writer: &mut impl Write, mut left: u64) -> Result<(), Refused> {
    while left > 0 {
        let there = reader.fill_buf()?;
        if there.is_empty() {
            return Err(Refused::Gone);
        }
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there.len());
        writer.write_all(&there[..taken])?;
        reader.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

/// Appends a line with its end. A line feed alone ends nothing.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, bytes_max: usize) -> Result<(), Refused> {
    loop {
        let there = reader.fill_buf()?;
        if there.is_empty() {
            return Err(Refused::Gone);
        }
        let end = there.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(there.len());
        if line.len() + taken > bytes_max {
            return Err(Refused::TooLarge);
        }
        line.extend_from_slice(&there[..taken]);
        reader.consume(taken);
        if end.is_some() {
            let is_alone = !line.ends_with(b"\r\n") || line[..line.len() - 2].contains(&b'\r');
            return if is_alone { Err(Refused::Malformed) } else { Ok(()) };
        }
    }
}

/// `METHOD TARGET HTTP/1.1`. A tunnel is refused, and so is an older version, whose bodies are framed otherwise.
fn check_request_line(line: &[u8]) -> Result<(), Refused> {
    let parts: Vec<&[u8]> = line[..line.len() - 2].split(|byte| *byte == b' ').collect();
    match parts[..] {
        [method, target, b"HTTP/1.1"] if is_token(method) && method != b"CONNECT" && !target.is_empty() => Ok(()),
        _ => Err(Refused::Malformed),
    }
}

fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refused::Malformed)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if is_token(name) && !value.contains(&0) { Ok((name, value)) } else { Err(Refused::Malformed) }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

fn hexadecimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(text).ok().filter(|_| is_number)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Head, Refused> {
        read_head(&mut head.as_bytes(), b"secret")
    }

    fn forwarded(body: &str, framed: Body) -> Result<String, Refused> {
        let mut out = Vec::new();
        forward_body(&mut body.as_bytes(), &mut out, framed).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_token_is_checked_and_taken_out() {
        let head =
            read("POST /a HTTP/1.1\r\nHost: h\r\nX-Guildhall-Token: secret\r\nContent-Length: 3\r\n\r\n").unwrap();
        assert_eq!(head.bytes, b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
        assert_eq!((head.body, head.asks_upgrade), (Body::Length(3), false));
        assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Err(Refused::Token));
        assert_eq!(read("GET / HTTP/1.1\r\nx-guildhall-token: other\r\n\r\n"), Err(Refused::Token));
        assert_eq!(read("GET / HTTP/1.1\r\nx-guildhall-token: secre\r\n\r\n"), Err(Refused::Token));
        let twice = "GET / HTTP/1.1\r\nx-guildhall-token: secret\r\nx-guildhall-token: secret\r\n\r\n";
        assert_eq!(read(twice), Err(Refused::Malformed));
    }

    #[test]
    fn doubtful_framing_is_refused() {
        let with = |headers: &str| read(&format!("POST / HTTP/1.1\r\nx-guildhall-token: secret\r\n{headers}\r\n"));
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").unwrap().body, Body::Chunked);
        assert!(with("Upgrade: websocket\r\n").unwrap().asks_upgrade);
        for headers in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Name: a\r\n b\r\n",
            "Name: a\nOther: b\r\n",
            "Name: a\rb\r\n",
            "no colon\r\n",
        ] {
            assert_eq!(with(headers), Err(Refused::Malformed), "{headers:?}");
        }
        for line in ["GET /", "GET / HTTP/1.0", "CONNECT h:1 HTTP/1.1", "GET  / HTTP/1.1", "", "G ET / HTTP/1.1"] {
            assert_eq!(read(&format!("{line}\r\n\r\n")), Err(Refused::Malformed), "{line:?}");
        }
        assert_eq!(read(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_BYTES_MAX))), Err(Refused::TooLarge));
        assert_eq!(with(&"A: b\r\n".repeat(20_000)), Err(Refused::TooLarge));
        assert_eq!(read("GET / HTTP/1.1\r\nHost"), Err(Refused::Gone));
    }

    #[test]
    fn a_body_is_forwarded_to_its_end_and_no_further() {
        assert_eq!(forwarded("abcdef", Body::Length(3)), Ok("abc".to_owned()));
        assert_eq!(forwarded("ab", Body::Length(3)), Err(Refused::Gone));
        let chunks = "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n";
        assert_eq!(forwarded(&format!("{chunks}GET"), Body::Chunked), Ok(chunks.to_owned()));
        let trailers = "0\r\nx-guildhall-token: secret\r\n\r\n";
        assert_eq!(forwarded(trailers, Body::Chunked), Ok("0\r\n\r\n".to_owned()));
        for wrong in ["3\r\nabcd\r\n", "x\r\n", "\r\n", "-1\r\n", "fffffffffffffffff\r\n", "3\nabc\r\n"] {
            assert_eq!(forwarded(wrong, Body::Chunked), Err(Refused::Malformed), "{wrong:?}");
        }
    }
}
