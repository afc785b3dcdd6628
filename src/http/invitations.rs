//! Invitations over HTTP.

use std::collections::HashSet;

use crate::db::invitations::{self, Identity, Joiner, Place, Status};
use crate::db::{Tx, teams};
use crate::error::Error;
use crate::http::passwords::{Outcome, Work};
use crate::http::{Ask, Reply};
use crate::model::{Email, KeyName, Password, PersonName};
use crate::policy::{Caller, InOrg, OrgAct};
use crate::token::LinkToken;
use crate::wire::Items;
use crate::wire::Tombstone;
use crate::wire::invitations::{
    AcceptInvitation, AcceptedInvitation, CreateInvitation, CreateInvitationTeam, Invitation,
};

pub fn list(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let paging = ask.paging("invitations")?;
    let unknown = || Error::field("status", "must be PENDING, ACCEPTED, EXPIRED or REVOKED");
    let status = ask.query("status").map(|name| Status::parse(name).ok_or_else(unknown)).transpose()?;
    let page = invitations::list(tx, org, status, &paging)?;
    let items = page.items.iter().map(|invitation| Invitation::new(invitation, None)).collect();
    Ok(Reply::ok(&Items::of("invitations", items, page.next.as_deref())))
}

pub fn create(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let asked: CreateInvitation = ask.json()?;
    let email = Email::parse(&asked.email)?;
    let places = places(tx, org, asked.teams.as_deref().unwrap_or_default())?;
    let (invitation, link) = invitations::create(tx, org, &email, asked.role.in_organization(), &places)?;
    Ok(Reply::ok(&Invitation::new(&invitation, Some(accept_url(ask, &link)))))
}

pub fn resend(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let invitation = invitations::find(tx, org, ask.param("invitation_id"))?;
    let (invitation, link) = invitations::resend(tx, org, &invitation)?;
    Ok(Reply::ok(&Invitation::new(&invitation, Some(accept_url(ask, &link)))))
}

pub fn revoke(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let invitation = invitations::find(tx, org, ask.param("invitation_id"))?;
    invitations::revoke(tx, org, &invitation)?;
    Ok(Reply::ok(&Tombstone::of(&invitation.id)))
}

/// Whether a password has to be hashed or verified before the invitation can be accepted. What is refused whatever comes
/// of that is refused here, without the work.
pub fn look(tx: &Tx, caller: Option<&Caller>, ask: &Ask) -> Result<Option<Work>, Error> {
    let asked = Acceptance::read(ask)?;
    let offer = invitations::open(tx, &asked.token)?;
    match (offer.identify(caller, None)?, asked.password) {
        (Identity::New(_), password) => {
            asked.name.ok_or_else(name_is_missing)?;
            if password.is_none() && asked.api_key_name.is_none() {
                return Err(Error::field("password", "or `api_key_name` is required of a new person: the way back in"));
            }
            Ok(password.map(Work::Hash))
        }
        (Identity::Proven(_), _) => Ok(None),
        (Identity::Unproven { user_id, password_hash }, Some(password)) => Ok(Some(Work::Verify {
            password,
            against: password_hash.map(str::to_owned),
            account: format!("{user_id} of {}", offer.org_id()),
        })),
        (Identity::Unproven { .. }, None) => Err(unproven()),
    }
}

/// The stored hash is read again: a password that was changed since proves nothing.
pub fn accept(tx: &Tx, caller: Option<&Caller>, ask: &Ask, outcome: &Outcome) -> Result<Reply, Error> {
    let asked = Acceptance::read(ask)?;
    let offer = invitations::open(tx, &asked.token)?;
    let (verified, hashed) = match outcome {
        Outcome::Verified(stored) => (Some(stored.as_str()), None),
        Outcome::Hashed(hash) => (None, Some(hash.clone())),
        Outcome::Nothing | Outcome::Wrong => (None, None),
    };
    let joiner = match offer.identify(caller, verified)? {
        Identity::New(newcomer) => {
            Joiner::New { newcomer, name: asked.name.ok_or_else(name_is_missing)?, password_hash: hashed }
        }
        Identity::Proven(known) => Joiner::Known(known),
        Identity::Unproven { .. } => return Err(unproven()),
    };
    let accepted = invitations::accept(tx, &offer, joiner, asked.api_key_name.as_ref())?;
    Ok(Reply::ok(&AcceptedInvitation::from(&accepted)))
}

/// What a body asks for, checked.
struct Acceptance {
    token: String,
    name: Option<PersonName>,
    password: Option<Password>,
    api_key_name: Option<KeyName>,
}

impl Acceptance {
    fn read(ask: &Ask) -> Result<Acceptance, Error> {
        let asked: AcceptInvitation = ask.json()?;
        Ok(Acceptance {
            token: asked.token,
            name: asked.name.as_deref().map(PersonName::parse).transpose()?,
            password: asked.password.map(Password::parse).transpose()?,
            api_key_name: asked.api_key_name.map(|name| KeyName::parse("api_key_name", &name)).transpose()?,
        })
    }
}

fn name_is_missing() -> Error {
    Error::field("name", "is required of a new person")
}

fn unproven() -> Error {
    Error::Forbidden(
        "this address belongs to a person who exists: send their `password`, or the request with an API key of theirs"
            .to_owned(),
    )
}

/// The teams that an invitation names, each once. One of another organization is not there.
fn places(tx: &Tx, org: &InOrg, asked: &[CreateInvitationTeam]) -> Result<Vec<Place>, Error> {
    let mut named = HashSet::new();
    if let Some(at) = asked.iter().position(|team| !named.insert(&team.team_id)) {
        return Err(Error::field(&format!("teams[{at}].team_id"), "names a team that stands in the list already"));
    }
    let place = |asked: &CreateInvitationTeam| {
        let team = teams::find(tx, &asked.team_id)?;
        org.caller().in_org_about(&team, OrgAct::ManageMembers)?;
        Ok(Place { team, role: asked.role.in_team() })
    };
    asked.iter().map(place).collect()
}

/// Where the invited person accepts.
fn accept_url(ask: &Ask, link: &LinkToken) -> String {
    format!("{}/invite/{}", ask.request.site, link.reveal())
}
