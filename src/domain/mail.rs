//! Mails: what they say, and how far they have come.

use crate::domain::{Email, Time};

/// How long an attempt is followed by a pause, at first. Each further pause is twice as long.
const PAUSE_SECONDS: i64 = 30;
const PAUSE_SECONDS_MAX: i64 = 60 * 60;
/// How often a mail is tried.
pub const ATTEMPTS_MAX: u32 = 12;
const PROBLEM_CHARS_MAX: usize = 200;

/// Whether this server sends mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mailing {
    /// No mail server is configured: links are shown to whoever makes them.
    #[default]
    Off,
    On,
}

/// How far a mail has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// None was written, because no mail server was configured.
    NotConfigured,
    /// It waits for its first or its next attempt. `problem` is what the mail server said at the last one.
    Queued {
        problem: Option<String>,
    },
    Sent,
    Failed {
        problem: Option<String>,
    },
}

impl Delivery {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Delivery::NotConfigured => "NOT_CONFIGURED",
            Delivery::Queued { .. } => "QUEUED",
            Delivery::Sent => "SENT",
            Delivery::Failed { .. } => "FAILED",
        }
    }

    /// The mail server's words about an attempt that failed.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Delivery::Queued { problem } | Delivery::Failed { problem } => problem.as_deref(),
            Delivery::NotConfigured | Delivery::Sent => None,
        }
    }

    /// The state with this name in the database. `None` for another name.
    pub fn parse(name: &str, problem: Option<String>) -> Option<Delivery> {
        match name {
            "QUEUED" => Some(Delivery::Queued { problem }),
            "SENT" => Some(Delivery::Sent),
            "FAILED" => Some(Delivery::Failed { problem }),
            _ => None,
        }
    }
}

/// A mail of plain text with one link. `Debug` does not print the link.
pub struct Letter {
    pub recipient: Email,
    pub subject: String,
    pub text: String,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter(to {})", self.recipient.as_str())
    }
}

impl Letter {
    /// The mail to somebody who is invited.
    pub fn of_invitation(
        recipient: Email,
        organization_name: &str,
        inviter_email: &str,
        url: &str,
        expires_at: Time,
    ) -> Letter {
        let organization = without_links(organization_name);
        Letter {
            recipient,
            subject: format!("Invitation to {organization}"),
            text: format!(
                "{inviter_email} invites you to the organization \"{organization}\" on Guildhall.\n\n\
                 Accept the invitation here:\n\n{url}\n\n\
                 The link works once, until {expires_at}. If you do not know the sender, ignore this mail.\n"
            ),
        }
    }

    /// The mail to somebody who sets a new password.
    pub fn of_password_reset(recipient: Email, url: &str, expires_at: Time) -> Letter {
        Letter {
            recipient,
            subject: "Set a new password".to_owned(),
            text: format!(
                "Somebody asked for a link with which you can set a new password on Guildhall.\n\n\
                 Set it here:\n\n{url}\n\n\
                 The link works once, until {expires_at}. If you did not ask for it, ignore this mail: your password stays \
                 as it is.\n"
            ),
        }
    }
}

/// A name in which mail programs see no link of its own.
fn without_links(name: &str) -> String {
    name.replace("://", " ").replace("www.", "www ")
}

/// When the next attempt follows on an attempt, of which so many were made.
pub fn next_attempt_at(now: Time, attempts: u32) -> Time {
    let doublings = attempts.saturating_sub(1).min(10);
    now.plus_seconds((PAUSE_SECONDS << doublings).min(PAUSE_SECONDS_MAX))
}

/// The mail server's words as they are kept: short, on one line, and without these secrets.
pub fn problem(words: &str, secrets: &[&str]) -> String {
    if secrets.iter().any(|secret| !secret.is_empty() && words.contains(secret)) {
        return "the mail server refused it, and its words repeat a secret".to_owned();
    }
    let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().filter(|c| !c.is_control()).take(PROBLEM_CHARS_MAX).collect()
}
