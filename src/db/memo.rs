//! What a thread remembers from one request to the next: the callers of keys, and teams.
//!
//! The entries are valid until the next commit is announced, so they are never older than the snapshot that the thread
//! reads without them. Facts that depend on the time of a request (whether a key has expired, when it was last used)
//! are judged at each request. The writer has no memo.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::domain::{Team, Time};
use crate::error::Error;
use crate::policy::Caller;
use crate::token::TokenHash;

/// How many entries of one kind are kept; when there are more, all of that kind are forgotten.
const ENTRIES_MAX: usize = 10_000;

/// What one thread remembers of one database.
#[derive(Default)]
pub(super) struct Memo {
    /// How many commits had been announced when the entries were read.
    commits: Cell<u64>,
    keys: RefCell<HashMap<TokenHash, KnownKey>>,
    teams: RefCell<HashMap<String, Team>>,
}

/// A key that works, unless it has expired.
#[derive(Clone)]
pub(super) struct KnownKey {
    pub caller: Caller,
    pub last_used_at: Option<Time>,
}

impl Memo {
    /// Forgets everything if the number of commits has changed.
    pub fn keep_at(&self, commits: u64) {
        if self.commits.replace(commits) != commits {
            self.keys.borrow_mut().clear();
            self.teams.borrow_mut().clear();
        }
    }

    /// The key with this hash. Where it is not known, `find` looks it up; only a key that it finds is remembered.
    pub fn key(
        memo: Option<&Memo>,
        hash: &TokenHash,
        find: impl FnOnce() -> Result<KnownKey, Error>,
    ) -> Result<KnownKey, Error> {
        let Some(memo) = memo else { return find() };
        remember(&memo.keys, hash, find)
    }

    /// The team with this id. Where it is not known, `find` looks it up; only a team that it finds is remembered.
    pub fn team(memo: Option<&Memo>, id: &str, find: impl FnOnce() -> Result<Team, Error>) -> Result<Team, Error> {
        let Some(memo) = memo else { return find() };
        remember(&memo.teams, id, find)
    }
}

fn remember<Q, K, V>(
    entries: &RefCell<HashMap<K, V>>,
    key: &Q,
    find: impl FnOnce() -> Result<V, Error>,
) -> Result<V, Error>
where
    Q: Eq + std::hash::Hash + ToOwned<Owned = K> + ?Sized,
    K: Eq + std::hash::Hash + std::borrow::Borrow<Q>,
    V: Clone,
{
    if let Some(known) = entries.borrow().get(key) {
        return Ok(known.clone());
    }
    let found = find()?;
    let mut entries = entries.borrow_mut();
    if entries.len() >= ENTRIES_MAX {
        entries.clear();
    }
    entries.insert(key.to_owned(), found.clone());
    Ok(found)
}
