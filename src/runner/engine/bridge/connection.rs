//! One connection through the bridge: requests are read and checked one by one, answers pass as they are.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::Token;
use super::framing::{self, Refused};

/// How long a caller may take for the head of its first request.
const FIRST_HEAD_WITHIN: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 64 << 10;
/// The maximum length of the first line of an answer.
const STATUS_LINE_BYTES_MAX: usize = 1 << 10;

/// Forwards the requests of a caller until either side closes.
pub fn forward(client: UnixStream, connect: impl FnOnce() -> io::Result<TcpStream>, token: &Token) {
    let _ = client.set_read_timeout(Some(FIRST_HEAD_WITHIN)); // fails for no timeout that is not zero
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, &client);
    match framing::read_head(&mut reader, &known(token)) {
        Ok(first) => {
            let _ = client.set_read_timeout(None);
            forward_to(connect, first, &mut reader, token);
        }
        Err(refused) => refuse(&client, &refused),
    }
    let _ = client.shutdown(Shutdown::Both); // the other thread sees it
}

fn known(token: &Token) -> Vec<u8> {
    token.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn refuse(client: &UnixStream, refused: &Refused) {
    match refused {
        Refused::Gone => {}
        Refused::Token => answer(client, "403 Forbidden"),
        Refused::TooLarge => answer(client, "431 Request Header Fields Too Large"),
        Refused::Malformed => answer(client, "400 Bad Request"),
    }
}

fn answer(mut client: &UnixStream, status: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = client.write_all(head.as_bytes()); // the caller may be gone
}

fn forward_to(
    connect: impl FnOnce() -> io::Result<TcpStream>,
    first: framing::Head,
    reader: &mut BufReader<&UnixStream>,
    token: &Token,
) {
    let client = *reader.get_ref();
    let connected = connect().and_then(|server| Ok((Answers::start(client, &server)?, server)));
    let Ok((answers, server)) = connected else { return answer(client, "503 Service Unavailable") };
    let refused = forward_from(first, reader, &server, &answers, token);
    refuse(client, &refused); // before the other thread closes the connection
    let _ = server.shutdown(Shutdown::Both); // a server that watches for it learns that the caller is gone
}

fn forward_from(
    first: framing::Head,
    reader: &mut BufReader<&UnixStream>,
    mut server: &TcpStream,
    answers: &Answers,
    token: &Token,
) -> Refused {
    let mut head = first;
    loop {
        if head.asks_upgrade {
            answers.watch_status();
        }
        if server.write_all(&head.bytes).is_err() {
            return Refused::Gone;
        }
        if let Err(refused) = framing::forward_body(reader, &mut server, head.body) {
            return refused;
        }
        if head.asks_upgrade {
            match answers.status() {
                Some(101) => return forward_all(reader, server),
                Some(_) => {}
                None => return Refused::Gone,
            }
        }
        head = match framing::read_head(reader, &known(token)) {
            Ok(head) => head,
            Err(refused) => return refused,
        };
    }
}

/// Forwards what follows a changed protocol.
fn forward_all(reader: &mut BufReader<&UnixStream>, mut server: &TcpStream) -> Refused {
    loop {
        let there = match reader.fill_buf() {
            Ok(there) if !there.is_empty() => there,
            _ => return Refused::Gone,
        };
        let taken = there.len();
        if server.write_all(there).is_err() {
            return Refused::Gone;
        }
        reader.consume(taken);
    }
}

/// The thread that passes answers on.
struct Answers {
    asked: SyncSender<()>,
    statuses: Receiver<u16>,
}

impl Answers {
    fn start(client: &UnixStream, server: &TcpStream) -> io::Result<Answers> {
        let (asked, asks) = sync_channel(1);
        let (tell, statuses) = sync_channel(1);
        let (client, server) = (client.try_clone()?, server.try_clone()?);
        super::thread("answer", move || {
            pass_on(&server, &client, &asks, &tell);
            // The requests' thread sees the end of both.
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        })?;
        Ok(Answers { asked, statuses })
    }

    /// Asks for the status of the next answer, before the request is sent.
    fn watch_status(&self) {
        let _ = self.asked.send(()); // a thread that ended answers nothing
    }

    fn status(&self) -> Option<u16> {
        self.statuses.recv().ok()
    }
}

fn pass_on(mut server: &TcpStream, mut client: &UnixStream, asks: &Receiver<()>, tell: &SyncSender<u16>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut watched: Option<Vec<u8>> = None;
    while let Ok(read) = server.read(&mut buffer)
        && read > 0
    {
        if asks.try_recv().is_ok() {
            watched = Some(Vec::new());
        }
        if client.write_all(&buffer[..read]).is_err() {
            return;
        }
        if let Some(head) = &mut watched {
            head.extend_from_slice(&buffer[..read.min(STATUS_LINE_BYTES_MAX)]);
            if let Some(status) = status_of(head) {
                watched = None;
                let _ = tell.send(status); // the requests' thread may have ended
            }
        }
    }
}

/// The status of an answer of which this much was read. An answer that is none of HTTP has 0.
fn status_of(head: &[u8]) -> Option<u16> {
    let line = match head.iter().position(|byte| *byte == b'\n') {
        Some(end) => &head[..end],
        None if head.len() >= STATUS_LINE_BYTES_MAX => return Some(0),
        None => return None,
    };
    let code = line.split(|byte| *byte == b' ').nth(1).and_then(|code| std::str::from_utf8(code).ok());
    Some(code.and_then(|code| code.trim_ascii().parse().ok()).unwrap_or(0))
}
