//! What replicas are told: the secrets of their team, their configuration, and their token. A change reaches those that
//! run.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value, json};

use super::Lifecycle;
use super::entry::Entry;
use crate::db::secrets;
use crate::domain::serving::Level;
use crate::domain::{OrgId, SecretName, SecretValue, TeamId};
use crate::error::Error;
use crate::runner::builds::{Built, Runs};
use crate::runner::endpoints::Watched;
use crate::runner::engine::Control;
use crate::runner::fleet::{Address, CallLimits, Endpoint, Replica};

/// How many calls of one deployment may wait for a replica.
const CALLS_WAITING_MAX: usize = 1000;
/// How many calls an external endpoint answers at the same time, unless its deployment sets a target.
const ENDPOINT_CALLS_MAX: usize = 256;

impl Lifecycle<'_> {
    /// What a replica of this deployment is told now.
    pub(super) fn control_of(&self, entry: &Entry, built: &Built, token: &str) -> Result<Control, Error> {
        let kept = &entry.kept;
        let values = self.read(|tx| secrets::values(tx, &kept.org_id, &kept.team_id))?;
        let mut dynamic_config = Map::new();
        if let Some(environment) = kept.environment() {
            dynamic_config.insert("environment".to_owned(), json!({ "name": environment }));
        }
        let mut secrets = declared(&built.source.config, &values);
        self.tell_chainlet(entry, &mut secrets, &mut dynamic_config)?;
        Ok(Control { secrets, dynamic_config, token: token.to_owned() })
    }

    /// Tells the replicas of a deployment their secrets and configuration again.
    pub(super) fn tell_replicas(&mut self, id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        let mut failures = Vec::new();
        for slot in entry.replicas.iter().filter(|slot| slot.is_live()) {
            let Some(process) = &slot.process else { continue };
            let told = self
                .control_of(entry, &slot.built, &slot.token)
                .map_err(|cause| format!("{cause:?}"))
                .and_then(|control| process.control(&control).map_err(|cause| cause.to_string()));
            if let Err(why) = told {
                failures.push(format!("replica {} does not learn of changed secrets: {why}", slot.id));
            }
        }
        failures.into_iter().for_each(|why| self.log(id, Level::Error, why));
        self.renew_endpoint(id);
    }

    /// Gives the calls of an external endpoint its headers again.
    fn renew_endpoint(&mut self, id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        let found =
            entry.replicas.iter().find_map(|slot| Some((slot.id.clone(), slot.endpoint.clone()?, slot.is_ready())));
        let Some((replica_id, watched, is_ready)) = found else { return };
        let Some(built) = entry.built.clone() else { return };
        let headers = match self.headers_of(entry, &built) {
            Ok(headers) => headers,
            Err(why) => return self.log(id, Level::Error, why),
        };
        watched.headers.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&headers);
        if is_ready {
            let replica = Arc::new(Replica::new(replica_id.clone(), address_of(&watched)));
            self.fleet.remove(id, &replica_id);
            self.fleet.add(id, Arc::clone(&replica));
            let slots = self.entries.get_mut(id).into_iter().flat_map(|entry| &mut entry.replicas);
            slots.filter(|slot| slot.id == replica_id).for_each(|slot| slot.replica = Some(Arc::clone(&replica)));
        }
    }

    /// The headers of an external endpoint, with the secrets of the deployment's team.
    pub(super) fn headers_of(&self, entry: &Entry, built: &Built) -> Result<Vec<(String, String)>, String> {
        let Runs::Endpoint(endpoint) = &built.runs else { return Ok(Vec::new()) };
        let kept = &entry.kept;
        let values = self.read(|tx| secrets::values(tx, &kept.org_id, &kept.team_id));
        endpoint.headers_with(&values.map_err(|cause| format!("the secrets of the team cannot be read: {cause}"))?)
    }

    /// Tells the replicas of each team whose secrets have changed.
    pub(super) fn rotate(&mut self) -> Result<(), Error> {
        let teams: HashSet<(OrgId, TeamId)> = self
            .entries
            .values()
            .filter(|entry| entry.live() > 0)
            .map(|entry| (entry.kept.org_id.clone(), entry.kept.team_id.clone()))
            .collect();
        self.secrets.retain(|team_id, _| teams.iter().any(|(_, known)| known == team_id));
        for (_, team_id) in teams {
            let mark = self.read(|tx| secrets::mark(tx, &team_id))?;
            if self.secrets.get(&team_id) == Some(&mark) {
                continue;
            }
            let of_team = |entry: &&Entry| entry.kept.team_id == team_id && entry.live() > 0;
            let ids: Vec<String> = self.entries.values().filter(of_team).map(|entry| entry.id().to_owned()).collect();
            ids.iter().for_each(|id| self.tell_replicas(id));
            self.secrets.insert(team_id, mark);
        }
        Ok(())
    }

    /// Sets how many calls a deployment takes.
    pub(super) fn configure(&self, id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        let Some(built) = &entry.built else { return };
        let settings = &entry.kept.deployment.settings;
        let target = usize::try_from(settings.autoscaling.concurrency_target).unwrap_or(1).max(1);
        let own = match &built.runs {
            Runs::Endpoint(_) if target == 1 => ENDPOINT_CALLS_MAX,
            Runs::Endpoint(_) => target,
            Runs::Python(_) | Runs::Custom(..) => predict_concurrency(&built.source.config),
        };
        self.fleet.configure(
            id,
            CallLimits {
                calls_per_replica_max: target.max(own),
                waiting_max: CALLS_WAITING_MAX,
                on_full: settings.backpressure,
            },
        );
    }
}

/// Where the calls of an external endpoint go.
pub(super) fn address_of(watched: &Watched) -> Address {
    let headers = watched.headers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Address::Endpoint(Endpoint { url: watched.url.clone(), plain: watched.plain, headers })
}

/// How many calls the server of a model answers at the same time.
fn predict_concurrency(config: &Map<String, Value>) -> usize {
    let set = config.get("runtime").and_then(|runtime| runtime.get("predict_concurrency"));
    let set = set.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    set.and_then(|count| usize::try_from(count).ok()).unwrap_or(1)
}

/// The secrets that a configuration names, as far as the team has them.
fn declared(config: &Map<String, Value>, values: &BTreeMap<String, SecretValue>) -> BTreeMap<String, String> {
    let named = config.get("secrets").and_then(Value::as_object);
    let value = |name: &String| {
        let known = values.get(&SecretName::parse(name).ok()?.lookup())?;
        Some((name.clone(), known.expose().to_owned()))
    };
    named.into_iter().flat_map(Map::keys).filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_gets_the_secrets_that_its_configuration_names() {
        let value = |text: &str| SecretValue::parse(text.to_owned()).unwrap();
        let values = BTreeMap::from([("hf_token".to_owned(), value("a")), ("other".to_owned(), value("b"))]);
        let config = json!({ "secrets": { "HF-Token": null, "missing": null } });
        let declared = declared(config.as_object().unwrap(), &values);
        assert_eq!(declared, BTreeMap::from([("HF-Token".to_owned(), "a".to_owned())]));
        assert_eq!(super::declared(&Map::new(), &values), BTreeMap::new());
    }

    #[test]
    fn the_concurrency_of_a_model_is_read_or_one() {
        for (runtime, expected) in
            [(json!({ "predict_concurrency": 8 }), 8), (json!({ "predict_concurrency": "4" }), 4), (json!({}), 1)]
        {
            assert_eq!(predict_concurrency(json!({ "runtime": runtime }).as_object().unwrap()), expected);
        }
    }
}
