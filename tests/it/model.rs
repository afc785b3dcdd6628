//! Does any history reach what the documents forbid? Random acts by random callers, each compared with a reference that
//! was written from the documents: first the status, then what everyone sees.
//!
//! `GUILDHALL_HISTORIES` sets how many histories run, `GUILDHALL_SEED` begins with another. A history that fails is told
//! with its seed and only the steps that it takes to fail.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::house::House;
use crate::rules::{DAY, HOUR, at};
use crate::seed::WORLD;

mod reference;

use reference::{Act, Category, Group, Invitation, Key, Person, Reference, Role, Status, Team};

const HISTORIES: u64 = 200;
const STEPS: usize = 40;

const TEAM_NAMES: [&str; 4] = ["Kites", "Boats", "research", "DEFAULT"];
const SECRET_NAMES: [&str; 3] = ["Token", "hf_token", "db"];
const KEY_NAMES: [Option<&str>; 4] = [None, None, Some("robot"), Some("first")];
const ENVIRONMENTS: [&str; 3] = ["production", "staging", "canary"];
const EMAILS: [&str; 5] = ["new@e.org", "other@e.org", "fay@example.com", "max@example.com", "lone@example.com"];

/// One act, before it is known what is there: each number is taken modulo what there is to choose from.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u32,
    caller: u32,
    choices: [u32; 4],
}

struct History {
    house: House,
    model: Reference,
    told: Vec<String>,
}

type Outcome = Result<(), String>;

#[test]
fn no_history_leads_where_the_documents_forbid() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let (first, count) = (number("GUILDHALL_SEED", 1), number("GUILDHALL_HISTORIES", HISTORIES));
    let next = std::sync::atomic::AtomicU64::new(first);
    let work = || {
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            let steps = draw(seed);
            if let Err((taken, _)) = run(&steps) {
                let (steps, why) = shrink(&steps[..taken]);
                panic!("GUILDHALL_SEED={seed} fails, with these {} steps:\n{why}", steps.len());
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let failed = workers.into_iter().filter_map(|worker| worker.join().err()).next();
        if let Some(why) = failed {
            std::panic::resume_unwind(why);
        }
    });
}

fn draw(seed: u64) -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut number = || dice.random_range(0..1_000_000);
    (0..STEPS)
        .map(|_| Step { kind: number(), caller: number(), choices: [number(), number(), number(), number()] })
        .collect()
}

/// How many steps were taken when it failed, and why. A thread of its own keeps one connection for all that is read.
fn run(steps: &[Step]) -> Result<(), (usize, String)> {
    let run = || {
        guildhall::db::thread_parks();
        run_here(steps)
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|why| std::panic::resume_unwind(why))
}

fn run_here(steps: &[Step]) -> Result<(), (usize, String)> {
    let mut history = History { house: WORLD.house(), model: Reference::new(), told: Vec::new() };
    // The world's own invitations are not in the reference.
    let sql = crate::seed::open(history.house.data());
    sql.execute_batch("DELETE FROM invitation;").expect("they can go");
    drop(sql);
    for (taken, step) in steps.iter().enumerate() {
        let last = taken + 1 == steps.len();
        let outcome = history.take(step).and_then(|()| history.compare(step, last));
        if let Err(why) = outcome {
            return Err((taken + 1, format!("{}\n  {why}", history.told.join("\n"))));
        }
    }
    Ok(())
}

/// Leaves out every step without which it still fails.
fn shrink(steps: &[Step]) -> (Vec<Step>, String) {
    let mut steps = steps.to_vec();
    let mut why = run(&steps).expect_err("it failed just now").1;
    let mut at = 0;
    while at < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match run(&fewer) {
            Err((taken, shorter)) => {
                fewer.truncate(taken);
                (steps, why) = (fewer, shorter);
            }
            Ok(()) => at += 1,
        }
    }
    (steps, why)
}

fn pick<T: Clone>(from: &[T], choice: u32) -> T {
    from[choice as usize % from.len()].clone()
}

impl History {
    /// Half of the time somebody who may do much, so that much is done.
    fn caller(&self, step: &Step) -> Key {
        let strong = |key: &&Key| {
            let leads = key.owner.is_some_and(|owner| self.model.people[owner].id == "tess");
            self.model.lives(key) && (self.model.is_org_admin(key) || leads || key.category == Category::ManageApiKeys)
        };
        let strong: Vec<&Key> = self.model.keys.iter().filter(strong).collect();
        match step.caller % 2 {
            0 if !strong.is_empty() => strong[step.caller as usize / 2 % strong.len()].clone(),
            _ => pick(&self.model.keys, step.caller / 2),
        }
    }

    fn team(&self, choice: u32) -> usize {
        choice as usize % self.model.teams.len()
    }

    /// The other organization's admin is asked about teams of this one alone: what is theirs is not in the reference.
    fn team_for(&self, caller: &Key, choice: u32) -> usize {
        let team = self.team(choice);
        if !caller.ours && self.model.teams[team].id == "abroad" { self.model.default_team() } else { team }
    }

    fn person(&self, choice: u32) -> usize {
        choice as usize % self.model.people.len()
    }

    fn role(choice: u32) -> Role {
        if choice.is_multiple_of(2) { Role::Admin } else { Role::Member }
    }

    /// Sends what the reference has judged, and holds the answer against its verdict.
    fn ask(
        &mut self,
        caller: Option<&Key>,
        method: &str,
        target: &str,
        body: Option<Value>,
        verdict: Result<(), u16>,
    ) -> Result<Value, String> {
        let whom = match caller {
            None => "nobody".to_owned(),
            Some(Key { owner: Some(owner), .. }) => self.model.people[*owner].id.clone(),
            Some(key) => format!("{} of {}", key.category.name(), key.team.map_or("all", |t| &self.model.teams[t].id)),
        };
        let expected = verdict.err().unwrap_or(200);
        let shown = body.as_ref().map(Value::to_string).unwrap_or_default();
        self.told.push(format!("- {whom}: {method} {target} {shown} → {expected}"));
        let answered = self.house.send(caller.map(|key| key.text.as_str()), method, target, body);
        match answered.status == expected {
            true => Ok(answered.body),
            false => Err(format!("got {}, not {expected}: {}", answered.status, answered.body)),
        }
    }

    fn take(&mut self, step: &Step) -> Outcome {
        let caller = self.caller(step);
        let [a, b, c, d] = step.choices;
        let team = self.team_for(&caller, a);
        match step.kind % 27 {
            0 => self.create_team(&caller, pick(&TEAM_NAMES, a)),
            1 => self.rename_team(&caller, team, pick(&TEAM_NAMES, b)),
            2 => self.delete_team(&caller, team, b % 2 == 0),
            3 | 4 => self.add_member(&caller, team, self.person(b), History::role(c)),
            5 => self.change_member(&caller, team, self.person(b), History::role(c)),
            6 => self.remove_member(&caller, team, self.person(b)),
            7 => self.leave_team(&caller, team),
            8 => self.change_role(&caller, self.person(a), History::role(b)),
            9 => self.remove_person(&caller, self.person(a)),
            10 => self.remove_person(&caller, caller.owner.unwrap_or(0)),
            11 | 12 => self.invite(&caller, pick(&EMAILS, a), History::role(b), self.team(c), History::role(d)),
            13 => self.resend(&caller, a),
            14 => self.revoke_invitation(&caller, a),
            15 | 16 => self.accept(&caller, a, b),
            17 => self.set_secret(&caller, team, pick(&SECRET_NAMES, b), c % 3 == 0),
            18 => self.delete_secret(&caller, team, pick(&SECRET_NAMES, b), c % 3 == 0),
            19 | 20 => self.create_key(&caller, pick(&Category::ALL, a), self.team(b), pick(&KEY_NAMES, c)),
            21 => self.revoke_key(&caller, a as usize % self.model.keys.len()),
            22 => self.rotate_key(&caller, a as usize % self.model.keys.len(), pick(&[0, HOUR, DAY, 7 * DAY], b)),
            23 => self.make_group(&caller, team, pick(&ENVIRONMENTS, b), c),
            24 => self.change_group(&caller, team, pick(&ENVIRONMENTS, b), c, d),
            25 => self.pass_time(a),
            _ => self.other(&caller, a, b),
        }
    }

    /// What is rarer: groups deleted, teams switched, projects made and deleted.
    fn other(&mut self, caller: &Key, a: u32, b: u32) -> Outcome {
        match a % 4 {
            0 => self.delete_group(caller, self.team_for(caller, b), pick(&ENVIRONMENTS, b / 7)),
            1 => self.switch_teams(caller, b.is_multiple_of(2)),
            2 => self.make_project(caller, self.team_for(caller, b)),
            _ => self.delete_project(caller, self.team_for(caller, b)),
        }
    }

    fn pass_time(&mut self, choice: u32) -> Outcome {
        self.model.now += pick(&[60, HOUR, DAY, 6 * DAY], choice);
        self.house.now.set(at(self.model.now));
        self.told.push(format!("- it is {} s later", self.model.now));
        Ok(())
    }

    // ---- teams ----

    fn create_team(&mut self, caller: &Key, name: &str) -> Outcome {
        if !caller.ours {
            return Ok(());
        }
        let enabled = if self.model.teams_enabled { Ok(()) } else { Err(403) };
        let free = self.model.name_is_free(name, None);
        let verdict = self.model.as_org_admin(caller).and(enabled).and(free);
        let body = Some(json!({ "name": name }));
        let made = self.ask(Some(caller), "POST", "/v1/teams", body, verdict)?;
        if verdict.is_ok() {
            self.model.teams.push(Team::new(id(&made, "id")?, name.to_owned()));
        }
        Ok(())
    }

    fn rename_team(&mut self, caller: &Key, team: usize, name: &str) -> Outcome {
        let verdict = self.model.as_org_admin_of(caller, team).and_then(|()| self.model.name_is_free(name, Some(team)));
        let target = format!("/v1/teams/{}", self.model.teams[team].id);
        self.ask(Some(caller), "PATCH", &target, Some(json!({ "name": name })), verdict)?;
        if verdict.is_ok() {
            name.clone_into(&mut self.model.teams[team].name);
        }
        Ok(())
    }

    fn delete_team(&mut self, caller: &Key, team: usize, force: bool) -> Outcome {
        let it = &self.model.teams[team];
        let holds = it.has_model || !it.projects.is_empty();
        let conflict = if it.is_default || (holds && !force) { Err(409) } else { Ok(()) };
        let verdict = self.model.as_org_admin_of(caller, team).and(conflict);
        let target = format!("/v1/teams/{}?force={force}", it.id);
        self.ask(Some(caller), "DELETE", &target, None, verdict)?;
        if verdict.is_ok() {
            self.model.delete_team(team);
        }
        Ok(())
    }

    fn switch_teams(&mut self, caller: &Key, enabled: bool) -> Outcome {
        if !caller.ours {
            return Ok(());
        }
        let others = self.model.teams.iter().any(|team| team.there && !team.is_default);
        let conflict = if others && !enabled { Err(409) } else { Ok(()) };
        let verdict = self.model.as_org_admin(caller).and(conflict);
        let body = Some(json!({ "teams_enabled": enabled }));
        self.ask(Some(caller), "PATCH", "/v1/organizations/me", body, verdict)?;
        if verdict.is_ok() {
            self.model.teams_enabled = enabled;
        }
        Ok(())
    }

    // ---- members ----

    fn members(&self, team: usize) -> String {
        format!("/v1/teams/{}/members", self.model.teams[team].id)
    }

    fn is_member(&self, team: usize, person: usize) -> Result<(), u16> {
        if self.model.teams[team].members.contains_key(&person) { Ok(()) } else { Err(404) }
    }

    fn add_member(&mut self, caller: &Key, team: usize, person: usize, role: Role) -> Outcome {
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

    fn change_member(&mut self, caller: &Key, team: usize, person: usize, role: Role) -> Outcome {
        let verdict = self.model.in_team(caller, team, Act::ManageMembers).and_then(|()| self.is_member(team, person));
        let target = format!("{}/{}", self.members(team), self.model.people[person].id);
        self.ask(Some(caller), "PATCH", &target, Some(json!({ "role": role.name() })), verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].members.insert(person, role);
        }
        Ok(())
    }

    fn leave_team(&mut self, caller: &Key, team: usize) -> Outcome {
        self.remove_member(caller, team, caller.owner.unwrap_or(0))
    }

    fn remove_member(&mut self, caller: &Key, team: usize, person: usize) -> Outcome {
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

    fn change_role(&mut self, caller: &Key, person: usize, role: Role) -> Outcome {
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

    fn remove_person(&mut self, caller: &Key, person: usize) -> Outcome {
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

    fn invite(&mut self, caller: &Key, email: &'static str, role: Role, team: usize, team_role: Role) -> Outcome {
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

    fn resend(&mut self, caller: &Key, choice: u32) -> Outcome {
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

    fn revoke_invitation(&mut self, caller: &Key, choice: u32) -> Outcome {
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
    fn accept(&mut self, caller: &Key, choice: u32, how: u32) -> Outcome {
        let newest = self.model.invitations.len().checked_sub(1).filter(|_| !choice.is_multiple_of(3));
        let Some(at) = newest.or_else(|| self.invitation(choice)) else { return Ok(()) };
        let invitation = self.model.invitations[at].clone();
        let old = invitation.old_tokens.last().filter(|_| how.is_multiple_of(5));
        let inviter_stands = self.model.people[invitation.inviter].role == Some(Role::Admin);
        let works =
            old.is_none() && invitation.status == Status::Pending && invitation.ends > self.model.now && inviter_stands;
        let person = self.model.people.iter().position(|person| person.email == invitation.email);
        let bearer = how.is_multiple_of(3).then_some(caller);
        let proven = match (bearer, person) {
            (None, None) => Ok(()),
            (Some(key), Some(person)) if key.owner == Some(person) => Ok(()),
            _ => Err(403),
        };
        let known = bearer.map_or(Ok(()), |key| self.model.known(key));
        let verdict = known.and(if works { Ok(()) } else { Err(404) }).and(proven);
        let token = old.unwrap_or(&invitation.token);
        let mut body = json!({ "token": token, "api_key_name": "first" });
        if person.is_none() {
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

    // ---- secrets and training projects ----

    fn set_secret(&mut self, caller: &Key, team: usize, name: &'static str, unprefixed: bool) -> Outcome {
        let Some((team, base, verdict)) = self.place(caller, team, "secrets", unprefixed) else { return Ok(()) };
        let body = json!({ "name": name, "value": "x" });
        self.ask(Some(caller), "POST", &base, Some(body), verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].secrets.insert(name);
        }
        Ok(())
    }

    fn delete_secret(&mut self, caller: &Key, team: usize, name: &'static str, unprefixed: bool) -> Outcome {
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

    fn make_project(&mut self, caller: &Key, team: usize) -> Outcome {
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

    fn delete_project(&mut self, caller: &Key, team: usize) -> Outcome {
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

    fn create_key(&mut self, caller: &Key, category: Category, team: usize, name: Option<&'static str>) -> Outcome {
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
    fn has_ended(&self, key: usize) -> bool {
        let key = &self.model.keys[key];
        !key.revoked && key.ends.is_some_and(|ends| ends <= self.model.now)
    }

    fn revoke_key(&mut self, caller: &Key, at: usize) -> Outcome {
        if self.has_ended(at) {
            return Ok(());
        }
        let target = self.model.keys[at].clone();
        let verdict = self.model.manage_key(caller, &target, false);
        self.ask(Some(caller), "DELETE", &format!("/v1/api_keys/{}", target.prefix), None, verdict)?;
        if verdict.is_ok() {
            self.model.revoke(at);
        }
        Ok(())
    }

    fn rotate_key(&mut self, caller: &Key, at: usize, overlap: i64) -> Outcome {
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
        for group in self.model.teams.iter_mut().flat_map(|team| team.groups.values_mut()) {
            if group.keys.contains(&at) {
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

    fn make_group(&mut self, caller: &Key, team: usize, name: &'static str, how: u32) -> Outcome {
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
    fn change_group(&mut self, caller: &Key, team: usize, name: &'static str, who: u32, how: u32) -> Outcome {
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

    fn delete_group(&mut self, caller: &Key, team: usize, name: &'static str) -> Outcome {
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

    // ---- what everyone sees ----

    /// After each step all callers' teams and keys, and everything of one caller; in the end everything of everyone.
    fn compare(&self, step: &Step, last: bool) -> Outcome {
        let chosen = step.choices[3] as usize % self.model.keys.len();
        for (at, caller) in self.model.keys.iter().enumerate().filter(|(_, key)| key.ours) {
            self.sees(caller, "/v1/teams", self.model.teams_seen(caller), |body| set(&body["teams"], &["id"]))?;
            if at == chosen || last {
                self.sees_all_that(caller, step)?;
            }
        }
        Ok(())
    }

    fn sees_all_that(&self, caller: &Key, step: &Step) -> Outcome {
        let ended: BTreeSet<&str> = (0..self.model.keys.len())
            .filter(|at| self.has_ended(*at))
            .map(|at| self.model.keys[at].prefix.as_str())
            .collect();
        self.sees(caller, "/v1/api_keys", self.model.keys_seen(caller), |body| {
            let mut prefixes = set(&body["keys"], &["prefix"]);
            prefixes.retain(|prefix| !ended.contains(prefix.as_str()));
            prefixes
        })?;
        let secret = |body: &Value| set(&body["secrets"], &["team_name", "name"]);
        self.sees(caller, "/v1/secrets", self.model.secrets_seen(caller), secret)?;
        let people = self.model.people_seen(caller);
        self.sees(caller, "/v1/users?limit=1000", people, |body| set(&body["items"], &["user_id"]))?;
        let invitations = self.model.invitations_seen(caller);
        self.sees(caller, "/v1/invitations?limit=1000", invitations, |body| set(&body["items"], &["id", "status"]))?;
        let team = self.team(step.choices[2]);
        let members = self.model.members_seen(caller, team);
        self.sees(caller, &self.members(team), members, |body| set(&body["items"], &["user_id", "role"]))?;
        self.may_change(caller, team, pick(&ENVIRONMENTS, step.choices[1]))
    }

    fn sees(
        &self,
        caller: &Key,
        target: &str,
        expected: Result<BTreeSet<String>, u16>,
        read: impl Fn(&Value) -> BTreeSet<String>,
    ) -> Outcome {
        let answered = self.house.send(Some(&caller.text), "GET", target, None);
        let got = if answered.status == 200 { Ok(read(&answered.body)) } else { Err(answered.status) };
        if got == expected {
            return Ok(());
        }
        let whom = caller.owner.map_or(caller.prefix.as_str(), |owner| &self.model.people[owner].id);
        Err(format!("then {whom} ({}) sees at {target}\n    {got:?}, not\n    {expected:?}", caller.category.name()))
    }

    fn may_change(&self, caller: &Key, team: usize, name: &str) -> Outcome {
        if self.model.known(caller).is_err() || self.model.standing(caller, team).is_none() {
            return Ok(());
        }
        let id = &self.model.teams[team].id;
        let target = format!("/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id={id}&environment={name}");
        let answered = self.house.send(Some(&caller.text), "GET", &target, None);
        let expected = self.model.may_change(caller, team, name);
        if answered.body["allowed"] == expected {
            return Ok(());
        }
        Err(format!("then {} at {target}: {}, not {expected}", caller.prefix, answered.body))
    }
}

fn set(items: &Value, fields: &[&str]) -> BTreeSet<String> {
    let told =
        |item: &Value| fields.iter().map(|field| item[*field].as_str().unwrap_or("?")).collect::<Vec<_>>().join(" ");
    items.as_array().map(|items| items.iter().map(told).collect()).unwrap_or_default()
}

fn id(body: &Value, field: &str) -> Result<String, String> {
    body[field].as_str().map(str::to_owned).ok_or_else(|| format!("no {field} in {body}"))
}

fn token(invitation: &Value) -> Result<String, String> {
    let url = id(invitation, "accept_url")?;
    Ok(url.rsplit('/').next().unwrap_or_default().to_owned())
}
