//! Invitations: who may join an organization, with which role, and into which teams.
//!
//! A link is bound to one address. It works once, for seven days at most, and only while its inviter may still invite.
//! The database keeps only a hash of its token. The link alone never acts for a person who exists already: that person
//! must prove their identity.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, endings, members, organizations, personal_keys, teams, users};
use crate::domain::invitations::{Accepted, Invitation, InvitedTeam, Status};
use crate::domain::{Email, KeyName, OrgId, Organization, Page, Paging, PersonName, Time, User, UserId};
use crate::error::Error;
use crate::policy::keys::Lifetime;
use crate::policy::{Caller, InOrg, OrgAct, OrgRole, Person, TeamRole};
use crate::token::{self, LinkToken};

const VALID_FOR_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Lists the invitations of the organization, newest first, or only those that have the given status now.
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
                user.email AS inviter_email
         FROM invitation JOIN user ON user.id = invitation.invited_by
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

// ---- acceptance ----

/// An invitation whose link works now. Only [`open`] makes one.
#[derive(Debug)]
pub struct Offer {
    id: String,
    org_id: OrgId,
    email: Email,
    role: OrgRole,
    /// When the key that the invitation was made with expires.
    key_ends_at: Option<Time>,
    addressee: Option<Addressee>,
}

/// The person whom an invitation addresses, if they exist already.
#[derive(Debug)]
struct Addressee {
    user: User,
    password_hash: Option<String>,
    /// Whether anything ties the person to the address: a password, a key that works, or a membership. A person who was
    /// removed and has none of these cannot prove their identity, so they start again as a new person.
    is_established: bool,
}

/// The invitation of this link.
///
/// # Errors
///
/// [`Error::NotFound`] for a link that does not work, whatever the reason: it is unknown, used, revoked or expired, its
/// inviter may not invite any more, or the person is a member already.
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

/// The person who accepts an invitation, as far as the request has proved their identity.
#[derive(Debug)]
pub enum Identity<'o> {
    /// No person has the address yet, or the person who has it starts again.
    New(Newcomer<'o>),
    /// A person has the address, and the request proved that it comes from them.
    Proven(Proven<'o>),
    /// A person has the address, and the request has yet to prove that it comes from them: by their password, if they
    /// have one.
    Unproven { password_hash: Option<&'o str> },
}

/// Proof that no person has the address, or only one who starts again. Only [`Offer::identify`] makes it.
#[derive(Debug)]
pub struct Newcomer<'o> {
    email: &'o Email,
    before: Option<&'o User>,
}

/// Proof that the request comes from the person who has the address. Only [`Offer::identify`] makes it.
#[derive(Debug)]
pub struct Proven<'o> {
    user: &'o User,
    /// When the key by which they proved their identity expires.
    key_ends_at: Option<Time>,
}

impl Offer {
    /// The address that is invited.
    pub fn email(&self) -> &str {
        self.email.as_str()
    }

    /// The organization that invites, and the teams with their roles. The holder of the link may know them.
    pub fn place(&self, tx: &Tx) -> Result<(Organization, Vec<InvitedTeam>), Error> {
        Ok((organizations::find(tx, &self.org_id)?, invited_teams(tx, &self.org_id, &self.id)?))
    }

    /// The account for which wrong passwords are counted: the address together with the organization that invites it,
    /// so that one organization cannot lock a person out of another. It is the same whether a person has the address or
    /// not.
    pub fn account(&self) -> String {
        format!("{} of {}", self.email.as_str(), self.org_id)
    }

    /// Decides how far the request proves who accepts the invitation. `verified` is the stored hash against which the
    /// password of the request has just been verified.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] where the request carries a key that does not belong to the invited person.
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

/// The refusal of a request that does not prove who sends it. It is the same whether a person has the address or not.
pub fn unproven() -> Error {
    Error::Forbidden(
        "show who you are: somebody who is known sends their `password`, or the request with an API key of theirs; \
         somebody new sends a `name`, and a `password` or an `api_key_name`"
            .to_owned(),
    )
}

/// Records in the audit log that a wrong password was sent.
pub fn record_wrong_password(tx: &Tx, offer: &Offer) -> Result<(), Error> {
    let data = json!({ "invitation_id": offer.id, "invited_user_email": offer.email.as_str() });
    tx.note_change(); // the audit entry is the only row that this write adds
    audit::record(tx, Actor::Nobody, &offer.org_id, None, Event::new("SIGN_IN_FAILED", data))
}

/// The person who joins an organization by an invitation.
#[derive(Debug)]
pub enum Joiner<'o> {
    New { newcomer: Newcomer<'o>, name: PersonName, password_hash: Option<String> },
    Existing(Proven<'o>),
}

/// Joins the organization and the teams of the invitation, which is used up. With `key_name` it creates a first
/// personal key, which expires no later than the key that the invitation was made with and the key that proved the
/// person's identity.
///
/// While teams are off, a person who joins as an ordinary member is put into the default team if the invitation names
/// no team.
///
/// # Errors
///
/// [`Error::Conflict`] for a `key_name` that another working key of the person has.
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
    })
}
