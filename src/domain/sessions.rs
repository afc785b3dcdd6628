//! Sessions of the console: how long they last, and the cookie that carries them.

use std::net::IpAddr;

use crate::domain::{BaseUrl, OrgId, Time, UserId};
use crate::token::SessionToken;

/// A session ends when nobody has used it for this long.
pub const IDLE_SECONDS: i64 = 12 * 60 * 60;
/// A session ends this long after its password was given, however much it is used.
pub const LASTS_SECONDS: i64 = 14 * 24 * 60 * 60;
/// How many sessions one person may have. A further one ends the one that was not used for the longest time.
pub const PER_PERSON_MAX: usize = 20;
/// How precise the time of the last use is.
pub const SEEN_NOTED_EVERY_SECONDS: i64 = 60;
/// How long the token before a replacement still works, for requests that were under way.
pub const REPLACED_WORKS_SECONDS: i64 = 30;
const USER_AGENT_CHARS_MAX: usize = 200;

/// One person who is signed in to one organization.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: String,
    pub org_id: OrgId,
    pub user_id: UserId,
    /// When the person gave their password.
    pub signed_in_at: Time,
    pub created_at: Time,
    pub last_seen_at: Time,
    pub expires_at: Time,
    pub user_agent: UserAgent,
    /// The address from which the person signed in.
    pub address: Option<IpAddr>,
}

impl Session {
    /// When a session that is used now ends, unless it is used again.
    pub fn expiry(signed_in_at: Time, now: Time) -> Time {
        now.plus_seconds(IDLE_SECONDS).min(signed_in_at.plus_seconds(LASTS_SECONDS))
    }
}

/// The program that holds a session, as it calls itself: at most 200 characters, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent(String);

impl UserAgent {
    pub fn of(header: Option<&str>) -> UserAgent {
        let kept = header.unwrap_or_default().chars().filter(|c| !c.is_control());
        UserAgent(kept.take(USER_AGENT_CHARS_MAX).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name and the attributes of the cookie that carries a session's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The public URL is https. Browsers take this name from this host alone, and only over https.
    Secure,
    /// The public URL is http, as on one's own machine.
    Plain,
}

impl Cookie {
    /// The cookie of a server that browsers reach at this URL.
    pub fn of(base_url: &BaseUrl) -> Cookie {
        if base_url.is_https() { Cookie::Secure } else { Cookie::Plain }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Cookie::Secure => "__Host-guildhall",
            Cookie::Plain => "guildhall",
        }
    }

    /// The value of a `Set-Cookie` header that gives the browser this token.
    pub fn set(self, token: &SessionToken) -> String {
        self.text(token.reveal(), LASTS_SECONDS)
    }

    /// The value of a `Set-Cookie` header that takes the token from the browser.
    pub fn clear(self) -> String {
        self.text("", 0)
    }

    /// The token in a `Cookie` header. `None` if there is none, or if the header names the cookie more than once: then
    /// another site of this host may have set one of them.
    pub fn token(self, header: &str) -> Option<SessionToken> {
        let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.name()).map(|(_, value)| value);
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        SessionToken::parse(value)
    }

    fn text(self, value: &str, seconds: i64) -> String {
        let secure = match self {
            Cookie::Secure => "; Secure",
            Cookie::Plain => "",
        };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", self.name())
    }
}

/// A session that has just begun, and its token, which can be shown only once.
#[derive(Debug)]
pub struct NewSession {
    pub session: Session,
    pub token: SessionToken,
}
