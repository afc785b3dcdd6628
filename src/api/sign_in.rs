//! Signing in with an e-mail address and a password.
//!
//! An address that belongs to nobody, a person without a password and a wrong password get the same answer after the same
//! work.

use std::net::IpAddr;

use crate::api::App;
use crate::api::guesses::Guess;
use crate::api::passwords::{self, Outcome, Work};
use crate::db::password_resets;
use crate::db::sessions::{self, ByPassword, Place, Ticket};
use crate::db::{Now, Tx};
use crate::domain::mail::Mailing;
use crate::domain::second_factor::Code;
use crate::domain::sessions::NewSession;
use crate::domain::{BaseUrl, Email, Password};
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
    /// The password is right, and the person gives a code too: [`confirm`].
    CodeNeeded(Ticket),
    /// The address, the password or both are wrong, or the code.
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
        Some(ByPassword::Shown(shown)) => sessions::begin(tx, &shown, &place).map(Answer::SignedIn),
        Some(ByPassword::CodeNeeded(ticket)) => Ok(Answer::CodeNeeded(ticket)),
        None => Ok(Answer::Wrong), // the password was changed meanwhile
    };
    app.db.write(now, begin).await
}

/// Signs in a person who has given their password, by a code of their authenticator or a recovery code. A ticket that does
/// not work any more is [`Answer::Wrong`], as a wrong code is: the person begins again.
///
/// # Errors
///
/// [`Error::RateLimited`] after too many wrong codes for this person; [`Error::Forbidden`] for a person who is in no
/// organization.
pub async fn confirm(app: &App, ticket: Ticket, code: Code, place: Place, now: Now) -> Result<Answer, Error> {
    let Some(user_id) = app.db.read(now, |tx| sessions::person_of_ticket(tx, &ticket))? else {
        return Ok(Answer::Wrong);
    };
    app.guesses.count_code(user_id.as_str(), now.time)?;
    let begin = move |tx: &Tx| match sessions::shown_by_code(tx, &ticket, &code)? {
        Some(shown) => sessions::begin(tx, &shown, &place).map(Answer::SignedIn),
        None => Ok(Answer::Wrong),
    };
    let answer = app.db.write(now, begin).await?;
    if matches!(answer, Answer::SignedIn(_)) {
        app.guesses.forgive_codes(user_id.as_str());
    }
    Ok(answer)
}

/// Writes a mail with a link to a person who has forgotten their password. Nobody waits for it, and the answer is the same
/// for everybody. Without a mail server nothing happens.
///
/// # Errors
///
/// [`Error::RateLimited`] after too many such requests from one peer.
pub fn mail_forgotten(
    app: &App,
    email: Email,
    base_url: &BaseUrl,
    peer: Option<IpAddr>,
    now: Now,
) -> Result<(), Error> {
    if app.mailing() == Mailing::Off {
        return Ok(());
    }
    app.guesses.count(&Guess::new("a forgotten password".to_owned(), peer), now.time)?;
    let url = format!("{base_url}/reset/");
    app.db.write_later(now, move |tx| password_resets::mail_forgotten(tx, &email, |token| url + token));
    Ok(())
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
