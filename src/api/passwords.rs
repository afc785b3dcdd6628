//! Passwords, hashed and verified with argon2id away from the writer and from the threads that answer requests.
//!
//! A hash takes tens of milliseconds and 19 MiB, so only a few are computed at the same time. If there is no hash to
//! verify against, the same amount of work is done, so that the time reveals nothing. [`guesses`](crate::api::guesses)
//! counts wrong passwords, so that nobody can keep guessing.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::api::guesses::{Guess, Guesses};
use crate::db::Now;
use crate::domain::Password;
use crate::error::Error;

/// The parameters that OWASP recommends for argon2id with this amount of memory.
const MEMORY_KIB: u32 = 19 << 10;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

const AT_ONCE_MAX: usize = 2;
static PERMITS: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// The work on a password that must be done before a request can be carried out.
#[derive(Debug)]
pub enum Work {
    /// Hash a new password.
    Hash(Password),
    /// Verify the old password as [`Work::Verify`] does, and hash the new one.
    Change { old: Password, new: Password, against: Option<String>, guess: Guess },
    /// Verify a password against a stored hash, or against `None` if there is no hash. `guess` says for which account and
    /// from where wrong passwords are counted.
    Verify { password: Password, against: Option<String>, guess: Guess },
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
    /// The old password matches this stored hash, and this is the hash of the new one.
    Changed {
        verified: String,
        hashed: String,
    },
    Wrong,
}

/// Does the work on a thread that may block. Returns its outcome, and how many attempts for the account count now.
///
/// # Errors
///
/// [`Error::RateLimited`] after too many wrong passwords, [`Error::Internal`] if the work fails.
pub async fn work(guesses: &Guesses, work: Work, now: Now) -> Result<(Outcome, u32), Error> {
    let guess = match &work {
        Work::Hash(_) => None,
        Work::Verify { guess, .. } | Work::Change { guess, .. } => Some(guess.clone()),
    };
    let attempts = guess.as_ref().map_or(Ok(0), |guess| guesses.count(guess, now.time))?;
    let permit = PERMITS.acquire().await.expect("the semaphore is never closed");
    let salt = salt(now);
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit; // held until the work ends, even if nobody waits for it any more
        match work {
            Work::Hash(password) => hash(&password, &salt).map(Outcome::Hashed),
            Work::Verify { password, against, .. } => verify(&password, against, &salt),
            Work::Change { old, new, against, .. } => match verify(&old, against, &salt)? {
                Outcome::Verified(verified) => hash(&new, &salt).map(|hashed| Outcome::Changed { verified, hashed }),
                other => Ok(other),
            },
        }
    });
    let outcome = done.await.map_err(|cause| Error::Internal(format!("the work on a password failed: {cause}")))??;
    if let (Outcome::Verified(_) | Outcome::Changed { .. }, Some(guess)) = (&outcome, guess) {
        guesses.forgive(&guess);
    }
    Ok((outcome, attempts))
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
