//! Sessions: who is signed in to the console.
//!
//! A session acts for one person in one organization. It has the roles that the person has at each request, as a personal
//! key does. The database keeps only a hash of its token. The token is replaced whenever the person's roles change; the
//! session ends with the membership, by its owner, by a new password, after 12 hours without use, and in any case 14 days
//! after the password was given. A session that has ended has no row.

use std::net::IpAddr;

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, api_keys, endings, organizations, users};
use crate::domain::invitations::Accepted;
use crate::domain::sessions::{
    IDLE_SECONDS, LASTS_SECONDS, NewSession, PER_PERSON_MAX, REPLACED_WORKS_SECONDS, SEEN_NOTED_EVERY_SECONDS, Session,
    UserAgent,
};
use crate::domain::{Email, OrgId, Organization, Page, Paging, Time, User, UserId};
use crate::error::Error;
use crate::policy::{Caller, Credential, InOrg, Person, Who};
use crate::token::{SessionToken, TokenHash};

/// What the id of a session begins with, so that it is never taken for the prefix of a key.
const ID_MARK: &str = "session_";

macro_rules! session_columns {
    () => {
        "id, org_id, user_id, signed_in_at, created_at, last_seen_at, expires_at, user_agent, address"
    };
}

/// The person of a session, as the request that carries its token sees them.
#[derive(Debug)]
pub struct SignedIn {
    pub caller: Caller,
    pub session: Session,
    pub upkeep: Upkeep,
}

/// What must be written after a request of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    Nothing,
    /// The time of the last use: [`note_use`].
    NoteUse,
    /// The person's roles have changed: the token must be replaced, by [`replace`].
    Replace,
}

/// The person whose session has this token, with the roles of the current transaction.
///
/// # Errors
///
/// [`Error::Unauthenticated`] for a token that no session has, or whose session has ended.
pub fn authenticate(tx: &Tx, token: &SessionToken) -> Result<SignedIn, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT ",
        session_columns!(),
        ", roles_hash, token_hash = :hash AS is_current
         FROM session
         WHERE token_hash = :hash OR (previous_hash = :hash AND previous_until > :now)"
    ))?;
    let found = query
        .query_row(named_params! { ":hash": token.hash(), ":now": tx.now }, |row| {
            Ok((from_row(row)?, row.get::<_, TokenHash>("roles_hash")?, row.get::<_, bool>("is_current")?))
        })
        .optional()?;
    let (session, roles, is_current) = found.ok_or(Error::Unauthenticated)?;
    let caller = caller_of(tx, &session)?;
    let seen = session.last_seen_at.plus_seconds(SEEN_NOTED_EVERY_SECONDS);
    let upkeep = match is_current {
        true if roles_hash(&caller) != roles => Upkeep::Replace,
        true if seen <= tx.now => Upkeep::NoteUse,
        true | false => Upkeep::Nothing,
    };
    Ok(SignedIn { caller, session, upkeep })
}

/// Whether the text is the id of a session, and not the prefix of a key.
pub(super) fn is_id(text: &str) -> bool {
    text.starts_with(ID_MARK)
}

/// The person of the session with this id. Used when a grant that was made in a session earlier is redeemed.
///
/// # Errors
///
/// [`Error::Unauthenticated`] for a session that has ended.
pub(super) fn caller_again(tx: &Tx, id: &str) -> Result<Caller, Error> {
    caller_of(tx, &of_id(tx, id)?.ok_or(Error::Unauthenticated)?)
}

fn caller_of(tx: &Tx, session: &Session) -> Result<Caller, Error> {
    if session.expires_at <= tx.now {
        tx.found_ended();
        return Err(Error::Unauthenticated);
    }
    let caller = api_keys::person(tx, &session.org_id, session.user_id.as_str()).map_err(|cause| match cause {
        Error::NotFound(_) => Error::Unauthenticated,
        other => other,
    })?;
    Ok(match caller.who {
        Who::Person(person) => {
            let person = Person { prefix: session.id.clone(), credential: Credential::Session, ..person };
            Caller { who: Who::Person(person), ..caller }
        }
        Who::TeamKey(_) | Who::KeyManager { .. } => return Err(Error::Unauthenticated),
    })
}

/// The roles of a person in one organization and its teams, as one value that changes when any of them does.
fn roles_hash(caller: &Caller) -> TokenHash {
    let mut roles = Sha256::new();
    if let Who::Person(person) = &caller.who {
        roles.update(person.role.as_str());
        for (team_id, role) in &person.teams {
            roles.update(format!("\n{team_id} {}", role.as_str()));
        }
    }
    roles.finalize().into()
}

/// Notes that the session is in use, which postpones its end.
pub fn note_use(tx: &Tx, id: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE session
             SET last_seen_at = :now, expires_at = min(:now + :idle, signed_in_at + :lasts)
             WHERE id = :id AND last_seen_at < :now",
        )?
        .execute(named_params! {
            ":now": tx.now, ":idle": IDLE_SECONDS * 1000, ":lasts": LASTS_SECONDS * 1000, ":id": id,
        })?;
    Ok(())
}

/// Replaces the token of a session whose person's roles have changed. The old token works for another 30 seconds, for
/// requests that were under way. `None` if another request has replaced it already.
///
/// # Errors
///
/// [`Error::Unauthenticated`] for a session that has ended.
pub fn replace(tx: &Tx, token: &SessionToken) -> Result<Option<SessionToken>, Error> {
    let SignedIn { caller, session, upkeep } = authenticate(tx, token)?;
    if upkeep != Upkeep::Replace {
        return Ok(None);
    }
    let until = tx.now.plus_seconds(REPLACED_WORKS_SECONDS);
    set_new_token(tx, &session, &caller, Some((token.hash(), until))).map(Some)
}

fn set_new_token(
    tx: &Tx,
    session: &Session,
    caller: &Caller,
    previous: Option<(TokenHash, Time)>,
) -> Result<SessionToken, Error> {
    let token = SessionToken::generate(&mut tx.rng());
    tx.sql
        .prepare_cached(
            "UPDATE session
             SET token_hash = :token_hash, roles_hash = :roles_hash, previous_hash = :previous_hash,
                 previous_until = :previous_until
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":token_hash": token.hash(),
            ":roles_hash": roles_hash(caller),
            ":previous_hash": previous.map(|(hash, _)| hash),
            ":previous_until": previous.map(|(_, until)| until),
            ":id": session.id,
        })?;
    Ok(token)
}

/// The token that the forms of this session carry.
pub fn form_token(tx: &Tx, session: &Session) -> String {
    tx.sealer.form_token(&session.id)
}

/// Whether a form of this session carried the right token.
pub fn is_form_token(tx: &Tx, session: &Session, given: &str) -> bool {
    form_token(tx, session).as_bytes().ct_eq(given.as_bytes()).into()
}

// ---- beginning ----

/// The hash of the password of the person with this address. `None` if nobody has the address, or the person has no
/// password.
pub fn password_hash(tx: &Tx, email: &Email) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT password_hash FROM user WHERE email = :email")?;
    Ok(query.query_row(named_params! { ":email": email.as_str() }, |row| row.get(0)).optional()?.flatten())
}

/// Proof that a person has just shown who they are. Only this module makes it.
#[derive(Debug)]
pub struct Shown {
    user_id: UserId,
}

/// The person with this address, if `verified` is the hash of their password: the stored hash against which a password
/// was verified. `None` if the password has changed since.
pub fn shown_by_password(tx: &Tx, email: &Email, verified: &str) -> Result<Option<Shown>, Error> {
    match password_hash(tx, email)? {
        Some(stored) if stored == verified => Ok(users::of_email(tx, email)?.map(|user| Shown { user_id: user.id })),
        Some(_) | None => Ok(None),
    }
}

/// Where a session begins, as its owner sees it in the list.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub user_agent: UserAgent,
    pub address: Option<IpAddr>,
}

/// Signs a person in to the organization that they used last, or to the one that they joined first.
///
/// # Errors
///
/// [`Error::Forbidden`] for a person who is in no organization.
pub fn begin(tx: &Tx, shown: &Shown, place: &Place) -> Result<NewSession, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT org_member.org_id
         FROM org_member
         WHERE org_member.user_id = :user_id
         ORDER BY (SELECT max(session.last_seen_at) FROM session
                   WHERE session.org_id = org_member.org_id AND session.user_id = org_member.user_id) DESC NULLS LAST,
                  org_member.created_at, org_member.org_id
         LIMIT 1",
    )?;
    let org_id = query.query_row(named_params! { ":user_id": shown.user_id }, |row| row.get(0)).optional()?;
    let org_id: OrgId = org_id.ok_or_else(|| {
        Error::Forbidden("you are in no organization: ask an organization admin for an invitation".to_owned())
    })?;
    insert(tx, &org_id, &shown.user_id, tx.now, place)
}

/// Signs in the person who has just accepted an invitation.
pub fn begin_accepted(tx: &Tx, accepted: &Accepted, place: &Place) -> Result<NewSession, Error> {
    insert(tx, &accepted.organization.id, &accepted.user.id, tx.now, place)
}

/// Signs in the first admin of an organization that was just made.
pub(super) fn begin_as_founder(
    tx: &Tx,
    organization: &Organization,
    founder: &User,
    place: &Place,
) -> Result<NewSession, Error> {
    insert(tx, &organization.id, &founder.id, tx.now, place)
}

/// Ends the session and begins one of the same person in another organization. The new one lasts no longer than the old.
///
/// # Errors
///
/// [`Error::NotFound`] for an organization that the person is not in.
pub fn switch(tx: &Tx, signed_in: &SignedIn, org_id: &str) -> Result<NewSession, Error> {
    let session = &signed_in.session;
    let organizations = organizations_of(tx, &session.user_id)?;
    let chosen = organizations.into_iter().find(|organization| organization.id.as_str() == org_id);
    let chosen = chosen.ok_or(Error::NotFound("organization"))?;
    end(tx, session)?;
    let place = Place { user_agent: session.user_agent.clone(), address: session.address };
    insert(tx, &chosen.id, &session.user_id, session.signed_in_at, &place)
}

/// The organizations of a person, by name.
pub fn organizations_of(tx: &Tx, user_id: &UserId) -> Result<Vec<Organization>, Error> {
    organizations::of_person(tx, user_id)
}

fn insert(tx: &Tx, org_id: &OrgId, user_id: &UserId, signed_in_at: Time, place: &Place) -> Result<NewSession, Error> {
    let caller = api_keys::person(tx, org_id, user_id.as_str())?;
    let (id, token) = (format!("{ID_MARK}{}", tx.id()), SessionToken::generate(&mut tx.rng()));
    tx.sql
        .prepare_cached(
            "INSERT INTO session (id, token_hash, org_id, user_id, roles_hash, signed_in_at, created_at, last_seen_at,
                                  expires_at, user_agent, address)
             VALUES (:id, :token_hash, :org_id, :user_id, :roles_hash, :signed_in_at, :now, :now, :expires_at,
                     :user_agent, :address)",
        )?
        .execute(named_params! {
            ":id": id,
            ":token_hash": token.hash(),
            ":org_id": org_id,
            ":user_id": user_id,
            ":roles_hash": roles_hash(&caller),
            ":signed_in_at": signed_in_at,
            ":now": tx.now,
            ":expires_at": Session::expiry(signed_in_at, tx.now),
            ":user_agent": place.user_agent.as_str(),
            ":address": place.address.map(|address| address.to_canonical().to_string()),
        })?;
    tx.sql
        .prepare_cached(
            "DELETE FROM session
             WHERE id IN (SELECT id FROM session
                          WHERE user_id = :user_id
                          ORDER BY last_seen_at DESC, id DESC
                          LIMIT -1 OFFSET :kept)
               AND id <> :id",
        )?
        .execute(named_params! { ":user_id": user_id, ":kept": PER_PERSON_MAX as i64, ":id": id })?;
    let session = of_id(tx, &id)?.ok_or_else(|| Error::Internal("a session that was just begun is gone".to_owned()))?;
    Ok(NewSession { session, token })
}

// ---- listing and ending ----

/// Lists a person's own sessions in the organization, newest first.
pub fn list(tx: &Tx, org: &InOrg, person: &Person, paging: &Paging) -> Result<Page<Session>, Error> {
    endings::look(tx)?;
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT ",
        session_columns!(),
        " FROM session
         WHERE org_id = :org_id AND user_id = :user_id AND expires_at > :now
           AND (:after = '' OR (created_at, id) < (
                   SELECT created_at, id FROM session WHERE id = :after AND user_id = :user_id
               ))
         ORDER BY created_at DESC, id DESC
         LIMIT :rows_max"
    ))?;
    let rows = query.query_map(
        named_params! {
            ":org_id": org.org_id(),
            ":user_id": person.user_id,
            ":now": tx.now,
            ":after": paging.after,
            ":rows_max": paging.rows_max(),
        },
        from_row,
    )?;
    Ok(paging.page(rows.collect::<Result<_, _>>()?, |session| &session.id))
}

/// Ends a session of the person in the organization.
///
/// # Errors
///
/// [`Error::NotFound`] for a session that has ended, and for one of another person or organization.
pub fn revoke(tx: &Tx, org: &InOrg, person: &Person, id: &str) -> Result<(), Error> {
    let is_theirs = |session: &Session| {
        session.user_id == person.user_id && session.org_id == *org.org_id() && session.expires_at > tx.now
    };
    let session = of_id(tx, id)?.filter(is_theirs).ok_or(Error::NotFound("session"))?;
    end(tx, &session)?;
    let data = json!({ "session_id": session.id, "user_id": person.user_id.as_str() });
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, Event::new("SESSION_REVOKED", data))
}

/// Signs out.
pub fn end(tx: &Tx, session: &Session) -> Result<(), Error> {
    tx.sql.prepare_cached("DELETE FROM session WHERE id = :id")?.execute(named_params! { ":id": session.id })?;
    Ok(())
}

/// Ends all other sessions of the person, in every organization, and replaces the token of this one at once.
pub(super) fn keep_only(tx: &Tx, signed_in: &SignedIn) -> Result<SessionToken, Error> {
    let SignedIn { caller, session, .. } = signed_in;
    tx.sql
        .prepare_cached("DELETE FROM session WHERE user_id = :user_id AND id <> :id")?
        .execute(named_params! { ":user_id": session.user_id, ":id": session.id })?;
    set_new_token(tx, session, caller, None)
}

/// Ends all sessions of a person, in every organization.
pub(super) fn end_of_person(tx: &Tx, user_id: &UserId) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM session WHERE user_id = :user_id")?
        .execute(named_params! { ":user_id": user_id })?;
    Ok(())
}

/// Records in the audit logs of a person's organizations that somebody has failed to sign in as them so many times.
pub fn record_failed(tx: &Tx, email: &Email, attempts: u32, address: Option<IpAddr>) -> Result<(), Error> {
    let Some(User { id, email, .. }) = users::of_email(tx, email)? else { return Ok(()) };
    for organization in organizations_of(tx, &id)? {
        tx.note_change(); // the audit entry is the only row that this write adds
        let address = address.map(|address| address.to_canonical().to_string());
        let data = json!({ "user_id": id.as_str(), "user_email": email, "attempts": attempts, "address": address });
        audit::record(tx, Actor::Nobody, &organization.id, None, Event::new("SIGN_IN_FAILED", data))?;
    }
    Ok(())
}

fn of_id(tx: &Tx, id: &str) -> Result<Option<Session>, Error> {
    let mut query = tx.sql.prepare_cached(concat!("SELECT ", session_columns!(), " FROM session WHERE id = :id"))?;
    Ok(query.query_row(named_params! { ":id": id }, from_row).optional()?)
}

fn from_row(row: &Row) -> rusqlite::Result<Session> {
    let address: Option<String> = row.get("address")?;
    Ok(Session {
        id: row.get("id")?,
        org_id: row.get("org_id")?,
        user_id: row.get("user_id")?,
        signed_in_at: row.get("signed_in_at")?,
        created_at: row.get("created_at")?,
        last_seen_at: row.get("last_seen_at")?,
        expires_at: row.get("expires_at")?,
        user_agent: UserAgent::of(Some(row.get_ref("user_agent")?.as_str()?)),
        address: address.and_then(|address| address.parse().ok()),
    })
}
