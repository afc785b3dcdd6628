//! Acts on a team's Chain: promoting it to `production`, deactivating or deleting a deployment, and deleting the whole
//! Chain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::reference::{Act, Key};
use super::{History, Outcome};

/// A Chain of the world, as far as it is asked about here. No runner is there: what wakes up stays on its way.
#[derive(Clone, Debug)]
pub struct Chain {
    pub id: String,
    deployments: BTreeMap<&'static str, State>,
    /// What serves `production`, and what is about to.
    production: Option<&'static str>,
    candidate: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Awake,
    OnItsWay,
    /// Switched off, or asleep.
    Off,
}

const DEPLOYMENTS: [&str; 2] = ["first", "idle"];

impl Chain {
    pub fn of_the_world(team: &str) -> Chain {
        let deployments = DEPLOYMENTS.map(|name| (name, State::Awake)).into();
        Chain { id: format!("{team}chain"), deployments, production: Some("first"), candidate: None }
    }

    fn has(&self, deployment: &str) -> Result<(), u16> {
        if self.deployments.contains_key(deployment) { Ok(()) } else { Err(404) }
    }

    fn is_in_production(&self, deployment: &str) -> bool {
        [self.production, self.candidate].contains(&Some(deployment))
    }

    /// One promotion at a time, and none of what serves already; what serves and is off is switched on by it.
    fn promotes(&self, deployment: &str) -> Result<(), u16> {
        let is_there = self.production == Some(deployment);
        let refused = if is_there { self.deployments[deployment] != State::Off } else { self.candidate.is_some() };
        if refused { Err(409) } else { Ok(()) }
    }

    fn promote(&mut self, deployment: &'static str) {
        let before = self.deployments[deployment];
        if before == State::Off {
            self.deployments.insert(deployment, State::OnItsWay);
        }
        match self.production {
            None => self.production = Some(deployment),
            Some(there) if there == deployment => {}
            Some(there) if before == State::Awake => {
                self.deployments.insert(there, State::Off);
                self.production = Some(deployment);
            }
            Some(_) => self.candidate = Some(deployment),
        }
    }

    fn delete(&mut self, deployment: &str) {
        self.deployments.remove(deployment);
        for place in [&mut self.production, &mut self.candidate] {
            if *place == Some(deployment) {
                *place = None;
            }
        }
    }
}

impl History {
    /// On a team that holds one, while any does; half of the time by somebody who may deploy there.
    pub(super) fn act_on_chain(&mut self, caller: &Key, team: usize, [what, who, which]: [u32; 3]) -> Outcome {
        let deployment = DEPLOYMENTS[which as usize % DEPLOYMENTS.len()];
        let held = |at: &usize| self.model.teams[*at].there && self.model.teams[*at].chain.is_some();
        let holders: Vec<usize> = (0..self.model.teams.len()).filter(held).collect();
        if holders.is_empty() || what.is_multiple_of(10) {
            let target = format!("/v1/chains/{}nochain", self.model.teams[team].id);
            let gone = self.model.known(caller).and(Err(404));
            return if caller.ours { self.ask(Some(caller), "DELETE", &target, None, gone).map(drop) } else { Ok(()) };
        }
        let team = super::pick(&holders, which / 2);
        let deploys = |key: &&Key| self.model.lives(key) && self.model.in_team(key, team, Act::Deploy).is_ok();
        let deployers: Vec<Key> = self.model.keys.iter().filter(deploys).cloned().collect();
        let caller = &if who.is_multiple_of(2) && !deployers.is_empty() {
            super::pick(&deployers, who / 2)
        } else {
            caller.clone()
        };
        let chain = self.model.teams[team].chain.clone().expect("it holds one");
        match what % 9 {
            0..4 => self.promote_chain(caller, team, &chain, deployment),
            4..6 => self.deactivate_chain(caller, team, &chain, deployment),
            6..8 => self.delete_chain_deployment(caller, team, &chain, deployment),
            _ => self.delete_chain(caller, team, &chain),
        }
    }

    fn may_change_production(&self, caller: &Key, team: usize) -> Result<(), u16> {
        self.model.in_team(caller, team, Act::Deploy)?;
        if self.model.may_change(caller, team, "production") { Ok(()) } else { Err(403) }
    }

    /// What serves `production`, or is about to, goes by its list.
    fn may_change_deployment(&self, caller: &Key, team: usize, chain: &Chain, deployment: &str) -> Result<(), u16> {
        self.model.in_team(caller, team, Act::Deploy)?;
        chain.has(deployment)?;
        if chain.is_in_production(deployment) { self.may_change_production(caller, team) } else { Ok(()) }
    }

    fn promote_chain(&mut self, caller: &Key, team: usize, chain: &Chain, deployment: &'static str) -> Outcome {
        let may = self.may_change_production(caller, team);
        let verdict = may.and(chain.has(deployment)).and(chain.promotes(deployment));
        let target = format!("/v1/chains/{}/environments/production/promote", chain.id);
        let body = json!({ "deployment_id": format!("{}{deployment}", chain.id) });
        let promoted = self.ask(Some(caller), "POST", &target, Some(body), verdict)?;
        if verdict.is_err() {
            return Ok(());
        }
        let chain = self.model.teams[team].chain.as_mut().expect("it was just asked about");
        chain.promote(deployment);
        let serves = chain.production == Some(deployment);
        let expected = if serves { json!("production") } else { Value::Null };
        if promoted["environment"] == expected { Ok(()) } else { Err(format!("not in {expected}: {promoted}")) }
    }

    fn deactivate_chain(&mut self, caller: &Key, team: usize, chain: &Chain, deployment: &'static str) -> Outcome {
        let verdict = self.may_change_deployment(caller, team, chain, deployment);
        let target = format!("/v1/chains/{}/deployments/{}{deployment}/deactivate", chain.id, chain.id);
        self.ask(Some(caller), "POST", &target, None, verdict)?;
        if verdict.is_ok() {
            let chain = self.model.teams[team].chain.as_mut().expect("it was just asked about");
            chain.deployments.insert(deployment, State::Off);
        }
        Ok(())
    }

    fn delete_chain_deployment(&mut self, caller: &Key, team: usize, chain: &Chain, deployment: &str) -> Outcome {
        let verdict = self.may_change_deployment(caller, team, chain, deployment);
        let target = format!("/v1/chains/{}/deployments/{}{deployment}", chain.id, chain.id);
        self.ask(Some(caller), "DELETE", &target, None, verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].chain.as_mut().expect("it was just asked about").delete(deployment);
        }
        Ok(())
    }

    fn delete_chain(&mut self, caller: &Key, team: usize, chain: &Chain) -> Outcome {
        let guarded = chain.production.is_some() || chain.candidate.is_some();
        let deploys = self.model.in_team(caller, team, Act::Deploy);
        let may_all = if guarded { self.may_change_production(caller, team) } else { deploys };
        let of_its_own = if self.model.may_change(caller, team, "guarded") { Ok(()) } else { Err(403) };
        let verdict = may_all.and(of_its_own);
        self.ask(Some(caller), "DELETE", &format!("/v1/chains/{}", chain.id), None, verdict)?;
        if verdict.is_ok() {
            self.model.teams[team].chain = None;
        }
        Ok(())
    }

    /// The Chains that everyone sees, by their teams, and how many deployments each has.
    pub(super) fn sees_chains(&self, caller: &Key) -> Outcome {
        let expected = self.model.teams_seen(caller).map(|seen| {
            let of = |team: &super::Team| {
                let chain = team.chain.as_ref().filter(|_| seen.contains(&team.id))?;
                // `development`, `second` and `waiting` are left alone.
                Some(format!("{} {}", chain.id, chain.deployments.len() + 3))
            };
            self.model.teams.iter().filter_map(of).collect()
        });
        self.sees(caller, "/v1/chains", expected, |body| {
            let told =
                |chain: &Value| format!("{} {}", chain["id"].as_str().unwrap_or("?"), chain["deployments_count"]);
            body["chains"].as_array().map(|chains| chains.iter().map(told).collect::<BTreeSet<_>>()).unwrap_or_default()
        })
    }
}
