//! Acts on a team's resources: secrets, training projects, keys, restricted environments.

use serde_json::json;

use super::reference::{Act, Category, Group, Key};
use super::{History, Outcome, id};

impl History {
    // ---- secrets and training projects ----

    pub(super) fn set_secret(&mut self, caller: &Key, team: usize, name: &'static str, unprefixed: bool) -> Outcome {
        let Some((team, base, verdict)) = self.place(caller, team, "secrets", unprefixed) else { return Ok(()) };
        let body = json!({ "name": name, "value": "x" });
        self.ask(Some(caller), "POST", &base, Some(body), verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].secrets.insert(name);
        }
        Ok(())
    }

    pub(super) fn delete_secret(&mut self, caller: &Key, team: usize, name: &'static str, unprefixed: bool) -> Outcome {
        let Some((team, base, may)) = self.place(caller, team, "secrets", unprefixed) else { return Ok(()) };
        let there = if self.model.teams[team].secrets.contains(name) { Ok(()) } else { Err(404) };
        let verdict = may.and(there);
        self.ask(Some(caller), "DELETE", &format!("{base}/{name}"), None, verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].secrets.remove(name);
        }
        Ok(())
    }

    /// A team's path or the one without a team, and whether the caller may deploy there. `None`: another organization's.
    fn place(
        &self,
        caller: &Key,
        team: usize,
        noun: &str,
        unprefixed: bool,
    ) -> Option<(usize, String, Result<(), u16>)> {
        match unprefixed {
            false => {
                let path = format!("/v1/teams/{}/{noun}", self.model.teams[team].id);
                Some((team, path, self.model.in_team(caller, team, Act::Deploy)))
            }
            true => caller.ours.then(|| {
                (self.model.unprefixed(caller), format!("/v1/{noun}"), self.model.in_unprefixed(caller, Act::Deploy))
            }),
        }
    }

    pub(super) fn make_project(&mut self, caller: &Key, team: usize) -> Outcome {
        let Some((team, base, verdict)) = self.place(caller, team, "training_projects", false) else { return Ok(()) };
        let body = json!({ "training_project": { "name": "kites" } });
        let made = self.ask(Some(caller), "POST", &base, Some(body), verdict)?;
        if verdict.is_ok() {
            let id = id(&made["training_project"], "id")?;
            let first = self.model.teams[team].projects.entry("kites").or_insert_with(|| id.clone());
            if *first != id {
                return Err(format!("an upsert made {id} beside {first}"));
            }
        }
        Ok(())
    }

    pub(super) fn delete_project(&mut self, caller: &Key, team: usize) -> Outcome {
        let project = self.model.teams[team].projects.get("kites").cloned();
        let there = if project.is_some() { Ok(()) } else { Err(404) };
        let verdict = self.model.known(caller).and(there).and(self.model.in_team(caller, team, Act::Deploy));
        let target = format!("/v1/training_projects/{}", project.as_deref().unwrap_or("nosuchid"));
        self.ask(Some(caller), "DELETE", &target, None, verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].projects.remove("kites");
        }
        Ok(())
    }

    // ---- API keys ----

    pub(super) fn create_key(
        &mut self,
        caller: &Key,
        category: Category,
        team: usize,
        name: Option<&'static str>,
    ) -> Outcome {
        if !caller.ours {
            return Ok(());
        }
        let verdict = self.model.create_key(caller, category, team, name);
        let of_team = !matches!(category, Category::Personal | Category::ManageApiKeys);
        let mut body = json!({ "type": category.name(), "name": name });
        if of_team {
            body["team_id"] = json!(self.model.teams[team].id);
        }
        let made = self.ask(Some(caller), "POST", "/v1/api_keys", Some(body), verdict)?;
        if verdict.is_ok() {
            let owner = caller.owner.filter(|_| category == Category::Personal);
            let key = Key::new(&id(&made, "api_key")?, category);
            self.model.keys.push(Key { owner, team: of_team.then_some(team), name, ..key });
        }
        Ok(())
    }

    /// Keys that have ended without being revoked may be there or not: nobody asks about them.
    pub(super) fn has_ended(&self, key: usize) -> bool {
        let key = &self.model.keys[key];
        !key.revoked && key.ends.is_some_and(|ends| ends <= self.model.now)
    }

    pub(super) fn revoke_key(&mut self, caller: &Key, at: usize) -> Outcome {
        if self.has_ended(at) {
            return Ok(());
        }
        let target = self.model.keys[at].clone();
        let kept = match target.owner {
            Some(_) if target.ours => self.model.can_end(&target),
            Some(_) => Err(409), // the other organization has one admin, with one key
            None => Ok(()),
        };
        let verdict = self.model.manage_key(caller, &target, false).and(kept);
        self.ask(Some(caller), "DELETE", &format!("/v1/api_keys/{}", target.prefix), None, verdict)?;
        if verdict.is_ok() {
            self.model.revoke(at);
        }
        Ok(())
    }

    pub(super) fn rotate_key(&mut self, caller: &Key, at: usize, overlap: i64) -> Outcome {
        if self.has_ended(at) || !caller.ours {
            return Ok(());
        }
        let target = self.model.keys[at].clone();
        let fresh = if target.replaced { Err(409) } else { Ok(()) };
        let verdict = self.model.manage_key(caller, &target, true).and(fresh);
        let path = format!("/v1/api_keys/{}/rotate", target.prefix);
        let body = json!({ "overlap_seconds": overlap });
        let rotated = self.ask(Some(caller), "POST", &path, Some(body), verdict)?;
        if verdict.is_err() {
            return Ok(());
        }
        let new = Key::new(&id(&rotated, "api_key")?, target.category);
        self.model.keys.push(Key { owner: target.owner, team: target.team, name: target.name, ..new });
        let new = self.model.keys.len() - 1;
        let grants = target.team.is_some_and(|team| self.model.in_team(caller, team, Act::Restrict).is_ok());
        for group in self.model.teams.iter_mut().flat_map(|team| team.groups.values_mut()) {
            if grants && group.keys.contains(&at) {
                group.keys.insert(new);
            }
        }
        self.model.keys[at].replaced = true;
        self.model.keys[at].ends = Some(self.model.now + overlap);
        Ok(())
    }

    // ---- restricted environments ----

    fn groups(&self, team: usize) -> String {
        format!("/v1/teams/{}/environment_groups", self.model.teams[team].id)
    }

    pub(super) fn make_group(&mut self, caller: &Key, team: usize, name: &'static str, how: u32) -> Outcome {
        let there = if self.model.group_is_there(team, name) { Err(409) } else { Ok(()) };
        let verdict = self.model.in_team(caller, team, Act::Restrict).and(there);
        let restricted = how.is_multiple_of(2);
        let body = json!({ "name": name, "manage_access": { "is_restricted": restricted } });
        self.ask(Some(caller), "POST", &self.groups(team), Some(body), verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].groups.insert(name, Group { restricted, ..Group::default() });
        }
        Ok(())
    }

    /// Restricts to one person and one key, who may be of the team or not, or lifts the restriction.
    pub(super) fn change_group(
        &mut self,
        caller: &Key,
        team: usize,
        name: &'static str,
        who: u32,
        how: u32,
    ) -> Outcome {
        let restricted = !how.is_multiple_of(4);
        let person = self.person(who);
        let key = (how as usize / 4) % self.model.keys.len();
        let with_key = restricted && how.is_multiple_of(3);
        if with_key && !self.model.lives(&self.model.keys[key]) {
            return Ok(());
        }
        let mut access = json!({ "is_restricted": restricted });
        let mut group = Group { restricted, ..Group::default() };
        let mut named = Ok(());
        if restricted {
            access["user_ids"] = json!([self.model.people[person].id]);
            access["api_key_prefixes"] = json!([]);
            group.people.insert(person);
            named = self.is_member(team, person).map_err(|_| 400);
        }
        if with_key {
            access["api_key_prefixes"] = json!([self.model.keys[key].prefix]);
            group.keys.insert(key);
            named = named.and(if self.model.keys[key].team == Some(team) { Ok(()) } else { Err(400) });
        }
        let there = if self.model.group_is_there(team, name) { Ok(()) } else { Err(404) };
        let verdict = self.model.in_team(caller, team, Act::Restrict).and(there).and(named);
        let target = format!("{}/{name}", self.groups(team));
        self.ask(Some(caller), "PATCH", &target, Some(json!({ "manage_access": access })), verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].groups.insert(name, group);
        }
        Ok(())
    }

    pub(super) fn delete_group(&mut self, caller: &Key, team: usize, name: &'static str) -> Outcome {
        let there = if self.model.group_is_there(team, name) { Ok(()) } else { Err(404) };
        let used = name == "production" && self.model.teams[team].has_model;
        let free = if used { Err(409) } else { Ok(()) };
        let verdict = self.model.in_team(caller, team, Act::Restrict).and(there).and(free);
        self.ask(Some(caller), "DELETE", &format!("{}/{name}", self.groups(team)), None, verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].groups.remove(name);
        }
        Ok(())
    }
}
