//! One's own account: the name, and the sessions.

use askama::Template;

use crate::api::Reply;
use crate::api::guesses::Guess;
use crate::api::passwords::{Outcome, Work};
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::{session, view};
use crate::db::{Tx, passwords, sessions, users};
use crate::domain::sessions::Session;
use crate::domain::{Organization, Password, PersonName};
use crate::error::Error;
use crate::policy::{Caller, InOrg};

#[derive(Template)]
#[template(path = "profile.html")]
struct Profile {
    frame: Frame,
    name: String,
    organizations: Vec<Organization>,
}

pub fn show(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::Account, None)?;
    let (_, person) = org.caller().as_member()?;
    html(&Profile {
        name: ctx.form.given("name").unwrap_or(&frame.me.name).to_owned(),
        organizations: sessions::organizations_of(tx, &person.user_id)?,
        frame,
    })
}

pub fn rename(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let (_, person) = org.caller().as_member()?;
    users::rename(tx, org, person, &PersonName::parse(ctx.form.text("name"))?)?;
    Ok(to("/account?done=saved"))
}

/// Goes on in another organization of the person.
pub fn switch(tx: &Tx, _: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let session = ctx.session.ok_or(Error::Unauthenticated)?;
    let new = sessions::switch(tx, &session.signed_in, ctx.form.text("org_id"))?;
    let mut reply = to("/");
    session::give(&mut reply, ctx.request, &new);
    Ok(reply)
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    frame: Frame,
    rows: Vec<Session>,
    current: String,
    pager: Pager,
}

pub fn sessions(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let (_, person) = org.caller().as_member()?;
    let page = sessions::list(tx, org, person, &ctx.paging("sessions")?)?;
    html(&Sessions {
        frame: Frame::new(tx, ctx, Nav::Account, None)?,
        rows: page.items,
        current: org.caller().session_id().unwrap_or_default().to_owned(),
        pager: Pager::by_cursor(ctx, "sessions", page.next.as_deref()),
    })
}

pub fn revoke_session(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let (_, person) = org.caller().as_member()?;
    sessions::revoke(tx, org, person, ctx.param("session_id"))?;
    Ok(to("/account/sessions?done=revoked"))
}

// ---- the password ----

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    frame: Frame,
}

pub fn password(tx: &Tx, _: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    html(&PasswordPage { frame: Frame::new(tx, ctx, Nav::Account, None)? })
}

/// Finds the work of verifying the old password and hashing the new one.
pub fn find_password_work(tx: &Tx, _: Option<&Caller>, ctx: &PageContext) -> Result<Option<Work>, Error> {
    let session = ctx.session.ok_or(Error::Unauthenticated)?;
    let (email, against) = passwords::of_signed_in(tx, &session.signed_in)?;
    let parse = |field| Password::parse(ctx.form.text(field).to_owned());
    let old = parse("old").map_err(|_| wrong_password())?;
    let guess = Guess::new(email.as_str().to_owned(), ctx.request.log.peer());
    Ok(Some(Work::Change { old, new: parse("new")?, against, guess }))
}

pub fn change_password(tx: &Tx, _: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let session = ctx.session.ok_or(Error::Unauthenticated)?;
    let Outcome::Changed { verified, hashed } = ctx.password else { return Err(wrong_password()) };
    let token = passwords::change(tx, &session.signed_in, verified, hashed)?;
    let token = token.ok_or_else(|| Error::Invalid("the password was changed meanwhile: try again".to_owned()))?;
    let mut reply = to("/account/password?done=password");
    session::renew(&mut reply, ctx.request, &token);
    Ok(reply)
}

fn wrong_password() -> Error {
    Error::Invalid("the old password is wrong".to_owned())
}
