//! Passwords, hashed and verified with argon2id away from the writer and from the threads that answer requests.
//!
//! A hash takes tens of milliseconds and 19 MiB, so only a few are computed at the same time. If there is no hash to
//! verify against, the same amount of work is done, so that the time reveals nothing. Wrong passwords are counted, so
//! that nobody can keep guessing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::db::Now;
use crate::domain::{Password, Time};
use crate::error::Error;

/// The parameters that OWASP recommends for argon2id with this amount of memory.
const MEMORY_KIB: u32 = 19 << 10;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

const AT_ONCE_MAX: usize = 2;
static PERMITS: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

const WRONG_MAX: u32 = 10;
const WRONG_COUNT_FOR_SECONDS: i64 = 15 * 60;

/// The work on a password that must be done before a request can be carried out.
#[derive(Debug)]
pub enum Work {
    /// Hash a new password.
    Hash(Password),
    /// Verify a password against a stored hash, or against `None` if there is no hash. Wrong passwords count against
    /// `account`: the person together with the organization that invites them, so that one organization cannot lock a
    /// person out of another.
    Verify { password: Password, against: Option<String>, account: String },
}

/// The outcome of the work on a password.
#[derive(Debug, Default)]
pub enum Outcome {
    /// There was no work to do.
    #[default]
    Nothing,
    /// The hash of the new password, a PHC string.
    Hashed(String),
    /// The password matches this stored hash.
    Verified(String),
    Wrong,
}

/// Does the work on a thread that may block.
///
/// # Errors
///
/// [`Error::RateLimited`] after too many wrong passwords for the account, [`Error::Internal`] if the work fails.
pub async fn work(failed_attempts: &FailedAttempts, work: Work, now: Now) -> Result<Outcome, Error> {
    let permit = PERMITS.acquire().await.expect("the semaphore is never closed");
    let salt = salt(now);
    let account = match &work {
        Work::Hash(_) => None,
        Work::Verify { account, .. } => Some(account.clone()),
    };
    account.iter().try_for_each(|account| failed_attempts.count(account, now.time))?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit; // held until the work ends, even if nobody waits for it any more
        match work {
            Work::Hash(password) => hash(&password, &salt).map(Outcome::Hashed),
            Work::Verify { password, against, .. } => verify(&password, against, &salt),
        }
    });
    let outcome = done.await.map_err(|cause| Error::Internal(format!("the work on a password failed: {cause}")))??;
    if let (Outcome::Verified(_), Some(account)) = (&outcome, account) {
        failed_attempts.forget(&account);
    }
    Ok(outcome)
}

/// How many wrong passwords were recently sent, by account. It is kept in memory, so a restart resets it.
#[derive(Debug, Default)]
pub struct FailedAttempts(Mutex<HashMap<String, Guessed>>);

#[derive(Debug)]
struct Guessed {
    since: Time,
    times: u32,
}

impl Guessed {
    fn ends(&self) -> Time {
        self.since.plus_seconds(WRONG_COUNT_FOR_SECONDS)
    }
}

impl FailedAttempts {
    /// Counts an attempt before it is made, so that simultaneous attempts count too.
    fn count(&self, account: &str, now: Time) -> Result<(), Error> {
        let mut failed_attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed_attempts.retain(|_, guessed| guessed.ends() > now);
        let guessed = failed_attempts.entry(account.to_owned()).or_insert(Guessed { since: now, times: 0 });
        if guessed.times >= WRONG_MAX {
            let left = (guessed.ends().0 - now.0) / 1000 + 1;
            return Err(Error::RateLimited { retry_after_seconds: u32::try_from(left).unwrap_or(u32::MAX) });
        }
        guessed.times += 1;
        Ok(())
    }

    fn forget(&self, account: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(account);
    }
}

/// The salt of a password. It does not need to be secret, only unique to the password. It reveals nothing about the
/// random numbers from which keys are made.
fn salt(now: Now) -> [u8; SALT_BYTES] {
    let digest = Sha256::new().chain_update(b"guildhall password salt").chain_update(now.seed).finalize();
    *digest.first_chunk().expect("a SHA-256 is longer than a salt")
}

fn hash(password: &Password, salt: &[u8; SALT_BYTES]) -> Result<String, Error> {
    let hash = argon2id().hash_password_with_salt(password.expose().as_bytes(), salt);
    hash.map(|hash| hash.to_string()).map_err(|cause| Error::Internal(format!("cannot hash a password: {cause}")))
}

fn verify(password: &Password, against: Option<String>, salt: &[u8; SALT_BYTES]) -> Result<Outcome, Error> {
    let Some(against) = against else {
        hash(password, salt)?;
        return Ok(Outcome::Wrong);
    };
    let stored = PasswordHash::new(&against)
        .map_err(|cause| Error::Internal(format!("a stored password hash cannot be read: {cause}")))?;
    let verified = argon2id().verify_password(password.expose().as_bytes(), &stored).is_ok();
    Ok(if verified { Outcome::Verified(against) } else { Outcome::Wrong })
}

fn argon2id() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these parameters are in bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}
