//! Invitations: who may join an organization, with which role, and into which teams.
//!
//! A link is bound to one address. It works once, for seven days at most, and only while its inviter may still invite.
//! The database keeps only a hash of its token. The link alone never acts for a person who exists already: that person
//! must prove their identity.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, endings, mail, organizations, teams, users};
use crate::domain::invitations::{Invitation, InvitedTeam, Status};
use crate::domain::mail::{Delivery, Letter, Mailing};
use crate::domain::{Email, OrgId, Page, Paging, Time, UserId};
use crate::error::Error;
use crate::policy::{InOrg, OrgRole, Person};
use crate::token::LinkToken;

mod acceptance;

pub use acceptance::{Identity, Joiner, Newcomer, Offer, Proven, accept, open, record_wrong_password, unproven};

const VALID_FOR_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Lists the invitations of the organization, newest first, or only those that have the given status now.
pub fn list(tx: &Tx, org: &InOrg, status: Option<Status>, paging: &Paging) -> Result<Page<Invitation>, Error> {
    endings::look(tx)?;
    let mut query = tx.sql.prepare_cached(
        "SELECT invitation.id, invitation.email, invitation.role, invitation.created_at, invitation.expires_at,
                invitation.accepted_at, invitation.revoked_at, invitation.ended_at, invitation.invited_by,
                user.email AS inviter_email, mail.status AS mail_status, mail.problem AS mail_problem
         FROM invitation JOIN user ON user.id = invitation.invited_by
         LEFT JOIN mail ON mail.invitation_id = invitation.id
         WHERE invitation.org_id = :org_id
           AND (:after = '' OR (invitation.created_at, invitation.id) < (
                   SELECT created_at, id FROM invitation WHERE org_id = :org_id AND id = :after
               ))
         ORDER BY invitation.created_at DESC, invitation.id DESC",
    )?;
    let mut rows = query.query(named_params! { ":org_id": org.org_id(), ":after": paging.after })?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut invitation = from_row(tx, row)?;
        if status.is_some_and(|status| status != invitation.status) {
            continue;
        }
        invitation.teams = invited_teams(tx, org.org_id(), &invitation.id)?;
        found.push(invitation);
        if found.len() > paging.items_max {
            break;
        }
    }
    Ok(paging.page(found, |invitation| &invitation.id))
}

/// The invitation of the organization with this id.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no invitation of the organization has.
pub fn find(tx: &Tx, org: &InOrg, id: &str) -> Result<Invitation, Error> {
    endings::look(tx)?;
    let mut query = tx.sql.prepare_cached(
        "SELECT invitation.id, invitation.email, invitation.role, invitation.created_at, invitation.expires_at,
                invitation.accepted_at, invitation.revoked_at, invitation.ended_at, invitation.invited_by,
                user.email AS inviter_email, mail.status AS mail_status, mail.problem AS mail_problem
         FROM invitation JOIN user ON user.id = invitation.invited_by
         LEFT JOIN mail ON mail.invitation_id = invitation.id
         WHERE invitation.org_id = :org_id AND invitation.id = :id",
    )?;
    let mut rows = query.query(named_params! { ":org_id": org.org_id(), ":id": id })?;
    let mut invitation = from_row(tx, rows.next()?.ok_or(Error::NotFound("invitation"))?)?;
    invitation.teams = invited_teams(tx, org.org_id(), id)?;
    Ok(invitation)
}

/// Invites an address. An open invitation of the same address is revoked and replaced, and its link stops working.
///
/// # Errors
///
/// [`Error::Forbidden`] for a caller without a personal key; [`Error::Conflict`] where the address belongs to a member
/// of the organization already.
pub fn create(
    tx: &Tx,
    org: &InOrg,
    email: &Email,
    role: OrgRole,
    invited_teams: &[InvitedTeam],
) -> Result<(Invitation, LinkToken), Error> {
    let (_, inviter) = org.caller().as_member()?;
    if users::with_address(tx, org, email)?.is_some() {
        return Err(Error::conflict(format!("{} is a member of the organization already", email.as_str())));
    }
    revoke_open(tx, org, email)?;
    let (id, link) = insert(tx, org.org_id(), Inviter::of(org, inviter), email, role, invited_teams)?;
    let data = json!({ "invited_user_email": email.as_str(), "role_name": role.as_str() });
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, Event::new("USER_INVITED", data))?;
    Ok((find(tx, org, &id)?, link))
}

/// The person who invites, and the time at which the key that they used expires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inviter<'i> {
    pub user_id: &'i UserId,
    pub key_ends_at: Option<Time>,
}

impl<'i> Inviter<'i> {
    fn of(org: &InOrg, person: &'i Person) -> Inviter<'i> {
        Inviter { user_id: &person.user_id, key_ends_at: org.caller().key_ends_at }
    }

    /// When the link expires: after seven days, or with the key of the inviter if that is earlier.
    fn expires_at(self, now: Time) -> Time {
        let in_a_week = now.plus_seconds(VALID_FOR_SECONDS);
        earlier(self.key_ends_at, Some(in_a_week)).unwrap_or(in_a_week)
    }
}

/// The earlier of two end times. `None` means that there is no end.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}

/// Creates an invitation of an address that has no open one. Returns its id and its link, which cannot be shown again.
pub(super) fn insert(
    tx: &Tx,
    org_id: &OrgId,
    inviter: Inviter<'_>,
    email: &Email,
    role: OrgRole,
    invited_teams: &[InvitedTeam],
) -> Result<(String, LinkToken), Error> {
    let (id, link) = (tx.id(), LinkToken::generate(&mut tx.rng()));
    tx.sql
        .prepare_cached(
            "INSERT INTO invitation (id, org_id, email, role, token_hash, invited_by, key_ends_at, created_at, expires_at)
             VALUES (:id, :org_id, :email, :role, :token_hash, :invited_by, :key_ends_at, :now, :expires_at)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": org_id,
            ":email": email.as_str(),
            ":role": role.as_str(),
            ":token_hash": link.hash(),
            ":invited_by": inviter.user_id,
            ":key_ends_at": inviter.key_ends_at,
            ":now": tx.now,
            ":expires_at": inviter.expires_at(tx.now),
        })?;
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO invitation_team (invitation_id, org_id, team_id, role)
         VALUES (:id, :org_id, :team_id, :role)",
    )?;
    for InvitedTeam { team, role } in invited_teams {
        insert.execute(named_params! {
            ":id": id, ":org_id": org_id, ":team_id": team.id, ":role": role.as_str(),
        })?;
    }
    Ok((id, link))
}

/// Makes a new link for an invitation that is open or has expired; the old link stops working. The caller becomes the
/// inviter, whose rights the invitation depends on from now on.
///
/// # Errors
///
/// [`Error::Forbidden`] for a caller without a personal key; [`Error::Conflict`] for an invitation that was accepted or
/// revoked.
pub fn resend(tx: &Tx, org: &InOrg, invitation: &Invitation) -> Result<(Invitation, LinkToken), Error> {
    let (_, resender) = org.caller().as_member()?;
    let inviter = Inviter::of(org, resender);
    still_open(invitation)?;
    let link = LinkToken::generate(&mut tx.rng());
    tx.sql
        .prepare_cached(
            "UPDATE invitation
             SET token_hash = :token_hash, invited_by = :invited_by, key_ends_at = :key_ends_at, expires_at = :expires_at,
                 ended_at = NULL
             WHERE org_id = :org_id AND id = :id",
        )?
        .execute(named_params! {
            ":token_hash": link.hash(),
            ":invited_by": inviter.user_id,
            ":key_ends_at": inviter.key_ends_at,
            ":expires_at": inviter.expires_at(tx.now),
            ":org_id": org.org_id(),
            ":id": invitation.id,
        })?;
    record(tx, org, "INVITATION_RESENT", &invitation.id, &invitation.email)?;
    Ok((find(tx, org, &invitation.id)?, link))
}

/// Gives the link of an invitation that was just made or resent to whoever should have it: to the invited person by mail,
/// or else to the caller. Returns the invitation as it is now, and the link if the caller should have it.
pub fn deliver(
    tx: &Tx,
    org: &InOrg,
    invitation: Invitation,
    url: String,
    mailing: Mailing,
) -> Result<(Invitation, Option<String>), Error> {
    if mailing == Mailing::Off {
        return Ok((invitation, Some(url)));
    }
    let organization = organizations::own(tx, org)?;
    let letter = Letter::of_invitation(
        Email::parse(&invitation.email)?,
        &organization.name,
        &invitation.inviter_email,
        &url,
        invitation.expires_at,
    );
    mail::queue(tx, mail::About::Invitation(org.org_id(), &invitation.id), &letter, invitation.expires_at)?;
    Ok((find(tx, org, &invitation.id)?, None))
}

/// Revokes an invitation that is open or has expired.
///
/// # Errors
///
/// [`Error::Conflict`] for an invitation that was accepted or revoked.
pub fn revoke(tx: &Tx, org: &InOrg, invitation: &Invitation) -> Result<(), Error> {
    still_open(invitation)?;
    tx.sql
        .prepare_cached("UPDATE invitation SET revoked_at = :now WHERE org_id = :org_id AND id = :id")?
        .execute(named_params! { ":now": tx.now, ":org_id": org.org_id(), ":id": invitation.id })?;
    record(tx, org, "INVITATION_REVOKED", &invitation.id, &invitation.email)
}

fn still_open(invitation: &Invitation) -> Result<(), Error> {
    match invitation.status {
        Status::Pending | Status::Expired => Ok(()),
        Status::Accepted => Err(Error::conflict("this invitation has been accepted")),
        Status::Revoked => Err(Error::conflict("this invitation has been revoked: make a new one")),
    }
}

fn revoke_open(tx: &Tx, org: &InOrg, email: &Email) -> Result<(), Error> {
    let replaced: Option<String> = tx
        .sql
        .prepare_cached(
            "UPDATE invitation
             SET revoked_at = :now
             WHERE org_id = :org_id AND email = :email AND accepted_at IS NULL AND revoked_at IS NULL
             RETURNING id",
        )?
        .query_row(named_params! { ":now": tx.now, ":org_id": org.org_id(), ":email": email.as_str() }, |row| {
            row.get(0)
        })
        .optional()?;
    replaced.iter().try_for_each(|id| record(tx, org, "INVITATION_REVOKED", id, email.as_str()))
}

/// Revokes the open invitations of a person who may not invite any more. They stay revoked if that person may invite
/// again later.
pub(super) fn revoke_of_inviter(tx: &Tx, org: &InOrg, user_id: &UserId) -> Result<(), Error> {
    let mut revoke = tx.sql.prepare_cached(
        "UPDATE invitation
         SET revoked_at = :now
         WHERE org_id = :org_id AND invited_by = :user_id AND accepted_at IS NULL AND revoked_at IS NULL
         RETURNING id, email",
    )?;
    let values = named_params! { ":now": tx.now, ":org_id": org.org_id(), ":user_id": user_id };
    let revoked = revoke.query_map(values, |row| Ok((row.get("id")?, row.get("email")?)))?;
    let revoked: Vec<(String, String)> = revoked.collect::<Result<_, _>>()?;
    revoked.iter().try_for_each(|(id, email)| record(tx, org, "INVITATION_REVOKED", id, email))
}

fn record(tx: &Tx, org: &InOrg, event_type: &'static str, id: &str, email: &str) -> Result<(), Error> {
    let event = Event::new(event_type, json!({ "invitation_id": id, "invited_user_email": email }));
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)
}

fn invited_teams(tx: &Tx, org_id: &OrgId, invitation_id: &str) -> Result<Vec<InvitedTeam>, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT ",
        teams::team_columns!(),
        ", invitation_team.role
             FROM invitation_team JOIN team ON team.id = invitation_team.team_id
             WHERE invitation_team.org_id = :org_id AND invitation_team.invitation_id = :id
             ORDER BY team.name_key"
    ))?;
    let rows = query.query_map(named_params! { ":org_id": org_id, ":id": invitation_id }, |row| {
        Ok(InvitedTeam { team: teams::from_row(row)?, role: row.get("role")? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Reads an invitation without its teams.
fn from_row(tx: &Tx, row: &Row) -> rusqlite::Result<Invitation> {
    let (accepted_at, revoked_at): (Option<Time>, Option<Time>) = (row.get("accepted_at")?, row.get("revoked_at")?);
    let (expires_at, ended_at): (Time, Option<Time>) = (row.get("expires_at")?, row.get("ended_at")?);
    let status = match (accepted_at, revoked_at) {
        (Some(_), _) => Status::Accepted,
        (None, Some(_)) => Status::Revoked,
        (None, None) if ended_at.is_some() || expires_at <= tx.now => Status::Expired,
        (None, None) => Status::Pending,
    };
    Ok(Invitation {
        id: row.get("id")?,
        email: row.get("email")?,
        role: row.get("role")?,
        teams: Vec::new(),
        status,
        created_at: row.get("created_at")?,
        expires_at,
        invited_by: row.get("invited_by")?,
        inviter_email: row.get("inviter_email")?,
        mail: match row.get::<_, Option<String>>("mail_status")? {
            Some(status) => {
                Delivery::parse(&status, row.get("mail_problem")?).expect("the schema holds no other state")
            }
            None => Delivery::NotConfigured,
        },
    })
}
