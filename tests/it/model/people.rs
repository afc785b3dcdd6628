//! Acts on people: members of teams, users of the organization, invitations.

use serde_json::{Value, json};

use super::reference::{Act, Category, Invitation, Key, Person, Role, Status};
use super::{DAY, History, Outcome, id, token};

impl History {
    // ---- members ----

    pub(super) fn members(&self, team: usize) -> String {
        format!("/v1/teams/{}/members", self.model.teams[team].id)
    }

    pub(super) fn is_member(&self, team: usize, person: usize) -> Result<(), u16> {
        if self.model.teams[team].members.contains_key(&person) { Ok(()) } else { Err(404) }
    }

    pub(super) fn add_member(&mut self, caller: &Key, team: usize, person: usize, role: Role) -> Outcome {
        let of_org = self.model.people[person].role.map(drop).ok_or(404);
        let new = if self.is_member(team, person).is_ok() { Err(409) } else { Ok(()) };
        let verdict = self.model.in_team(caller, team, Act::ManageMembers).and(of_org).and(new);
        let body = json!({ "user_id": self.model.people[person].id, "role": role.name() });
        self.ask(Some(caller), "POST", &self.members(team), Some(body), verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].members.insert(person, role);
        }
        Ok(())
    }

    pub(super) fn change_member(&mut self, caller: &Key, team: usize, person: usize, role: Role) -> Outcome {
        let verdict = self.model.in_team(caller, team, Act::ManageMembers).and_then(|()| self.is_member(team, person));
        let target = format!("{}/{}", self.members(team), self.model.people[person].id);
        self.ask(Some(caller), "PATCH", &target, Some(json!({ "role": role.name() })), verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].members.insert(person, role);
        }
        Ok(())
    }

    pub(super) fn leave_team(&mut self, caller: &Key, team: usize) -> Outcome {
        self.remove_member(caller, team, caller.owner.unwrap_or(0))
    }

    pub(super) fn remove_member(&mut self, caller: &Key, team: usize, person: usize) -> Outcome {
        let is_self = caller.owner == Some(person) && caller.ours;
        let may = match self.model.in_team(caller, team, Act::ManageMembers) {
            Err(403) if is_self => Ok(()),
            other => other,
        };
        let kept = !self.model.teams_enabled && self.model.teams[team].is_default;
        let conflict = if kept { Err(409) } else { Ok(()) };
        let verdict = may.and_then(|()| self.is_member(team, person)).and(conflict);
        let target = format!("{}/{}", self.members(team), self.model.people[person].id);
        self.ask(Some(caller), "DELETE", &target, None, verdict)?;
        if verdict.is_ok() {
            self.model.leaves_team(person, team);
        }
        Ok(())
    }

    // ---- people ----

    pub(super) fn change_role(&mut self, caller: &Key, person: usize, role: Role) -> Outcome {
        // The other organization's admin acts on their own organization: they see nobody here, and may not lose themselves.
        let of_org = self.model.people[person].role.map(drop).ok_or(404);
        let lost = if role == Role::Member { self.model.can_lose(person) } else { Ok(()) };
        let verdict = match caller.ours {
            true => self.model.as_org_admin(caller).and(of_org).and(lost),
            false => return Ok(()),
        };
        let target = format!("/v1/users/{}", self.model.people[person].id);
        self.ask(Some(caller), "PATCH", &target, Some(json!({ "role": role.name() })), verdict)?;
        if verdict.is_ok() {
            self.model.becomes(person, role);
        }
        Ok(())
    }

    pub(super) fn remove_person(&mut self, caller: &Key, person: usize) -> Outcome {
        if !caller.ours {
            return Ok(());
        }
        let is_self = caller.owner == Some(person);
        let may = match self.model.as_org_admin(caller) {
            Err(403) if is_self => Ok(()),
            other => other,
        };
        let of_org = self.model.people[person].role.map(drop).ok_or(404);
        let verdict = may.and(of_org).and(self.model.can_lose(person));
        let target = format!("/v1/users/{}", self.model.people[person].id);
        self.ask(Some(caller), "DELETE", &target, None, verdict)?;
        if verdict.is_ok() {
            self.model.leaves_organization(person);
        }
        Ok(())
    }

    // ---- invitations ----

    pub(super) fn invite(
        &mut self,
        caller: &Key,
        email: &'static str,
        role: Role,
        team: usize,
        team_role: Role,
    ) -> Outcome {
        if !caller.ours {
            return Ok(());
        }
        let seen = self.model.standing(caller, team).map(drop).ok_or(404);
        let member = self.model.people.iter().any(|person| person.email == email && person.role.is_some());
        let new = if member { Err(409) } else { Ok(()) };
        let verdict = self.model.as_org_admin(caller).and(seen).and(new);
        let teams = json!([{ "team_id": self.model.teams[team].id, "role": team_role.name() }]);
        let body = json!({ "email": email, "role": role.name(), "teams": teams });
        let made = self.ask(Some(caller), "POST", "/v1/invitations", Some(body), verdict)?;
        if verdict.is_err() {
            return Ok(());
        }
        for open in self.model.invitations.iter_mut().filter(|i| i.email == email && i.status == Status::Pending) {
            open.status = Status::Revoked;
        }
        self.model.invitations.push(Invitation {
            id: id(&made, "id")?,
            token: token(&made)?,
            old_tokens: Vec::new(),
            email,
            role,
            teams: [(team, team_role)].into(),
            inviter: caller.owner.expect("only a person invites"),
            ends: self.model.now + 7 * DAY,
            status: Status::Pending,
        });
        Ok(())
    }

    fn invitation(&self, choice: u32) -> Option<usize> {
        let count = self.model.invitations.len();
        (count > 0).then(|| choice as usize % count)
    }

    pub(super) fn resend(&mut self, caller: &Key, choice: u32) -> Outcome {
        let Some(at) = self.invitation(choice).filter(|_| caller.ours) else { return Ok(()) };
        let open = if self.model.invitations[at].status == Status::Pending { Ok(()) } else { Err(409) };
        let verdict = self.model.as_org_admin(caller).and(open);
        let target = format!("/v1/invitations/{}/resend", self.model.invitations[at].id);
        let resent = self.ask(Some(caller), "POST", &target, None, verdict)?;
        if verdict.is_ok() {
            let (now, invitation) = (self.model.now, &mut self.model.invitations[at]);
            let old = std::mem::replace(&mut invitation.token, token(&resent)?);
            invitation.old_tokens.push(old);
            invitation.inviter = caller.owner.expect("only a person invites");
            invitation.ends = now + 7 * DAY;
        }
        Ok(())
    }

    pub(super) fn revoke_invitation(&mut self, caller: &Key, choice: u32) -> Outcome {
        let Some(at) = self.invitation(choice).filter(|_| caller.ours) else { return Ok(()) };
        let open = if self.model.invitations[at].status == Status::Pending { Ok(()) } else { Err(409) };
        let verdict = self.model.as_org_admin(caller).and(open);
        let target = format!("/v1/invitations/{}", self.model.invitations[at].id);
        self.ask(Some(caller), "DELETE", &target, None, verdict)?;
        if verdict.is_ok() {
            self.model.invitations[at].status = Status::Revoked;
        }
        Ok(())
    }

    /// With a link that may be old, by nobody or with somebody's key; mostly the newest.
    pub(super) fn accept(&mut self, caller: &Key, choice: u32, how: u32) -> Outcome {
        let newest = self.model.invitations.len().checked_sub(1).filter(|_| !choice.is_multiple_of(3));
        let Some(at) = newest.or_else(|| self.invitation(choice)) else { return Ok(()) };
        let invitation = self.model.invitations[at].clone();
        let old = invitation.old_tokens.last().filter(|_| how.is_multiple_of(5));
        let inviter_stands = self.model.people[invitation.inviter].role == Some(Role::Admin);
        let works =
            old.is_none() && invitation.status == Status::Pending && invitation.ends > self.model.now && inviter_stands;
        let person = self.model.people.iter().position(|person| person.email == invitation.email);
        let bearer = how.is_multiple_of(3).then_some(caller);
        let is_known = person.is_some_and(|person| self.model.is_established(person));
        let proven = match (bearer, person) {
            (None, _) if !is_known => Ok(()),
            (Some(key), Some(person)) if key.owner == Some(person) => Ok(()),
            _ => Err(403),
        };
        let known = bearer.map_or(Ok(()), |key| self.model.known(key));
        let verdict = known.and(if works { Ok(()) } else { Err(404) }).and(proven);
        let token = old.unwrap_or(&invitation.token);
        let mut body = json!({ "token": token, "api_key_name": "first" });
        if !is_known {
            body["name"] = json!("New");
        }
        let joined = self.ask(bearer, "POST", "/v1/invitations/accept", Some(body), verdict)?;
        if verdict.is_ok() {
            self.join(at, person, &joined)?;
        }
        Ok(())
    }

    fn join(&mut self, at: usize, person: Option<usize>, joined: &Value) -> Outcome {
        let invitation = self.model.invitations[at].clone();
        let person = match person {
            Some(person) => person,
            None => {
                let id = id(&joined["user"], "user_id")?;
                self.model.people.push(Person { id, email: invitation.email.to_owned(), role: None });
                self.model.people.len() - 1
            }
        };
        for (team, role) in &invitation.teams {
            self.model.teams[*team].members.insert(person, *role);
        }
        self.model.becomes(person, invitation.role);
        self.model.invitations[at].status = Status::Accepted;
        let key = Key::new(&id(joined, "api_key")?, Category::Personal);
        self.model.keys.push(Key { owner: Some(person), name: Some("first"), ..key });
        Ok(())
    }
}
