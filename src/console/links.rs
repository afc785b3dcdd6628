//! The pages that links of mails lead to: accepting an invitation, and setting a new password.
//!
//! Opening a page uses nothing up: mail programs open links too. Only sending its form does.

use askama::Template;

use crate::api::Reply;
use crate::api::guesses::Guess;
use crate::api::passwords::{Outcome, Work};
use crate::console::context::{PageContext, to};
use crate::console::rendering::html;
use crate::console::sign_in::Files;
use crate::console::{session, view};
use crate::db::first_run::{self, Founding};
use crate::db::invitations::{self, Identity, Joiner, Offer};
use crate::db::{Tx, password_resets, sessions};
use crate::domain::invitations::InvitedTeam;
use crate::domain::{Email, OrgRole, Organization, Password, PersonName, TeamName};
use crate::error::Error;
use crate::policy::{Caller, Operator};

// ---- invitations ----

#[derive(Template)]
#[template(path = "accept.html")]
struct Accept {
    files: Files,
    organization: Organization,
    invited_teams: Vec<InvitedTeam>,
    email: String,
    name: String,
    problem: Option<String>,
}

pub fn show_invitation(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Reply, Error> {
    let offer = invitations::open(tx, ctx.param("token"))?;
    page(tx, ctx, &offer, ctx.refused.map(|refused| refused.message.clone()))
}

fn page(tx: &Tx, ctx: &PageContext, offer: &Offer, problem: Option<String>) -> Result<Reply, Error> {
    let (organization, invited_teams) = offer.place(tx)?;
    html(&Accept {
        files: Files::here(),
        organization,
        invited_teams,
        email: offer.email().to_owned(),
        name: ctx.form.text("name").to_owned(),
        problem,
    })
}

/// Finds the work on the password. An address that belongs to nobody takes the same work as a known one.
pub fn find_acceptance_work(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Option<Work>, Error> {
    let (name, password) = (name(ctx)?, password(ctx)?);
    let offer = invitations::open(tx, ctx.param("token"))?;
    let against = match offer.identify(None, None)? {
        Identity::New(_) if name.is_some() => return Ok(Some(Work::Hash(password))),
        Identity::New(_) => None,
        Identity::Unproven { password_hash } => password_hash.map(str::to_owned),
        Identity::Proven(_) => return Ok(None),
    };
    let guess = Guess::new(offer.account(), ctx.request.log.peer());
    Ok(Some(Work::Verify { password, against, guess }))
}

/// Accepts an invitation and signs the person in, unless they sign in with a code too. A wrong password is recorded, so its refusal is a page and no error.
pub fn accept(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Reply, Error> {
    let offer = invitations::open(tx, ctx.param("token"))?;
    let (verified, hashed) = match ctx.password {
        Outcome::Verified(stored) => (Some(stored.as_str()), None),
        Outcome::Hashed(hash) => (None, Some(hash.clone())),
        Outcome::Nothing | Outcome::Wrong | Outcome::Changed { .. } => (None, None),
    };
    let joiner = match (offer.identify(None, verified)?, name(ctx)?, hashed) {
        (Identity::Proven(known), _, _) => Joiner::Existing(known),
        (Identity::New(newcomer), Some(name), Some(hash)) => Joiner::New { newcomer, name, password_hash: Some(hash) },
        (Identity::New(_) | Identity::Unproven { .. }, _, _) => {
            invitations::record_wrong_password(tx, &offer)?;
            let sentence = "That did not work. If you are new here, enter your name and choose a password. If you have an \
                            account, enter its password.";
            let refused = page(tx, ctx, &offer, Some(sentence.to_owned()))?;
            return Ok(Reply { status: 403, ..refused });
        }
    };
    let accepted = invitations::accept(tx, &offer, joiner, None)?;
    let new = sessions::begin_accepted(tx, &accepted, &session::place(ctx.request))?;
    let Some(new) = new else { return Ok(to("/sign-in?done=joined")) };
    let first = accepted.invited_teams.first();
    let mut reply = match (first, accepted.role) {
        (Some(invited), _) => to(&format!("/t/{}?done=joined", invited.team.id)),
        (None, OrgRole::Admin | OrgRole::Member) => to("/"),
    };
    session::give(&mut reply, ctx.request, &new);
    Ok(reply)
}

/// The name in the form. A person who has an account may leave it empty.
fn name(ctx: &PageContext) -> Result<Option<PersonName>, Error> {
    match ctx.form.text("name").trim() {
        "" => Ok(None),
        name => PersonName::parse(name).map(Some),
    }
}

fn password(ctx: &PageContext) -> Result<Password, Error> {
    Password::parse(ctx.form.text("password").to_owned())
}

// ---- new passwords ----

#[derive(Template)]
#[template(path = "reset.html")]
struct Reset {
    files: Files,
    email: String,
    problem: Option<String>,
}

pub fn show_reset(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Reply, Error> {
    let reset = password_resets::open(tx, ctx.param("token"))?;
    html(&Reset {
        files: Files::here(),
        email: reset.user().email.clone(),
        problem: ctx.refused.map(|refused| refused.message.clone()),
    })
}

/// Checks that the link works, and returns the work of hashing the new password.
pub fn find_reset_work(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Option<Work>, Error> {
    let password = password(ctx)?;
    password_resets::open(tx, ctx.param("token"))?;
    Ok(Some(Work::Hash(password)))
}

/// Sets a new password. The link is looked up again, because it may have been used since the password was hashed.
pub fn reset(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Reply, Error> {
    let reset = password_resets::open(tx, ctx.param("token"))?;
    let Outcome::Hashed(hash) = ctx.password else {
        return Err(Error::Internal("a password was not hashed".to_owned()));
    };
    password_resets::apply(tx, &reset, hash, None)?;
    Ok(to("/sign-in?done=password"))
}

// ---- the first run ----

#[derive(Template)]
#[template(path = "setup.html")]
struct Setup {
    files: Files,
    organization: String,
    name: String,
    email: String,
    problem: Option<String>,
}

/// Shows the form that makes the first organization.
pub fn show_setup(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Reply, Error> {
    open_setup(tx, ctx)?;
    html(&Setup {
        files: Files::here(),
        organization: ctx.form.text("organization").to_owned(),
        name: ctx.form.text("name").to_owned(),
        email: ctx.form.text("email").to_owned(),
        problem: ctx.refused.map(|refused| refused.message.clone()),
    })
}

fn open_setup<'c>(tx: &Tx, ctx: &'c PageContext) -> Result<&'c Operator, Error> {
    let operator = ctx.operator.ok_or(Error::NotFound("setup link"))?;
    if first_run::is_open(tx)? { Ok(operator) } else { Err(Error::NotFound("setup link")) }
}

pub fn find_setup_work(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Option<Work>, Error> {
    open_setup(tx, ctx)?;
    founded(ctx, String::new())?;
    password(ctx).map(|password| Some(Work::Hash(password)))
}

fn founded(ctx: &PageContext, password_hash: String) -> Result<Founding, Error> {
    Ok(Founding {
        organization: TeamName::parse(ctx.form.text("organization"))?,
        email: Email::parse(ctx.form.text("email"))?,
        name: PersonName::parse(ctx.form.text("name"))?,
        password_hash,
    })
}

/// Makes the first organization and its first admin, and signs the admin in.
pub fn setup(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Reply, Error> {
    let operator = open_setup(tx, ctx)?;
    let Outcome::Hashed(hash) = ctx.password else {
        return Err(Error::Internal("a password was not hashed".to_owned()));
    };
    let new = first_run::found(tx, operator, &founded(ctx, hash.clone())?, &session::place(ctx.request))?;
    let mut reply = to("/");
    session::give(&mut reply, ctx.request, &new);
    Ok(reply)
}
