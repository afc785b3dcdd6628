//! A mail server for tests: it speaks enough of SMTP, and keeps what it was sent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use guildhall::domain::Email;
use guildhall::jobs::mail::{Encryption, Mailer, Settings};

/// What the server says to the recipients of the next mails, in turn. Without one it accepts.
type Replies = Arc<Mutex<Vec<&'static str>>>;

pub struct MailServer {
    pub port: u16,
    replies: Replies,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    /// Header and body, without the line breaks of quoted-printable text.
    pub text: String,
}

impl MailServer {
    pub fn start(replies: &[&'static str]) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let replies = Arc::new(Mutex::new(replies.iter().rev().copied().collect()));
        let received = Arc::new(Mutex::new(Vec::new()));
        let (asked, kept) = (Arc::clone(&replies), Arc::clone(&received));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (asked, kept) = (Arc::clone(&asked), Arc::clone(&kept));
                std::thread::spawn(move || drop(converse(socket, &asked, &kept)));
            }
        });
        MailServer { port, replies, received }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn has_said_all(&self) -> bool {
        self.replies.lock().unwrap().is_empty()
    }
}

pub fn mailer(port: u16) -> Mailer {
    Mailer::new(Settings {
        host: "127.0.0.1".to_owned(),
        port,
        encryption: Encryption::None,
        credentials: None,
        from: Email::parse("guildhall@acme.example").unwrap(),
    })
    .unwrap()
}

fn converse(socket: TcpStream, replies: &Replies, received: &Mutex<Vec<Received>>) -> std::io::Result<()> {
    let mut out = socket.try_clone()?;
    let mut lines = BufReader::new(socket).lines();
    let mut mail = Received { from: String::new(), to: Vec::new(), text: String::new() };
    write!(out, "220 mail.test ESMTP\r\n")?;
    while let Some(line) = lines.next() {
        let line = line?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-mail.test\r\n250 8BITMIME",
            "MAIL" => {
                mail = Received { from: line.clone(), to: Vec::new(), text: String::new() };
                "250 ok"
            }
            "RCPT" => match replies.lock().unwrap().pop() {
                Some(reply) if !reply.starts_with("250") => reply,
                Some(_) | None => {
                    mail.to.push(line.clone());
                    "250 ok"
                }
            },
            "DATA" => {
                write!(out, "354 go on\r\n")?;
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    match line.strip_suffix('=') {
                        Some(part) => mail.text.push_str(part),
                        None => mail.text.push_str(&(line + "\n")),
                    }
                }
                received.lock().unwrap().push(mail.clone());
                "250 taken"
            }
            "RSET" | "NOOP" => "250 ok",
            "QUIT" => {
                write!(out, "221 bye\r\n")?;
                return Ok(());
            }
            _ => "502 what?",
        };
        write!(out, "{answer}\r\n")?;
    }
    Ok(())
}
