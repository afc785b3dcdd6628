//! Invitations: who may join an organization, as what, and into which teams.
//!
//! A link is bound to one address, works once and for seven days, and only while whoever made it may still invite. Of its
//! token the database holds a hash. The link alone never acts as somebody who exists: they prove who they are.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, endings, members, organizations, personal_keys, teams, users};
use crate::domain::invitations::{Accepted, Invitation, InvitedTeam, Status};
use crate::domain::{Email, KeyName, OrgId, Page, Paging, PersonName, Time, User, UserId};
use crate::error::Error;
use crate::policy::keys::Lifetime;
use crate::policy::{Caller, InOrg, OrgAct, OrgRole, Person, TeamRole};
use crate::token::{self, LinkToken};

const VALID_FOR_SECONDS: i64 = 7 * 24 * 60 * 60;

/// The invitations of the organization, the newest first; with a status only those that have it now.
pub fn list(tx: &Tx, org: &InOrg, status: Option<Status>, paging: &Paging) -> Result<Page<Invitation>, Error> {
    endings::look(tx)?;
    let mut query = tx.sql.prepare_cached(
        "SELECT invitation.id, invitation.email, invitation.role, invitation.created_at, invitation.expires_at,
                invitation.accepted_at, invitation.revoked_at, invitation.ended_at, invitation.invited_by,
                user.email AS inviter_email
         FROM invitation JOIN user ON user.id = invitation.invited_by
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

pub fn find(tx: &Tx, org: &InOrg, id: &str) -> Result<Invitation, Error> {
    endings::look(tx)?;
    let mut query = tx.sql.prepare_cached(
        "SELECT invitation.id, invitation.email, invitation.role, invitation.created_at, invitation.expires_at,
                invitation.accepted_at, invitation.revoked_at, invitation.ended_at, invitation.invited_by,
                user.email AS inviter_email
         FROM invitation JOIN user ON user.id = invitation.invited_by
         WHERE invitation.org_id = :org_id AND invitation.id = :id",
    )?;
    let mut rows = query.query(named_params! { ":org_id": org.org_id(), ":id": id })?;
    let mut invitation = from_row(tx, rows.next()?.ok_or(Error::NotFound("invitation"))?)?;
    invitation.teams = invited_teams(tx, org.org_id(), id)?;
    Ok(invitation)
}

/// Invites an address. An open invitation to it is replaced: it is revoked, and its link is dead.
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

/// Who invites, and when the key ends that they invite with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inviter<'i> {
    pub user_id: &'i UserId,
    pub key_ends_at: Option<Time>,
}

impl<'i> Inviter<'i> {
    fn of(org: &InOrg, person: &'i Person) -> Inviter<'i> {
        Inviter { user_id: &person.user_id, key_ends_at: org.caller().key_ends_at }
    }

    /// The link never lasts longer than the key.
    fn expires_at(self, now: Time) -> Time {
        let in_a_week = now.plus_seconds(VALID_FOR_SECONDS);
        earlier(self.key_ends_at, Some(in_a_week)).unwrap_or(in_a_week)
    }
}

/// The earlier of two ends. `None` is no end.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}

/// An invitation of an address that has no open one. Answers its id, and the link, which nobody can show again.
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

/// Makes a new link for an invitation that is still open or has expired; the old one is dead. From now on it stands on
/// whoever resends it.
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

/// Revokes an invitation that is still open or has expired.
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

/// Revokes what a person invited who may not invite any more: their invitations stay dead if they may again.
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

// ---- acceptance ----

/// An invitation whose link works now: made only by [`open`].
#[derive(Debug)]
pub struct Offer {
    id: String,
    org_id: OrgId,
    email: Email,
    role: OrgRole,
    /// When the key ends that the invitation was made with.
    key_ends_at: Option<Time>,
    addressee: Option<Addressee>,
}

/// A person who exists.
#[derive(Debug)]
struct Addressee {
    user: User,
    password_hash: Option<String>,
    /// Whether anything ties them to the address: a password, a key that works, or a membership. Somebody who was removed
    /// and has none of these has nothing to prove it by, and begins anew.
    is_established: bool,
}

/// The invitation of this link. Whatever the reason for which it does not work, it is not there.
pub fn open(tx: &Tx, token: &str) -> Result<Offer, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT invitation.id, invitation.org_id, invitation.email, invitation.role, invitation.expires_at,
                invitation.key_ends_at,
                inviter.role AS inviter_role, member.user_id IS NOT NULL AS is_member,
                user.id AS user_id, user.name, user.password_hash,
                user.password_hash IS NOT NULL
                OR EXISTS (SELECT 1 FROM org_member WHERE org_member.user_id = user.id)
                OR EXISTS (SELECT 1 FROM api_key
                           WHERE api_key.user_id = user.id AND api_key.revoked_at IS NULL
                             AND (api_key.expires_at IS NULL OR api_key.expires_at > :now)) AS is_established
         FROM invitation
         JOIN org_member AS inviter ON inviter.org_id = invitation.org_id AND inviter.user_id = invitation.invited_by
         LEFT JOIN user ON user.email = invitation.email
         LEFT JOIN org_member AS member ON member.org_id = invitation.org_id AND member.user_id = user.id
         WHERE invitation.token_hash = :token_hash
           AND invitation.accepted_at IS NULL AND invitation.revoked_at IS NULL AND invitation.ended_at IS NULL",
    )?;
    let mut rows = query.query(named_params! { ":token_hash": token::link_hash(token), ":now": tx.now })?;
    let row = rows.next()?.ok_or(Error::NotFound("invitation"))?;
    if row.get::<_, Time>("expires_at")? <= tx.now {
        tx.found_ended();
        return Err(Error::NotFound("invitation"));
    }
    let inviter_role: OrgRole = row.get("inviter_role")?;
    if !OrgAct::ManageMembers.allowed_to(inviter_role) || row.get("is_member")? {
        return Err(Error::NotFound("invitation"));
    }
    let email: String = row.get("email")?;
    let addressee = match row.get("user_id")? {
        Some(id) => Some(Addressee {
            user: User { id, email: email.clone(), name: row.get("name")? },
            password_hash: row.get("password_hash")?,
            is_established: row.get("is_established")?,
        }),
        None => None,
    };
    Ok(Offer {
        id: row.get("id")?,
        org_id: row.get("org_id")?,
        email: Email::parse(&email)?,
        role: row.get("role")?,
        key_ends_at: row.get("key_ends_at")?,
        addressee,
    })
}

/// Who accepts an invitation, as far as the request has shown it.
#[derive(Debug)]
pub enum Identity<'o> {
    /// The address is nobody's yet.
    New(Newcomer<'o>),
    /// It is somebody's, and this is they.
    Proven(Proven<'o>),
    /// It is somebody's, who has yet to prove that this is they: by their password, if they have one.
    Unproven { password_hash: Option<&'o str> },
}

/// That the address is nobody's yet, or of somebody who begins anew: made only by [`Offer::identify`].
#[derive(Debug)]
pub struct Newcomer<'o> {
    email: &'o Email,
    before: Option<&'o User>,
}

/// That this is the person whose address it is: made only by [`Offer::identify`].
#[derive(Debug)]
pub struct Proven<'o> {
    user: &'o User,
    /// When the key ends by which they proved it.
    key_ends_at: Option<Time>,
}

impl Offer {
    /// For whom wrong passwords are counted: the address and the organization that invites it, so that none locks
    /// anybody out of another. It is the same whether the address is somebody's or not.
    pub fn account(&self) -> String {
        format!("{} of {}", self.email.as_str(), self.org_id)
    }

    /// `verified` is the stored hash that the password of the request has just been verified against. A request that
    /// carries the key of anyone else is refused.
    pub fn identify(&self, caller: Option<&Caller>, verified: Option<&str>) -> Result<Identity<'_>, Error> {
        let known = self.addressee.as_ref();
        if let Some(caller) = caller {
            let is_theirs = |known: &&Addressee| caller.is_person(known.user.id.as_str());
            let Addressee { user, .. } = known.filter(is_theirs).ok_or_else(|| {
                Error::Forbidden("this key is not the invited person's: send theirs, or none".to_owned())
            })?;
            return Ok(Identity::Proven(Proven { user, key_ends_at: caller.key_ends_at }));
        }
        Ok(match known {
            Some(Addressee { user, password_hash: Some(stored), .. }) if verified == Some(stored) => {
                Identity::Proven(Proven { user, key_ends_at: None })
            }
            Some(Addressee { is_established: true, password_hash, .. }) => {
                Identity::Unproven { password_hash: password_hash.as_deref() }
            }
            known => Identity::New(Newcomer { email: &self.email, before: known.map(|known| &known.user) }),
        })
    }
}

/// What whoever has not shown yet who they are is told: the same whether the address is somebody's or not.
pub fn unproven() -> Error {
    Error::Forbidden(
        "show who you are: somebody who is known sends their `password`, or the request with an API key of theirs; \
         somebody new sends a `name`, and a `password` or an `api_key_name`"
            .to_owned(),
    )
}

/// Notes that a password was sent that proved nothing.
pub fn record_wrong_password(tx: &Tx, offer: &Offer) -> Result<(), Error> {
    let data = json!({ "invitation_id": offer.id, "invited_user_email": offer.email.as_str() });
    tx.note_change(); // this entry alone is what is written
    audit::record(tx, Actor::Nobody, &offer.org_id, None, Event::new("SIGN_IN_FAILED", data))
}

/// Who joins.
#[derive(Debug)]
pub enum Joiner<'o> {
    New { newcomer: Newcomer<'o>, name: PersonName, password_hash: Option<String> },
    Existing(Proven<'o>),
}

/// Joins the organization and the teams of the invitation, which is used up by it. With `key_name` it makes a first
/// personal key, which lasts no longer than the key by which they proved who they are.
///
/// While teams are off, who joins as a member of the organization is in the default team.
pub fn accept(tx: &Tx, offer: &Offer, joiner: Joiner<'_>, key_name: Option<&KeyName>) -> Result<Accepted, Error> {
    let lifetime = match &joiner {
        Joiner::Existing(proven) => Lifetime::of_proof(earlier(proven.key_ends_at, offer.key_ends_at)),
        Joiner::New { .. } => Lifetime::of_proof(offer.key_ends_at),
    };
    let user = match joiner {
        Joiner::Existing(proven) => proven.user.clone(),
        Joiner::New { newcomer, name, password_hash } => {
            let user = match newcomer.before {
                Some(user) => users::rename_anew(tx, user, &name)?,
                None => users::insert(tx, newcomer.email, &name)?,
            };
            password_hash.iter().try_for_each(|hash| users::set_password_hash(tx, &user.id, hash))?;
            user
        }
    };
    tx.sql
        .prepare_cached("UPDATE invitation SET accepted_at = :now WHERE id = :id")?
        .execute(named_params! { ":now": tx.now, ":id": offer.id })?;
    users::join(tx, &offer.org_id, &user.id, offer.role)?;
    users::record_joined(tx, Actor::User(&user.id), &offer.org_id, &user)?;
    let organization = organizations::find(tx, &offer.org_id)?;
    let mut invited_teams = invited_teams(tx, &offer.org_id, &offer.id)?;
    if offer.role == OrgRole::Member && !organization.teams_enabled && invited_teams.is_empty() {
        invited_teams.push(InvitedTeam { team: teams::default(tx, &offer.org_id)?, role: TeamRole::Member });
    }
    for invited in &invited_teams {
        members::join(tx, Actor::User(&user.id), &invited.team, &user, invited.role)?;
    }
    let first_key = |name| personal_keys::create_first(tx, Actor::User(&user.id), &offer.org_id, &user, name, lifetime);
    let key = key_name.map(first_key).transpose()?;
    Ok(Accepted { user, role: offer.role, organization, invited_teams, key })
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

/// Without its teams.
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
    })
}
