//! One-time links by which a person sets a password and may create a personal key: the way to regain access after
//! losing both.
//!
//! An organization admin can make a link only for a person who is in no other organization, because a password gives
//! access to all organizations of its owner. For a person in several organizations only the operator can make one. An
//! admin's link works while the key that requested it works and may manage members, and while the person stays in the
//! organization. A link that an admin requested in a session works while the admin may manage members. The database keeps
//! only a hash of the token.

use rusqlite::named_params;
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, api_keys, callers, mail, organizations, personal_keys, second_factor, sessions, users};
use crate::domain::mail::{Delivery, Letter, Mailing};
use crate::domain::password_resets::{Done, NewLink};
use crate::domain::users::OrgMember;
use crate::domain::{Email, KeyName, OrgId, Time, User, UserId};
use crate::error::Error;
use crate::policy::keys::Lifetime;
use crate::policy::{Caller, InOrg, Operator, OrgAct};
use crate::token::{self, LinkToken};

const VALID_FOR_SECONDS: i64 = 24 * 60 * 60;
/// After how long a person who has forgotten their password gets another mail.
const ASKED_AGAIN_AFTER_SECONDS: i64 = 10 * 60;

/// Makes a link for a person of the organization. An earlier link that the organization made for that person stops
/// working.
///
/// The link expires no later than the key that requested it, and so does a key that is created with the link.
///
/// # Errors
///
/// [`Error::Forbidden`] for a caller without a personal key, and where the person is in another organization too.
pub fn create(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<NewLink, Error> {
    let (_, maker) = org.caller().as_member()?;
    if organizations_of(tx, &member.user.id)?.len() > 1 {
        return Err(Error::Forbidden(
            "this person is in another organization too, and their password opens that as well: ask the operator, who \
             makes a link with `guildhall user password reset`"
                .to_owned(),
        ));
    }
    let link = insert(tx, &member.user, Some((org.caller(), &maker.user_id)))?;
    record(tx, Actor::Caller(org.caller()), org.org_id(), &member.user, "LINK_MADE")?;
    Ok(link)
}

/// Gives a link that was just made to whoever should have it: to the person by mail, or else to the admin who made it.
/// Returns how far the mail has come, and the link if the admin should have it.
pub fn deliver(tx: &Tx, link: &NewLink, url: String, mailing: Mailing) -> Result<(Delivery, Option<String>), Error> {
    if mailing == Mailing::Off {
        return Ok((Delivery::NotConfigured, Some(url)));
    }
    let letter = Letter::of_password_reset(Email::parse(&link.user.email)?, &url, link.expires_at);
    mail::queue(tx, mail::About::PasswordOf(&link.user.id), &letter, link.expires_at)?;
    Ok((Delivery::Queued { problem: None }, None))
}

/// Writes a mail with a link to the person who says that they have forgotten their password. `url_of` makes the URL of a
/// token. Nothing happens if nobody has the address, the person is in no organization, or they got such a mail in the last
/// 10 minutes: the answer must be the same for everybody.
pub fn mail_forgotten(tx: &Tx, email: &Email, url_of: impl FnOnce(&str) -> String) -> Result<(), Error> {
    let Some(user) = users::of_email(tx, email)? else { return Ok(()) };
    let organizations = organizations_of(tx, &user.id)?;
    if organizations.is_empty() || has_just_asked(tx, &user.id)? {
        return Ok(());
    }
    let link = insert_link(tx, &user, None, Asker::Person)?;
    for org_id in &organizations {
        record(tx, Actor::Nobody, org_id, &user, "LINK_MAILED")?;
    }
    let url = url_of(link.token.reveal());
    deliver(tx, &link, url, Mailing::On).map(drop)
}

fn has_just_asked(tx: &Tx, user_id: &UserId) -> Result<bool, Error> {
    let mut query =
        tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM mail WHERE user_id = :user_id AND created_at > :since)")?;
    let since = tx.now.plus_seconds(-ASKED_AGAIN_AFTER_SECONDS);
    Ok(query.query_row(named_params! { ":user_id": user_id, ":since": since }, |row| row.get(0))?)
}

/// Makes a link for the person with this address, who must be in an organization or invited to one. The audit log of
/// each of these organizations records it.
///
/// # Errors
///
/// [`Error::NotFound`] where no person has the address, or where they are neither in an organization nor invited to
/// one.
pub fn create_by_operator(tx: &Tx, operator: &Operator, email: &Email) -> Result<NewLink, Error> {
    let user = users::of_email(tx, email)?.ok_or(Error::NotFound("person with this address"))?;
    let organizations = organizations_that_know(tx, &user)?;
    if organizations.is_empty() {
        return Err(Error::NotFound("person with this address in any organization: invite them"));
    }
    let link = insert(tx, &user, None)?;
    for org_id in &organizations {
        personal_keys::record_issued(tx, operator, org_id, &user, json!({ "credential": "PASSWORD_RESET_LINK" }))?;
    }
    Ok(link)
}

/// A link that works now. Only [`open`] makes one.
#[derive(Debug)]
pub struct Reset {
    token_hash: token::TokenHash,
    user: User,
    /// When the key that requested the link expires; `None` if it does not expire or the operator made the link.
    key_ends_at: Option<Time>,
    /// Whether the operator made it.
    is_operators: bool,
}

impl Reset {
    /// The person whose password the link sets.
    pub fn user(&self) -> &User {
        &self.user
    }
}

/// The link of this token.
///
/// # Errors
///
/// [`Error::NotFound`] for a link that does not work, whatever the reason: it is unknown, used or expired, or the key
/// that requested it could not request it now.
pub fn open(tx: &Tx, token: &str) -> Result<Reset, Error> {
    let missing = || Error::NotFound("password reset");
    let mut query = tx.sql.prepare_cached(
        "SELECT password_reset.org_id, password_reset.made_by, password_reset.is_own, password_reset.made_with, password_reset.expires_at,
                user.id, user.email, user.name
         FROM password_reset JOIN user ON user.id = password_reset.user_id
         WHERE password_reset.token_hash = :token_hash
           AND password_reset.used_at IS NULL AND password_reset.ended_at IS NULL",
    )?;
    let token_hash = token::link_hash(token);
    let mut rows = query.query(named_params! { ":token_hash": token_hash })?;
    let row = rows.next()?.ok_or_else(missing)?;
    if row.get::<_, Time>("expires_at")? <= tx.now {
        tx.found_ended();
        return Err(missing());
    }
    let user = users::from_row(row)?;
    let maker: Option<(OrgId, String)> = row.get::<_, Option<OrgId>>("org_id")?.zip(row.get("made_by")?);
    let key: Option<String> = row.get("made_with")?;
    let maker_is_operator = maker.is_none();
    let key_ends_at = match maker {
        None => None,
        Some((org_id, made_by)) => match still_may(tx, &org_id, &made_by, key.as_deref(), &user) {
            Err(cause @ (Error::Internal(_) | Error::StorageFull)) => return Err(cause),
            refused_or_not => refused_or_not.map_err(|_| missing())?,
        },
    };
    let is_operators = maker_is_operator && !row.get::<_, bool>("is_own")?;
    Ok(Reset { token_hash, user, key_ends_at, is_operators })
}

/// Checks that the admin who requested a link, with a key or in a session, could still request it now. Returns when the
/// key expires.
fn still_may(tx: &Tx, org_id: &OrgId, made_by: &str, prefix: Option<&str>, user: &User) -> Result<Option<Time>, Error> {
    let caller = match prefix {
        Some(prefix) => callers::again(tx, prefix)?,
        None => api_keys::person(tx, org_id, made_by)?,
    };
    caller.in_org(OrgAct::ManageMembers)?;
    match organizations_of(tx, &user.id)? == [caller.org_id.clone()] {
        true => Ok(caller.key_ends_at),
        false => Err(Error::NotFound("user")),
    }
}

/// Sets the password, given as a PHC string, and uses up the link; all other open links and all sessions of the person
/// end. With `key_name` it creates a personal key. A link of the operator also removes the person's second factor, which
/// they may have lost; no other link does.
///
/// # Errors
///
/// [`Error::Invalid`] for a `key_name` where the person is not in exactly one organization; [`Error::Conflict`] for a
/// `key_name` that another working key of the person has.
pub fn apply(tx: &Tx, reset: &Reset, password_hash: &str, key_name: Option<&KeyName>) -> Result<Done, Error> {
    let Reset { user, .. } = reset;
    users::set_password_hash(tx, &user.id, password_hash)?;
    tx.sql
        .prepare_cached("UPDATE password_reset SET used_at = :now WHERE token_hash = :token_hash")?
        .execute(named_params! { ":now": tx.now, ":token_hash": reset.token_hash })?;
    end_all(tx, &user.id)?;
    sessions::end_of_person(tx, &user.id)?;
    if reset.is_operators {
        second_factor::forget(tx, &user.id)?;
    }
    for org_id in organizations_that_know(tx, user)? {
        record(tx, Actor::User(&user.id), &org_id, user, "PASSWORD_SET")?;
    }
    let organizations = organizations_of(tx, &user.id)?;
    let only = match &organizations[..] {
        [only] => Some(only),
        _ => None,
    };
    let key = match (key_name, only) {
        (None, _) => None,
        (Some(name), Some(org_id)) => {
            let lifetime = Lifetime::of_proof(reset.key_ends_at);
            Some(personal_keys::create_first(tx, Actor::User(&user.id), org_id, user, name, lifetime)?)
        }
        (Some(_), None) => {
            let why = "cannot be had here by somebody who is not in exactly one organization: ask the operator for a \
                       key of one";
            return Err(Error::field("api_key_name", why));
        }
    };
    let member = only.map(|org_id| {
        let member = users::of_organization(tx, org_id, user.id.as_str())?;
        Ok::<_, Error>((member, organizations::find(tx, org_id)?.name))
    });
    Ok(Done { member: member.transpose()?, user: user.clone(), key })
}

/// Ends the open links made by a person who may not manage members any more.
pub(super) fn end_of_maker(tx: &Tx, org: &InOrg, user_id: &UserId) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE password_reset SET ended_at = :now
             WHERE org_id = :org_id AND made_by = :user_id AND used_at IS NULL AND ended_at IS NULL",
        )?
        .execute(named_params! { ":now": tx.now, ":org_id": org.org_id(), ":user_id": user_id })?;
    Ok(())
}

/// Ends the open links that the organization made for a person who leaves it.
pub(super) fn end_of_person(tx: &Tx, org: &InOrg, user_id: &UserId) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE password_reset SET ended_at = :now
             WHERE org_id = :org_id AND user_id = :user_id AND used_at IS NULL AND ended_at IS NULL",
        )?
        .execute(named_params! { ":now": tx.now, ":org_id": org.org_id(), ":user_id": user_id })?;
    Ok(())
}

/// Ends all open links of a person.
pub(super) fn end_all(tx: &Tx, user_id: &UserId) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE password_reset SET ended_at = :now
             WHERE user_id = :user_id AND used_at IS NULL AND ended_at IS NULL",
        )?
        .execute(named_params! { ":now": tx.now, ":user_id": user_id })?;
    Ok(())
}

/// Who asked for a link that no admin made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Operator,
    Person,
}

fn insert(tx: &Tx, user: &User, maker: Option<(&Caller, &UserId)>) -> Result<NewLink, Error> {
    insert_link(tx, user, maker, Asker::Operator)
}

/// Creates a link. `maker` is the admin who requested it and what they sent; `None` is whoever `asker`
/// says.
fn insert_link(tx: &Tx, user: &User, maker: Option<(&Caller, &UserId)>, asker: Asker) -> Result<NewLink, Error> {
    let token = LinkToken::generate(&mut tx.rng());
    let org_id = maker.map(|(caller, _)| &caller.org_id);
    let key_ends_at = maker.and_then(|(caller, _)| caller.key_ends_at);
    let in_a_day = tx.now.plus_seconds(VALID_FOR_SECONDS);
    let expires_at = key_ends_at.map_or(in_a_day, |key_ends_at| key_ends_at.min(in_a_day));
    tx.sql
        .prepare_cached(
            "UPDATE password_reset SET ended_at = :now
             WHERE user_id = :user_id AND org_id IS :org_id AND is_own = :is_own
               AND used_at IS NULL AND ended_at IS NULL",
        )?
        .execute(named_params! {
            ":now": tx.now, ":user_id": user.id, ":org_id": org_id, ":is_own": asker == Asker::Person,
        })?;
    tx.sql
        .prepare_cached(
            "INSERT INTO password_reset (token_hash, user_id, org_id, made_by, made_with, is_own, created_at,
                                         expires_at)
             VALUES (:token_hash, :user_id, :org_id, :made_by, :made_with, :is_own, :now, :expires_at)",
        )?
        .execute(named_params! {
            ":token_hash": token.hash(),
            ":user_id": user.id,
            ":org_id": org_id,
            ":made_by": maker.map(|(_, user_id)| user_id),
            ":made_with": maker.filter(|(caller, _)| caller.session_id().is_none()).map(|(caller, _)| caller.prefix()),
            ":is_own": asker == Asker::Person,
            ":now": tx.now,
            ":expires_at": expires_at,
        })?;
    Ok(NewLink { user: user.clone(), token, expires_at })
}

fn organizations_of(tx: &Tx, user_id: &UserId) -> Result<Vec<OrgId>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT org_id FROM org_member WHERE user_id = :user_id ORDER BY org_id")?;
    Ok(query.query_map(named_params! { ":user_id": user_id }, |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The organizations that a person is in, and those with a pending invitation for them.
fn organizations_that_know(tx: &Tx, user: &User) -> Result<Vec<OrgId>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT org_id FROM org_member WHERE user_id = :user_id
         UNION
         SELECT org_id FROM invitation
         WHERE email = :email AND accepted_at IS NULL AND revoked_at IS NULL AND ended_at IS NULL
           AND expires_at > :now
         ORDER BY org_id",
    )?;
    let values = named_params! { ":user_id": user.id, ":email": user.email, ":now": tx.now };
    Ok(query.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn record(tx: &Tx, actor: Actor<'_>, org_id: &OrgId, user: &User, step: &str) -> Result<(), Error> {
    let data = json!({ "user_id": user.id.as_str(), "user_email": user.email, "step": step });
    audit::record(tx, actor, org_id, None, Event::new("PASSWORD_RESET", data))
}
