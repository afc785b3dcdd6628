//! Signing in with an e-mail address and a password.
//!
//! An address that belongs to nobody, a person without a password and a wrong password get the same answer after the same
//! work.

use std::net::IpAddr;

use crate::api::App;
use crate::api::guesses::Guess;
use crate::api::passwords::{self, Outcome, Work};
use crate::db::sessions::{self, Place};
use crate::db::{Now, Tx};
use crate::domain::sessions::NewSession;
use crate::domain::{Email, Password};
use crate::error::Error;

/// An attempt to sign in.
#[derive(Debug)]
pub struct Attempt {
    pub email: Email,
    pub password: Password,
    pub place: Place,
}

/// The outcome of an attempt.
#[derive(Debug)]
pub enum Answer {
    SignedIn(NewSession),
    /// The address, the password or both are wrong.
    Wrong,
}

/// Signs a person in.
///
/// # Errors
///
/// [`Error::RateLimited`] after too many attempts of this peer; [`Error::Forbidden`] for a person who is in no organization.
pub async fn sign_in(app: &App, attempt: Attempt, now: Now) -> Result<Answer, Error> {
    let Attempt { email, password, place } = attempt;
    let against = app.db.read(now, |tx| sessions::password_hash(tx, &email))?;
    let guess = Guess::new(email.as_str().to_owned(), place.address);
    let verify = Work::Verify { password, against, guess };
    let Outcome::Verified(stored) = verified(app, verify, &email, place.address, now).await? else {
        return Ok(Answer::Wrong);
    };
    let begin = move |tx: &Tx| match sessions::shown_by_password(tx, &email, &stored)? {
        Some(shown) => sessions::begin(tx, &shown, &place).map(Answer::SignedIn),
        None => Ok(Answer::Wrong), // the password was changed meanwhile
    };
    app.db.write(now, begin).await
}

/// Verifies a password. Failed attempts are recorded in the audit log, each time that their number is a power of ten.
async fn verified(app: &App, verify: Work, email: &Email, address: Option<IpAddr>, now: Now) -> Result<Outcome, Error> {
    let (outcome, attempts) = passwords::work(&app.guesses, verify, now).await?;
    if matches!(outcome, Outcome::Wrong) && is_power_of_ten(attempts) {
        let email = email.clone();
        // Nobody waits for this write: the answer must take the same time whether a person has the address or not.
        app.db.write_later(now, move |tx| sessions::record_failed(tx, &email, attempts, address));
    }
    Ok(outcome)
}

fn is_power_of_ten(number: u32) -> bool {
    number.checked_ilog10().is_some_and(|digits| 10_u32.pow(digits) == number)
}
