//! The options of the mail server.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::domain::Email;
use crate::jobs::mail::{Encryption, Mailer, Settings};

const PASSWORD_BYTES_MAX: u64 = 4096;

/// The mail server by which invitations and links are sent.
#[derive(clap::Args)]
pub struct SmtpOptions {
    /// The mail server by which invitations and links are sent; without it, links are shown to whoever makes them
    #[arg(long, env = "GUILDHALL_SMTP_HOST", value_name = "HOST", requires = "smtp_from")]
    smtp_host: Option<String>,
    /// The port of the mail server: 587 by default, 465 with `--smtp-tls implicit`, 25 with `--smtp-tls none`
    #[arg(long, env = "GUILDHALL_SMTP_PORT", value_name = "PORT", requires = "smtp_host")]
    smtp_port: Option<u16>,
    /// How the connection to the mail server is encrypted
    #[arg(long, env = "GUILDHALL_SMTP_TLS", value_enum, value_name = "TLS", default_value_t = Tls::Starttls)]
    smtp_tls: Tls,
    /// The user at the mail server
    #[arg(long, env = "GUILDHALL_SMTP_USER", value_name = "USER", requires = "smtp_password_file")]
    smtp_user: Option<String>,
    /// The file with the user's password
    #[arg(long, env = "GUILDHALL_SMTP_PASSWORD_FILE", value_name = "FILE", requires = "smtp_user")]
    smtp_password_file: Option<PathBuf>,
    /// The address from which mails are sent
    #[arg(long, env = "GUILDHALL_SMTP_FROM", value_name = "EMAIL", value_parser = Email::parse, requires = "smtp_host")]
    smtp_from: Option<Email>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Tls {
    /// The connection begins plain and must be encrypted before anything is sent
    Starttls,
    /// The connection is encrypted from its beginning
    Implicit,
    /// The connection is plain, for a mail server on the same machine
    None,
}

impl SmtpOptions {
    /// The mailer, if a mail server was named.
    pub fn mailer(&self) -> Result<Option<Mailer>, Failure> {
        let (Some(host), Some(from)) = (&self.smtp_host, &self.smtp_from) else { return Ok(None) };
        let credentials = match (&self.smtp_user, &self.smtp_password_file) {
            (Some(user), Some(file)) => Some((user.clone(), read_password(file)?)),
            (_, _) => None,
        };
        if credentials.is_some() && self.smtp_tls == Tls::None {
            return Err(Failure::new(
                "a password is sent to the mail server only over an encrypted connection: leave out `--smtp-user`, or set \
                 `--smtp-tls` to starttls or implicit",
            ));
        }
        let (encryption, port) = match self.smtp_tls {
            Tls::Starttls => (Encryption::StartTls, 587),
            Tls::Implicit => (Encryption::Implicit, 465),
            Tls::None => (Encryption::None, 25),
        };
        let port = self.smtp_port.unwrap_or(port);
        Ok(Some(Mailer::new(Settings { host: host.clone(), port, encryption, credentials, from: from.clone() })?))
    }
}

/// The content of a password file, without the line break at its end.
fn read_password(file: &std::path::Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |why: String| Failure::new(format!("cannot read the password in {}: {why}", file.display()));
    if file.metadata().is_ok_and(|metadata| metadata.len() > PASSWORD_BYTES_MAX) {
        return Err(failed(format!("it is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|cause| failed(cause.to_string()))?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}
