//! What each caller sees, as the documents have it.

use std::collections::BTreeSet;

use super::{Act, Category, Invitation, Key, Reference, Role, Status, Verdict};

impl Reference {
    /// By name alone: a key that manages keys sees them all.
    pub fn teams_listed(&self, caller: &Key) -> Result<BTreeSet<String>, u16> {
        if caller.category != Category::ManageApiKeys {
            return self.teams_seen(caller);
        }
        self.known(caller)?;
        Ok(self.teams.iter().filter(|team| team.there).map(|team| team.id.clone()).collect())
    }

    pub fn teams_seen(&self, caller: &Key) -> Result<BTreeSet<String>, u16> {
        self.joined(caller)?;
        let seen = (0..self.teams.len()).filter(|at| self.in_team(caller, *at, Act::View).is_ok());
        Ok(seen.map(|at| self.teams[at].id.clone()).collect())
    }

    pub fn secrets_seen(&self, caller: &Key) -> Result<BTreeSet<String>, u16> {
        self.joined(caller)?;
        let seen = (0..self.teams.len()).filter(|at| self.in_team(caller, *at, Act::View).is_ok());
        let of = |at: usize| self.teams[at].secrets.iter().map(move |name| format!("{} {name}", self.teams[at].name));
        Ok(seen.flat_map(of).collect())
    }

    /// Lists that join all teams refuse keys without the View act.
    fn joined(&self, caller: &Key) -> Verdict {
        self.known(caller)?;
        match caller.category {
            Category::Personal | Category::ManageAll => Ok(()),
            Category::Invoke | Category::ExportMetrics | Category::ManageApiKeys => Err(403),
        }
    }

    /// Keys that have ended and are not revoked may be listed or not: they are left out.
    pub fn keys_seen(&self, caller: &Key) -> Result<BTreeSet<String>, u16> {
        self.known(caller)?;
        let sees = |key: &&Key| {
            let team_key_seen = |team| match caller.category {
                Category::Personal => self.in_team(caller, team, Act::View).is_ok(),
                Category::ManageApiKeys => true,
                _ => false,
            };
            key.ours == caller.ours
                && self.lives(key)
                && (key.prefix == caller.prefix
                    || self.is_org_admin(caller)
                    || (key.owner.is_some() && key.owner == caller.owner)
                    || key.team.is_some_and(team_key_seen))
        };
        Ok(self.keys.iter().filter(sees).map(|key| key.prefix.clone()).collect())
    }

    pub fn people_seen(&self, caller: &Key) -> Result<BTreeSet<String>, u16> {
        self.known(caller)?;
        if caller.owner.is_none() {
            return Err(403);
        }
        Ok(self.people.iter().filter(|person| person.role.is_some()).map(|person| person.id.clone()).collect())
    }

    pub fn members_seen(&self, caller: &Key, team: usize) -> Result<BTreeSet<String>, u16> {
        self.in_team(caller, team, Act::View)?;
        let member = |(at, role): (&usize, &Role)| format!("{} {}", self.people[*at].id, role.name());
        Ok(self.teams[team].members.iter().map(member).collect())
    }

    pub fn invitations_seen(&self, caller: &Key) -> Result<BTreeSet<String>, u16> {
        self.as_org_admin(caller)?;
        let told = |invitation: &Invitation| {
            let status = match invitation.status {
                Status::Pending if invitation.ends <= self.now => "EXPIRED",
                Status::Pending => "PENDING",
                Status::Accepted => "ACCEPTED",
                Status::Revoked => "REVOKED",
            };
            format!("{} {status}", invitation.id)
        };
        Ok(self.invitations.iter().map(told).collect())
    }
}
