//! Can any history reach a state that the documents forbid? Random callers do random acts. Each act is compared with a
//! reference that was written from the documents: first the status, then what everyone sees.
//!
//! `GUILDHALL_HISTORIES` sets the number of histories, `GUILDHALL_SEED` sets the first seed. A failing history is
//! reported with its seed and only the steps that it needs to fail.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::{DAY, HOUR, at};

mod chains;
mod holdings;
mod people;
mod reference;

use reference::{Category, Key, Reference, Role, Team};

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
    server: TestServer,
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
    let mut rng = StdRng::seed_from_u64(seed);
    let mut number = || rng.random_range(0..1_000_000);
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
    let mut history = History { server: WORLD.server(), model: Reference::new(), told: Vec::new() };
    // The world's invitations and narrowed keys are not in the reference. The reference has a closed `production` besides, so
    // that restrictions apply from the first step on.
    let sql = crate::seed::open(history.server.data());
    sql.execute_batch(
        "DELETE FROM invitation;
         UPDATE api_key SET revoked_at = 0 WHERE narrowed_to_environments OR narrowed_to_models;
         INSERT INTO environment_group (team_id, name, org_id, is_restricted, created_at)
         VALUES ('research', 'production', 'acme', 1, 0);
         INSERT INTO environment_group_user (team_id, name, org_id, user_id)
         VALUES ('research', 'production', 'acme', 'max');",
    )
    .expect("they can go, and it can be closed");
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
        let answered = self.server.send(caller.map(|key| key.text.as_str()), method, target, body);
        match answered.status == expected {
            true => Ok(answered.body),
            false => Err(format!("got {}, not {expected}: {}", answered.status, answered.body)),
        }
    }

    fn take(&mut self, step: &Step) -> Outcome {
        let caller = self.caller(step);
        let [a, b, c, d] = step.choices;
        let team = self.team_for(&caller, a);
        match step.kind % 29 {
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
            26 | 27 => self.act_on_chain(&caller, team, [b, c, d]),
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
        self.server.now.set(at(self.model.now));
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
        let holds = it.has_model || it.chain.is_some() || !it.projects.is_empty();
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

    // ---- what everyone sees ----

    /// After each step all callers' teams and keys, and everything of one caller; in the end everything of everyone.
    fn compare(&self, step: &Step, last: bool) -> Outcome {
        let chosen = step.choices[3] as usize % self.model.keys.len();
        for (at, caller) in self.model.keys.iter().enumerate().filter(|(_, key)| key.ours) {
            self.sees(caller, "/v1/teams", self.model.teams_listed(caller), |body| set(&body["teams"], &["id"]))?;
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
        self.sees_chains(caller)?;
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
        let answered = self.server.send(Some(&caller.text), "GET", target, None);
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
        let answered = self.server.send(Some(&caller.text), "GET", &target, None);
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
