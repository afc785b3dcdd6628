//! Sends the mails of the outbox.
//!
//! A mail that the mail server refuses for good is given up. One that it refuses for now, or that does not reach it, is
//! tried again after a pause that doubles each time.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, SmtpTransport, Transport as _};
use zeroize::Zeroizing;

use crate::db::mail::{self, Due};
use crate::db::{Db, Now};
use crate::domain::mail::{Letter, problem};
use crate::domain::{Email, Time};
use crate::error::Error;
use crate::jobs::pause;

const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// How long the mail server may take for one step.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How many mails one look sends before it looks whether the server stops.
const AT_ONCE_MAX: usize = 50;

/// How the connection to the mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// The connection begins plain and must be encrypted before anything is sent.
    StartTls,
    /// The connection is encrypted from its beginning.
    Implicit,
    /// The connection is plain: for a mail server on the same machine.
    None,
}

/// The mail server, and the address from which mails are sent.
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    /// The user and the password.
    pub credentials: Option<(String, Zeroizing<String>)>,
    pub from: Email,
}

/// Sends mails to a mail server.
pub struct Mailer {
    transport: SmtpTransport,
    from: Address,
    password: Zeroizing<String>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailer(from {})", self.from)
    }
}

/// Why a mail was not sent.
enum Unsent {
    /// Another attempt would fail too.
    ForGood(String),
    ForNow(String),
}

impl Mailer {
    /// Prepares to send mails. It does not connect yet.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a host or an address that cannot be used.
    pub fn new(settings: Settings) -> Result<Mailer, Error> {
        let Settings { host, port, encryption, credentials, from } = settings;
        let tls = |host: &str| {
            TlsParameters::new(host.to_owned())
                .map_err(|cause| Error::field("--smtp-host", &format!("cannot be used: {cause}")))
        };
        let tls = match encryption {
            Encryption::StartTls => Tls::Required(tls(&host)?),
            Encryption::Implicit => Tls::Wrapper(tls(&host)?),
            Encryption::None => Tls::None,
        };
        let mut transport = SmtpTransport::builder_dangerous(&host).port(port).tls(tls).timeout(Some(STEP_MAX));
        let mut kept = Zeroizing::new(String::new());
        if let Some((user, password)) = credentials {
            transport = transport.credentials(Credentials::new(user, password.to_string()));
            kept = password;
        }
        Ok(Mailer { transport: transport.build(), from: address(&from)?, password: kept })
    }

    fn send(&self, due: &Due, now: Time) -> Result<(), Unsent> {
        let words = |words: String| problem(&words, &[self.password.as_str(), link(&due.letter)]);
        let message = self.message(due, now).map_err(|why| Unsent::ForGood(words(why)))?;
        match self.transport.send(&message) {
            Ok(_) => Ok(()),
            Err(cause) if cause.is_permanent() => Err(Unsent::ForGood(words(told(&cause)))),
            Err(cause) => Err(Unsent::ForNow(words(told(&cause)))),
        }
    }

    fn message(&self, due: &Due, now: Time) -> Result<Message, String> {
        let Due { id, letter } = due;
        let recipient = address(&letter.recipient).map_err(|cause| cause.to_string())?;
        let milliseconds = u64::try_from(now.0).unwrap_or_default();
        Message::builder()
            .from(Mailbox::new(Some("Guildhall".to_owned()), self.from.clone()))
            .to(Mailbox::new(None, recipient))
            .subject(letter.subject.clone())
            .date(UNIX_EPOCH + Duration::from_millis(milliseconds))
            .message_id(Some(format!("<{id}@{}>", self.from.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|cause| cause.to_string())
    }
}

/// The error with its causes, which hold the mail server's words.
fn told(cause: &lettre::transport::smtp::Error) -> String {
    let mut words = cause.to_string();
    let mut source = std::error::Error::source(cause);
    while let Some(cause) = source {
        let more = cause.to_string();
        if !words.contains(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        source = cause.source();
    }
    words
}

fn address(email: &Email) -> Result<Address, Error> {
    email.as_str().parse().map_err(|cause| Error::field("--smtp-from", &format!("cannot be used: {cause}")))
}

/// The line of a letter that holds its link.
fn link(letter: &Letter) -> &str {
    letter.text.lines().find(|line| line.contains("://")).unwrap_or_default()
}

/// Looks every second for mails to send, until it is stopped.
pub fn keep_sending(db: &Db, mailer: &Mailer, now: impl Fn() -> Now, stopped: impl Fn() -> bool) {
    while !stopped() {
        if let Err(cause) = send_due(db, mailer, &now) {
            tracing::error!(?cause, "mails are not sent");
        }
        pause(LOOKS_EVERY, &stopped);
    }
}

/// Sends the mails that are due, at most 50. Each is judged by itself.
///
/// # Errors
///
/// [`Error::Internal`] where the outbox cannot be read or written.
pub fn send_due(db: &Db, mailer: &Mailer, now: &impl Fn() -> Now) -> Result<(), Error> {
    for _ in 0..AT_ONCE_MAX {
        if !db.read(now(), mail::are_due)? {
            return Ok(());
        }
        let Some(due) = db.write_blocking(now(), mail::take_due)? else { continue };
        let outcome = mailer.send(&due, now().time);
        let id = due.id;
        match outcome {
            Ok(()) => db.write_blocking(now(), move |tx| mail::note_sent(tx, &id))?,
            Err(Unsent::ForGood(why)) => {
                tracing::warn!(mail = id, why, "a mail was refused and is given up");
                db.write_blocking(now(), move |tx| mail::note_refused(tx, &id, &why))?;
            }
            Err(Unsent::ForNow(why)) => {
                tracing::warn!(mail = id, why, "a mail was not sent; another attempt follows");
                db.write_blocking(now(), move |tx| mail::note_failed(tx, &id, &why))?;
            }
        }
    }
    Ok(())
}
