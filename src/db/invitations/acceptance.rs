//! Accepting an invitation: whose the link is, who holds it, and what they join.

use rusqlite::named_params;
use serde_json::json;

use super::{earlier, invited_teams};
use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, members, organizations, personal_keys, teams, users};
use crate::domain::invitations::{Accepted, InvitedTeam};
use crate::domain::{Email, KeyName, OrgId, Organization, PersonName, Time, User};
use crate::error::Error;
use crate::policy::keys::Lifetime;
use crate::policy::{Caller, OrgAct, OrgRole, TeamRole};
use crate::token;

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
