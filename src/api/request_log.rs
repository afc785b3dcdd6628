//! What the log says about a request: one line, with ids and never a credential.
//!
//! The line contains only what the server itself chose or has checked: the template of a route and never the path, the
//! id of a user or the prefix of a key and never the key.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Instant;

use tracing::field::display;

use crate::api::refusal::Api;
use crate::api::reply::Reply;
use crate::domain::{OrgId, Team, TeamId};
use crate::error::Error;
use crate::policy::{Caller, Who};
use crate::token::PlainKey;

const ID_CHARS_MIN: usize = 8;
const ID_CHARS_MAX: usize = 64;

/// What the server learns about a request while it answers it.
#[derive(Debug)]
pub struct RequestLog {
    id: String,
    since: Instant,
    method: &'static str,
    peer: Option<IpAddr>,
    route: OnceLock<&'static str>,
    api: OnceLock<Api>,
    actor: OnceLock<Actor>,
    team: OnceLock<TeamId>,
}

/// The sender of the request.
#[derive(Debug)]
struct Actor {
    org_id: OrgId,
    user: Option<String>,
    key: String,
    team: Option<TeamId>,
}

impl Actor {
    fn id(&self) -> &str {
        self.user.as_ref().unwrap_or(&self.key)
    }
}

impl Default for RequestLog {
    fn default() -> RequestLog {
        RequestLog::begin(None, "", None)
    }
}

impl RequestLog {
    /// Begins the log of a request. The request keeps the id that it was given, if this can be nothing but an id.
    pub fn begin(given_id: Option<&str>, method: &str, peer: Option<IpAddr>) -> RequestLog {
        RequestLog {
            id: given_id.filter(|id| is_id(id)).map_or_else(new_id, str::to_owned),
            since: Instant::now(),
            method: known(method),
            peer,
            route: OnceLock::new(),
            api: OnceLock::new(),
            actor: OnceLock::new(),
            team: OnceLock::new(),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The address that the request came from, or that a trusted proxy names.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The sender, once it is known: the organization, and the id of the user or the prefix of a key that belongs to no
    /// person.
    pub fn sender(&self) -> Option<(&OrgId, &str)> {
        self.actor.get().map(|actor| (&actor.org_id, actor.id()))
    }

    /// Records the API whose shape a refusal of this request has.
    pub fn note_api(&self, api: Api) {
        self.api.get_or_init(|| api);
    }

    /// Records the template of the request's route.
    pub fn note_template(&self, template: &'static str) {
        self.route.get_or_init(|| template);
    }

    pub fn note_caller(&self, caller: &Caller) {
        self.actor.get_or_init(|| Actor {
            org_id: caller.org_id.clone(),
            user: match &caller.who {
                Who::Person(person) => Some(person.user_id.as_str().to_owned()),
                Who::TeamKey(_) | Who::KeyManager { .. } => None,
            },
            key: caller.prefix().to_owned(),
            team: match &caller.who {
                Who::TeamKey(key) => Some(key.team_id.clone()),
                Who::Person(_) | Who::KeyManager { .. } => None,
            },
        });
    }

    pub fn note_team(&self, team: &Team) {
        self.team.get_or_init(|| team.id.clone());
    }

    /// Logs that a key was sent that does not work. Its prefix is logged only if the text has the form of a key.
    pub fn note_failed_sign_in(&self, key: Option<&PlainKey>) {
        tracing::warn!(
            request_id = self.id,
            key = key.map(PlainKey::prefix),
            peer = self.peer.map(display),
            "sign-in failed: the key does not work"
        );
    }

    pub fn note_wrong_password(&self) {
        tracing::warn!(request_id = self.id, peer = self.peer.map(display), "sign-in failed: the password is wrong");
    }

    /// The reply to a request that failed. The cause of an internal error goes only to the log.
    pub fn refuse(&self, error: &Error) -> Reply {
        self.note_failure(error);
        self.api.get().unwrap_or(&Api::Management).refusal(error, &self.id)
    }

    /// Logs why a request failed, if its status alone does not say it.
    pub fn note_failure(&self, error: &Error) {
        let (request_id, peer) = (self.id.as_str(), self.peer.map(display));
        match error {
            Error::Unread => tracing::error!(request_id, "internal error: a body was asked for that was not read"),
            Error::Internal(cause) | Error::Defect(cause) => tracing::error!(request_id, cause, "internal error"),
            Error::StorageFull => tracing::error!(request_id, "refused: the disk is full"),
            Error::RateLimited { retry_after_seconds } => {
                tracing::warn!(request_id, peer, retry_after_seconds, "refused: too many tries");
            }
            Error::Busy { retry_after_seconds } => {
                let (team, key) = (self.team(), self.key());
                tracing::warn!(request_id, team, key, retry_after_seconds, "refused: too much work waits already");
            }
            Error::QuotaExceeded(quota) => {
                let (team, key) = (self.team(), self.key());
                let (name, used, allowed) = (quota.name, quota.used, quota.allowed);
                tracing::warn!(request_id, team, key, quota = name, used, allowed, "refused by a quota");
            }
            Error::GrowthLimited { bytes_per_hour_max, .. } => {
                let (team, key) = (self.team(), self.key());
                tracing::warn!(request_id, team, key, bytes_per_hour_max, "refused by the quota of growth");
            }
            Error::Invalid(_)
            | Error::Unauthenticated
            | Error::Forbidden(_)
            | Error::NotFound(_)
            | Error::MethodNotAllowed(_)
            | Error::RequestTimeout
            | Error::Conflict(_)
            | Error::TooLarge { .. }
            | Error::NotImplemented(_)
            | Error::Unavailable(_)
            | Error::Call(_) => {}
        }
    }

    /// Writes the one line of the request to the log.
    pub fn answered(&self, status: u16) {
        tracing::info!(
            request_id = self.id,
            method = self.method,
            route = self.route.get(),
            actor = self.actor.get().map(Actor::id),
            key = self.key(),
            team = self.team(),
            peer = self.peer.map(display),
            status,
            milliseconds = self.milliseconds(),
            "request"
        );
    }

    fn key(&self) -> Option<&str> {
        self.actor.get().map(|actor| actor.key.as_str())
    }

    fn team(&self) -> Option<&str> {
        let of_key = || self.actor.get().and_then(|actor| actor.team.as_ref());
        self.team.get().or_else(of_key).map(TeamId::as_str)
    }

    /// The time since the request began, with three decimal places.
    fn milliseconds(&self) -> f64 {
        self.since.elapsed().as_micros() as f64 / 1000.0
    }
}

/// Accepts only hexadecimal digits and hyphens, as in a UUID, so that a key or a token that is sent by mistake is not
/// logged.
fn is_id(text: &str) -> bool {
    (ID_CHARS_MIN..=ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The method as the log names it. A client may send any word as the method, so an unknown method is logged as `OTHER`.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_given_is_kept_only_if_it_can_be_nothing_else() {
        let id = |given: &str| RequestLog::begin(Some(given), "GET", None).id().to_owned();
        for kept in ["8f14e45f", "550e8400-e29b-41d4-a716-446655440000"] {
            assert_eq!(id(kept), kept);
        }
        let too_long = "a".repeat(ID_CHARS_MAX + 1);
        for replaced in ["", "abc", "guild_abcdefgh.x", "two words", "8f14e45f\n", "héx12345", too_long.as_str()] {
            let made = id(replaced);
            assert!(made != replaced && is_id(&made), "{replaced:?} became {made:?}");
        }
    }
}
