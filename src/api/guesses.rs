//! Counts wrong passwords, so that nobody can keep guessing and nobody can lock others out.
//!
//! Attempts are counted for an account together with the peer that makes them, and for the peer. Wrong passwords from one
//! peer therefore never keep the right one from another peer out. While very many are sent for one account, each peer has
//! fewer attempts for it. The counts are in memory, so a restart resets them. How many there are is bounded by how many
//! passwords can be verified in the time for which they count.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::domain::Time;
use crate::domain::network::counted_address;
use crate::error::Error;

const COUNT_FOR_SECONDS: i64 = 15 * 60;
/// Wrong passwords of one peer for one account.
const OF_PEER_FOR_ACCOUNT_MAX: u32 = 10;
/// The same while the account is under attack.
const OF_PEER_UNDER_ATTACK_MAX: u32 = 3;
/// Wrong passwords for one account, from all peers, from which on it is under attack.
const ATTACK_FROM: u32 = 100;
/// Wrong passwords of one peer for all accounts.
const OF_PEER_MAX: u32 = 100;
/// Wrong codes of the second factor for one account, from all peers. Only who has the password can send them.
const CODES_MAX: u32 = 20;
/// How often counts that have expired are dropped.
const PRUNED_EVERY_SECONDS: i64 = 10;

/// Whose password is guessed, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Guess {
    account: String,
    /// `None` for the operator's socket.
    peer: Option<IpAddr>,
}

impl Guess {
    pub fn new(account: String, peer: Option<IpAddr>) -> Guess {
        Guess { account, peer: peer.map(counted_address) }
    }
}

/// How many wrong passwords and codes were recently sent.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    pairs: Counted<Guess>,
    accounts: Counted<String>,
    peers: Counted<IpAddr>,
    codes: Counted<String>,
    pruned_at: Option<Time>,
}

type Counted<K> = HashMap<K, Count>;

#[derive(Debug)]
struct Count {
    since: Time,
    times: u32,
}

impl Count {
    fn ends(&self) -> Time {
        self.since.plus_seconds(COUNT_FOR_SECONDS)
    }
}

impl Guesses {
    /// Counts an attempt before it is made, so that simultaneous attempts count too. Returns how many attempts for the
    /// account count now, from all peers.
    ///
    /// # Errors
    ///
    /// [`Error::RateLimited`] after too many attempts of the peer for the account, or for all accounts.
    pub fn count(&self, guess: &Guess, now: Time) -> Result<u32, Error> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.prune(now);
        let is_under_attack = times(&counts.accounts, &guess.account, now) >= ATTACK_FROM;
        let of_pair_max = if is_under_attack { OF_PEER_UNDER_ATTACK_MAX } else { OF_PEER_FOR_ACCOUNT_MAX };
        check(&counts.pairs, guess, of_pair_max, now)?;
        guess.peer.iter().try_for_each(|peer| check(&counts.peers, peer, OF_PEER_MAX, now))?;
        add(&mut counts.pairs, guess.clone(), now);
        if let Some(peer) = guess.peer {
            add(&mut counts.peers, peer, now);
        }
        Ok(add(&mut counts.accounts, guess.account.clone(), now))
    }

    /// Takes an attempt back, because the password was right.
    pub fn forgive(&self, guess: &Guess) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.pairs.remove(guess);
        take_back(&mut counts.accounts, &guess.account);
        guess.peer.iter().for_each(|peer| take_back(&mut counts.peers, peer));
    }

    /// Counts a code of the second factor before it is checked.
    ///
    /// # Errors
    ///
    /// [`Error::RateLimited`] after too many wrong codes for the account.
    pub fn count_code(&self, account: &str, now: Time) -> Result<(), Error> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.prune(now);
        check(&counts.codes, account, CODES_MAX, now)?;
        add(&mut counts.codes, account.to_owned(), now);
        Ok(())
    }

    /// Forgets the codes of an account, because one was right.
    pub fn forgive_codes(&self, account: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).codes.remove(account);
    }
}

impl Counts {
    fn prune(&mut self, now: Time) {
        if self.pruned_at.is_some_and(|at| at <= now && at.plus_seconds(PRUNED_EVERY_SECONDS) > now) {
            return;
        }
        self.pruned_at = Some(now);
        self.pairs.retain(|_, count| count.ends() > now);
        self.accounts.retain(|_, count| count.ends() > now);
        self.peers.retain(|_, count| count.ends() > now);
        self.codes.retain(|_, count| count.ends() > now);
    }
}

fn times<K, Q>(counted: &Counted<K>, key: &Q, now: Time) -> u32
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    counted.get(key).filter(|count| count.ends() > now).map_or(0, |count| count.times)
}

fn check<K, Q>(counted: &Counted<K>, key: &Q, times_max: u32, now: Time) -> Result<(), Error>
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    match counted.get(key) {
        Some(count) if count.ends() > now && count.times >= times_max => {
            let left = (count.ends().0 - now.0) / 1000 + 1;
            Err(Error::RateLimited { retry_after_seconds: u32::try_from(left).unwrap_or(u32::MAX) })
        }
        Some(_) | None => Ok(()),
    }
}

fn add<K: Eq + Hash>(counted: &mut Counted<K>, key: K, now: Time) -> u32 {
    let count = counted.entry(key).or_insert(Count { since: now, times: 0 });
    if count.ends() <= now {
        *count = Count { since: now, times: 0 };
    }
    count.times = count.times.saturating_add(1);
    count.times
}

fn take_back<K, Q>(counted: &mut Counted<K>, key: &Q)
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    if let Some(count) = counted.get_mut(key) {
        count.times = count.times.saturating_sub(1);
    }
}
