//! The one-time link by which a browser sets up an empty installation.
//!
//! It is made when the server starts and printed for the operator, so whoever holds it counts as the operator. Only its
//! hash is kept, and in memory alone: the next start makes another. It works for 30 minutes, while there is no
//! organization. Opening it does not use it up.

use std::sync::OnceLock;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use subtle::ConstantTimeEq as _;

use crate::db::Now;
use crate::domain::Time;
use crate::policy::Operator;
use crate::token::{self, LinkToken, TokenHash};

const VALID_FOR_SECONDS: i64 = 30 * 60;

/// The link of this run of the server, if one was made.
#[derive(Debug, Default)]
pub struct FirstRun(OnceLock<Link>);

#[derive(Debug)]
struct Link {
    token_hash: TokenHash,
    expires_at: Time,
}

impl FirstRun {
    /// Makes the link. Its token can be shown only once. `None` if this run has made one already.
    pub fn begin(&self, now: Now) -> Option<LinkToken> {
        let token = LinkToken::generate(&mut StdRng::from_seed(now.seed));
        let link = Link { token_hash: token.hash(), expires_at: now.time.plus_seconds(VALID_FOR_SECONDS) };
        self.0.set(link).ok().map(|()| token)
    }

    /// The proof that the holder of this token is the operator. `None` for a token that does not work. Whether there is
    /// no organization yet is checked when the first one is made.
    pub fn open(&self, token: &str, now: Time) -> Option<Operator> {
        let link = self.0.get().filter(|link| now < link.expires_at)?;
        let is_it: bool = token::link_hash(token).ct_eq(&link.token_hash).into();
        is_it.then(Operator::of_this_host)
    }
}
