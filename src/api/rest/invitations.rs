//! Invitations over HTTP.

use std::collections::HashSet;

use crate::api::guesses::Guess;
use crate::api::passwords::{Outcome, Work};
use crate::api::{Reply, RequestContext};
use crate::db::invitations::{self, Identity, Joiner};
use crate::db::{Tx, teams};
use crate::domain::invitations::{InvitedTeam, Status};
use crate::domain::{Email, KeyName, NAMED_MAX, Password, PersonName};
use crate::error::Error;
use crate::policy::{Caller, InOrg, OrgAct};
use crate::token::LinkToken;
use crate::wire::Items;
use crate::wire::Tombstone;
use crate::wire::invitations::{
    AcceptInvitation, AcceptedInvitation, CreateInvitation, CreateInvitationTeam, Invitation,
};

pub fn list(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let paging = ctx.paging("invitations")?;
    let unknown = || Error::field("status", "must be PENDING, ACCEPTED, EXPIRED or REVOKED");
    let status = ctx.query("status").map(|name| Status::parse(name).ok_or_else(unknown)).transpose()?;
    let page = invitations::list(tx, org, status, &paging)?;
    let items = page.items.iter().map(|invitation| Invitation::new(invitation, None)).collect();
    Ok(Reply::ok(&Items::of("invitations", items, page.next.as_deref())))
}

pub fn create(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: CreateInvitation = ctx.json()?;
    let email = Email::parse(&asked.email)?;
    let invited_teams = invited_teams(tx, org, asked.teams.as_deref().unwrap_or_default())?;
    let (invitation, link) = invitations::create(tx, org, &email, asked.role.in_organization(), &invited_teams)?;
    Ok(Reply::ok(&Invitation::new(&invitation, Some(accept_url(ctx, &link)))))
}

pub fn resend(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let invitation = invitations::find(tx, org, ctx.param("invitation_id"))?;
    let (invitation, link) = invitations::resend(tx, org, &invitation)?;
    Ok(Reply::ok(&Invitation::new(&invitation, Some(accept_url(ctx, &link)))))
}

pub fn revoke(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let invitation = invitations::find(tx, org, ctx.param("invitation_id"))?;
    invitations::revoke(tx, org, &invitation)?;
    Ok(Reply::ok(&Tombstone::of(&invitation.id)))
}

/// Finds out whether a password must be hashed or verified before the invitation can be accepted. A request that is
/// refused whatever the result would be is refused here, without this work. An address that belongs to nobody takes the
/// same work and gets the same answer as a known address.
pub fn find_acceptance_work(tx: &Tx, caller: Option<&Caller>, ctx: &RequestContext) -> Result<Option<Work>, Error> {
    let asked = Acceptance::read(ctx)?;
    let offer = invitations::open(tx, &asked.token)?;
    let against = match offer.identify(caller, None)? {
        Identity::Proven(_) => return Ok(None),
        Identity::New(_) if asked.is_of_a_new_person() => return Ok(asked.password.map(Work::Hash)),
        Identity::New(_) => None,
        Identity::Unproven { password_hash } => password_hash.map(str::to_owned),
    };
    let password = asked.password.ok_or_else(invitations::unproven)?;
    let guess = Guess::new(offer.account(), ctx.request.log.peer());
    Ok(Some(Work::Verify { password, against, guess }))
}

/// Accepts an invitation. The stored hash is read again: if the password was changed after it was verified, it proves
/// nothing. A wrong password is recorded in the audit log; for this write, the refusal is returned as a reply.
///
/// # Errors
///
/// [`Error::Invalid`] for a malformed body, [`Error::NotFound`] for a link that does not work, [`Error::Forbidden`] for
/// a key of another person, and the refusals of [`invitations::accept`].
pub fn accept(tx: &Tx, caller: Option<&Caller>, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked = Acceptance::read(ctx)?;
    let offer = invitations::open(tx, &asked.token)?;
    let (verified, hashed) = match ctx.password() {
        Outcome::Verified(stored) => (Some(stored.as_str()), None),
        Outcome::Hashed(hash) => (None, Some(hash.clone())),
        Outcome::Nothing | Outcome::Wrong | Outcome::Changed { .. } => (None, None),
    };
    let is_hashed = asked.password.is_none() || hashed.is_some();
    let is_new = asked.is_of_a_new_person() && is_hashed;
    let joiner = match (offer.identify(caller, verified)?, asked.name) {
        (Identity::Proven(known), _) => Joiner::Existing(known),
        (Identity::New(newcomer), Some(name)) if is_new => Joiner::New { newcomer, name, password_hash: hashed },
        (Identity::New(_) | Identity::Unproven { .. }, _) => {
            if asked.password.is_some() {
                invitations::record_wrong_password(tx, &offer)?;
            }
            return Ok(ctx.request.log.refuse(&invitations::unproven()));
        }
    };
    let accepted = invitations::accept(tx, &offer, joiner, asked.api_key_name.as_ref())?;
    Ok(Reply::ok(&AcceptedInvitation::from(&accepted)))
}

/// The content of a body, after it has been checked.
struct Acceptance {
    token: String,
    name: Option<PersonName>,
    password: Option<Password>,
    api_key_name: Option<KeyName>,
}

impl Acceptance {
    /// Whether it contains what a new person must send: a name, and a password or the name of an API key.
    fn is_of_a_new_person(&self) -> bool {
        self.name.is_some() && (self.password.is_some() || self.api_key_name.is_some())
    }

    fn read(ctx: &RequestContext) -> Result<Acceptance, Error> {
        let asked: AcceptInvitation = ctx.json()?;
        Ok(Acceptance {
            token: asked.token,
            name: asked.name.as_deref().map(PersonName::parse).transpose()?,
            password: asked.password.map(Password::parse).transpose()?,
            api_key_name: asked.api_key_name.map(|name| KeyName::parse("api_key_name", &name)).transpose()?,
        })
    }
}

/// Finds the teams that an invitation names. A team that is named twice is refused; a team of another organization is
/// not found.
fn invited_teams(tx: &Tx, org: &InOrg, asked: &[CreateInvitationTeam]) -> Result<Vec<InvitedTeam>, Error> {
    Error::check_count("teams", asked.len(), NAMED_MAX)?;
    let mut named = HashSet::new();
    if let Some(at) = asked.iter().position(|team| !named.insert(&team.team_id)) {
        return Err(Error::field(&format!("teams[{at}].team_id"), "names a team that stands in the list already"));
    }
    let invited = |asked: &CreateInvitationTeam| {
        let team = teams::find(tx, &asked.team_id)?;
        org.caller().in_org_about(&team, OrgAct::ManageMembers)?;
        Ok(InvitedTeam { team, role: asked.role.in_team() })
    };
    asked.iter().map(invited).collect()
}

/// The link with which the invited person accepts.
fn accept_url(ctx: &RequestContext, link: &LinkToken) -> String {
    format!("{}/invite/{}", ctx.request.base_url, link.reveal())
}
