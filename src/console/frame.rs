//! What surrounds every page: the navigation, the team selector, who is signed in, and what just happened.

use crate::console::context::{PageContext, Refused};
use crate::console::session::Session;
use crate::console::{assets, view};
use crate::db::{Tx, organizations, teams, users};
use crate::domain::{Organization, Team, Time};
use crate::error::Error;
use crate::policy::{Caller, OrgAct, OrgRole, Standing, TeamAct, Who};

/// How many teams the selector lists. The page of all teams has a search.
const TEAMS_SHOWN_MAX: usize = 100;

/// The surroundings of a page for a person who is signed in.
pub struct Frame {
    pub now: Time,
    pub organization: Organization,
    /// The teams that the person may see. Empty while teams are switched off.
    pub teams: Vec<TeamLink>,
    pub has_more_teams: bool,
    /// The team that the navigation leads into. `None` for a person who is in no team.
    pub team: Option<TeamLink>,
    pub me: Me,
    pub may: May,
    pub csrf: String,
    /// What the last form did.
    pub done: Option<&'static str>,
    /// Why the form was refused that this page shows again in a dialog.
    pub problem: Option<String>,
    /// Why a form was refused that stands in the page itself.
    pub page_problem: Option<String>,
    /// The path of this page without a query.
    pub path: String,
    pub nav: Nav,
}

/// A team in the selector.
#[derive(Clone)]
pub struct TeamLink {
    pub id: String,
    pub name: String,
    /// An emoji, or the first letter of the name.
    pub tile: String,
    pub is_default: bool,
    pub role: &'static str,
    pub is_current: bool,
}

/// The person who is signed in.
pub struct Me {
    pub id: String,
    pub name: String,
    pub email: String,
    pub initials: String,
    pub role: &'static str,
}

/// What the person may do in the organization.
pub struct May {
    pub manage_teams: bool,
    pub manage_members: bool,
    pub manage_billing: bool,
}

/// The entry of the navigation that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nav {
    Overview,
    Models,
    Chains,
    Training,
    ModelApis,
    TeamSettings,
    Organization,
    Account,
    Nowhere,
}

impl Frame {
    /// The frame of a page. `team` is the team of the page; a page that is about no team leads into the first team that
    /// the person may see.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthenticated`] without a session, and [`Error::NotFound`] for a person who was just removed.
    pub fn new(tx: &Tx, ctx: &PageContext, nav: Nav, team: Option<&Team>) -> Result<Frame, Error> {
        let session = ctx.session.ok_or(Error::Unauthenticated)?;
        let frame = Frame::of_session(tx, session, nav, team)?;
        let message = |refused: &Refused| refused.message.clone();
        Ok(Frame {
            done: done(ctx.query("done")),
            problem: ctx.refused.filter(|refused| !refused.dialog.is_empty()).map(message),
            page_problem: ctx.refused.filter(|refused| refused.dialog.is_empty()).map(message),
            path: ctx.own_path(),
            ..frame
        })
    }

    /// The frame of a page that no handler shows, such as a refusal.
    ///
    /// # Errors
    ///
    /// Those of [`Frame::new`].
    pub fn of_session(tx: &Tx, session: &Session, nav: Nav, team: Option<&Team>) -> Result<Frame, Error> {
        let caller = session.caller();
        let org = caller.own_org();
        let organization = organizations::own(tx, &org)?;
        let seen = teams::of_organization(tx, caller)?;
        let current = team.cloned().or_else(|| seen.first().cloned());
        let link = |team: &Team| TeamLink::of(caller, team, current.as_ref().is_some_and(|now| now.id == team.id));
        let teams = match organization.teams_enabled {
            true => seen.iter().take(TEAMS_SHOWN_MAX).map(link).collect(),
            false => Vec::new(),
        };
        Ok(Frame {
            now: tx.now,
            has_more_teams: seen.len() > TEAMS_SHOWN_MAX,
            team: current.as_ref().map(link),
            teams,
            me: Me::of(tx, caller)?,
            may: May {
                manage_teams: caller.in_org(OrgAct::ManageTeams).is_ok(),
                manage_members: caller.in_org(OrgAct::ManageMembers).is_ok(),
                manage_billing: caller.in_org(OrgAct::ManageBilling).is_ok(),
            },
            organization,
            csrf: session.csrf.clone(),
            done: None,
            problem: None,
            page_problem: None,
            path: String::new(),
            nav,
        })
    }

    pub fn style(&self) -> String {
        assets::style()
    }

    pub fn script(&self) -> String {
        assets::script()
    }

    pub fn mark(&self) -> String {
        assets::mark()
    }

    /// Whether pages name teams at all.
    pub fn has_teams(&self) -> bool {
        self.organization.teams_enabled
    }

    pub fn is_at(&self, nav: Nav) -> bool {
        self.nav == nav
    }

    /// The team that a page is about.
    pub fn team_name(&self) -> &str {
        self.team.as_ref().map(|team| team.name.as_str()).unwrap_or_default()
    }

    pub fn team_id(&self) -> &str {
        self.team.as_ref().map(|team| team.id.as_str()).unwrap_or_default()
    }

    /// The name under which pages speak of the team. While teams are off, it is the organization's.
    pub fn owner(&self) -> &str {
        if self.has_teams() { self.team_name() } else { &self.organization.name }
    }
}

impl TeamLink {
    pub fn of(caller: &Caller, team: &Team, is_current: bool) -> TeamLink {
        let first = || team.name.chars().next().map(|letter| letter.to_uppercase().collect());
        TeamLink {
            id: team.id.as_str().to_owned(),
            name: team.name.clone(),
            tile: team.icon.clone().or_else(first).unwrap_or_default(),
            is_default: team.is_default,
            role: role_in(caller, team),
            is_current,
        }
    }
}

/// The caller's role in a team, in words. Empty for an organization admin, whose role the account shows.
fn role_in(caller: &Caller, team: &Team) -> &'static str {
    match &caller.who {
        Who::Person(person) if person.role == OrgRole::Admin => "",
        Who::Person(_) | Who::TeamKey(_) | Who::KeyManager { .. } => match caller.standing_in(team) {
            Some(Standing::Admin) => "Team Admin",
            Some(Standing::Member) => "Team Member",
            Some(Standing::ManageAll | Standing::Invoke | Standing::ExportMetrics | Standing::ManageApiKeys) | None => {
                ""
            }
        },
    }
}

impl Me {
    fn of(tx: &Tx, caller: &Caller) -> Result<Me, Error> {
        let (org, person) = caller.as_member()?;
        let member = users::find(tx, &org, person.user_id.as_str())?;
        Ok(Me {
            id: member.user.id.as_str().to_owned(),
            initials: view::initials(&member.user.name),
            name: member.user.name,
            email: member.user.email,
            role: match member.role {
                OrgRole::Admin => "Organization Admin",
                OrgRole::Member => "Organization Member",
            },
        })
    }
}

/// The row of the table that refuses an act in a team, or `None` if the caller may do it.
pub fn refusal_in(caller: &Caller, team: &Team, act: TeamAct) -> Option<String> {
    caller.in_team(team, act).err().map(|error| crate::console::rendering::sentence(&error))
}

/// The sentence for what a form did. Pages are told by a word of this list, so that nobody can put words into them.
fn done(word: &str) -> Option<&'static str> {
    const DONE: &[(&str, &str)] = &[
        ("activated", "Activated."),
        ("added", "Added to the team."),
        ("created", "Created."),
        ("deactivated", "Deactivated."),
        ("deleted", "Deleted."),
        ("joined", "Welcome. You have joined."),
        ("left", "You have left the team."),
        ("invited", "Invited. The invitation is on its way by mail."),
        ("password", "Your password is changed. All your other sessions have ended."),
        ("promoted", "The promotion has begun."),
        ("removed", "Removed."),
        ("reset-mailed", "The link to set a new password is on its way by mail."),
        ("resent", "Sent again. The link before no longer works."),
        ("retried", "Started again."),
        ("revoked", "Revoked."),
        ("saved", "Saved."),
        ("signed-out", "You are signed out."),
        ("stopped", "Stopped."),
    ];
    DONE.iter().find(|(name, _)| *name == word).map(|(_, sentence)| *sentence)
}
