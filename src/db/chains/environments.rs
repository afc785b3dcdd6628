//! Environments of a Chain: which deployment serves each, and what each sets the chainlets to, by their names.
//!
//! Every Chain has `production`. What an environment never set is as the chainlet's deployment is set.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::{Value, json};

use crate::db::Tx;
use crate::db::chains::deployments::{self, ChainDeployment, Chainlet};
use crate::db::chains::{self, Chain};
use crate::db::deployments::{read_json, running, write_json};
use crate::domain::instance_types::{InstanceType, SMALLEST};
use crate::domain::serving::{Autoscaling, PromotionSettings, Settings};
use crate::domain::{EnvironmentName, Time};
use crate::error::{Error, quoted};
use crate::policy::InTeam;

#[derive(Clone, Debug)]
pub struct ChainEnvironment {
    pub name: String,
    pub created_at: Time,
    pub promotion: PromotionSettings,
    pub current: Option<ChainDeployment>,
    pub candidate: Option<ChainDeployment>,
    set: Vec<ChainletChange>,
}

/// What a chainlet is set to; `None`: as it is.
#[derive(Clone, Debug)]
pub struct ChainletChange {
    pub chainlet_name: String,
    pub autoscaling: Option<Autoscaling>,
    pub instance_type: Option<String>,
}

/// What a chainlet is in an environment.
#[derive(Debug)]
pub struct ChainletSettings {
    pub chainlet_name: String,
    pub autoscaling: Autoscaling,
    pub instance_type: String,
}

impl ChainEnvironment {
    /// Of the chainlets that are there or about to be, and of those that something was set for.
    pub fn chainlets(&self) -> Vec<ChainletSettings> {
        let there = self.occupant().map(|deployment| deployment.chainlets.as_slice()).unwrap_or_default();
        let of = |name: &str| self.set.iter().find(|set| set.chainlet_name == name);
        let of_there = there.iter().map(|chainlet| ChainletSettings {
            chainlet_name: chainlet.name.clone(),
            autoscaling: of(&chainlet.name)
                .and_then(|set| set.autoscaling.clone())
                .unwrap_or_else(|| chainlet.deployment.settings.autoscaling.clone()),
            instance_type: self.instance_type_of(chainlet).to_owned(),
        });
        let of_others = self.set.iter().filter(|set| there.iter().all(|chainlet| chainlet.name != set.chainlet_name));
        let of_others = of_others.map(|set| ChainletSettings {
            chainlet_name: set.chainlet_name.clone(),
            autoscaling: set.autoscaling.clone().unwrap_or_default(),
            instance_type: set.instance_type.clone().unwrap_or_else(|| SMALLEST.to_owned()),
        });
        of_there.chain(of_others).collect()
    }

    /// The instance type that a chainlet has here.
    pub fn instance_type_of<'a>(&'a self, chainlet: &'a Chainlet) -> &'a str {
        self.instance_type_set(&chainlet.name).unwrap_or(&chainlet.deployment.instance_type)
    }

    /// The instance type that is set for the chainlet of this name, whatever runs.
    pub fn instance_type_set(&self, chainlet_name: &str) -> Option<&str> {
        self.set.iter().find(|set| set.chainlet_name == chainlet_name)?.instance_type.as_deref()
    }

    /// Whether all chainlets of a deployment have the instance types that they have here.
    pub fn fits(&self, deployment: &ChainDeployment) -> bool {
        let fits = |chainlet: &Chainlet| self.instance_type_of(chainlet) == chainlet.deployment.instance_type;
        deployment.chainlets.iter().all(fits)
    }

    /// What serves it, or else what is about to.
    pub fn occupant(&self) -> Option<&ChainDeployment> {
        self.current.as_ref().or(self.candidate.as_ref())
    }
}

/// All environments of the Chain, `production` first, then by name.
pub fn list(tx: &Tx, team: &InTeam, chain: &Chain) -> Result<Vec<ChainEnvironment>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name
         FROM chain_environment
         WHERE team_id = :team_id AND chain_id = :chain_id
         ORDER BY name <> 'production', name",
    )?;
    let rows =
        query.query_map(named_params! { ":team_id": team.team().id, ":chain_id": chain.id }, |row| row.get(0))?;
    let names = rows.collect::<Result<Vec<String>, _>>()?;
    names.iter().map(|name| find(tx, team, chain, name)).collect()
}

pub fn find(tx: &Tx, team: &InTeam, chain: &Chain, name: &str) -> Result<ChainEnvironment, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT created_at, promotion
         FROM chain_environment
         WHERE team_id = :team_id AND chain_id = :chain_id AND name = :name",
    )?;
    let params = named_params! { ":team_id": team.team().id, ":chain_id": chain.id, ":name": name };
    let found = query.query_row(params, |row| Ok((row.get("created_at")?, read_json(row, "promotion")?)));
    let (created_at, promotion) = found.optional()?.ok_or(Error::NotFound("environment"))?;
    Ok(ChainEnvironment {
        name: name.to_owned(),
        created_at,
        promotion: promotion.unwrap_or_default(),
        current: deployments::current(tx, team, &chain.id, name)?,
        candidate: deployments::candidate(tx, team, &chain.id, name)?,
        set: set(tx, chain, name)?,
    })
}

pub fn create(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    name: &EnvironmentName,
    promotion: Option<&PromotionSettings>,
    chainlets: &[ChainletChange],
) -> Result<ChainEnvironment, Error> {
    match chains::insert_environment(tx, team.team(), &chain.id, name.as_str()) {
        Err(cause) if Error::is_unique_violation(&cause) => {
            return Err(Error::conflict(format!(
                "Chain \"{}\" has the environment \"{}\" already: change it with PATCH",
                quoted(&chain.name),
                quoted(name.as_str())
            )));
        }
        inserted => inserted?,
    }
    store_promotion(tx, chain, name.as_str(), promotion)?;
    chainlets.iter().try_for_each(|change| store(tx, chain, name.as_str(), change))?;
    let created = find(tx, team, chain, name.as_str())?;
    record(tx, team, "CHAIN_ENVIRONMENT_CREATED", chain, &created)?;
    Ok(created)
}

/// Changes how deployments take over.
pub fn update(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    environment: &ChainEnvironment,
    promotion: &PromotionSettings,
) -> Result<(), Error> {
    store_promotion(tx, chain, &environment.name, Some(promotion))?;
    record(tx, team, "CHAIN_ENVIRONMENT_UPDATED", chain, &find(tx, team, chain, &environment.name)?)
}

/// Changes how chainlets scale. Those that serve the environment take it on at once.
pub fn set_autoscaling(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    environment: &ChainEnvironment,
    changes: &[(String, Autoscaling)],
) -> Result<(), Error> {
    let mut for_later = Vec::new();
    for (name, autoscaling) in changes {
        let change =
            ChainletChange { chainlet_name: name.clone(), autoscaling: Some(autoscaling.clone()), instance_type: None };
        store(tx, chain, &environment.name, &change)?;
        match current_chainlet(environment, name) {
            Some((current, chainlet)) => {
                let before = &chainlet.deployment.settings;
                running::set(
                    tx,
                    &chainlet.deployment.id,
                    &Settings { autoscaling: autoscaling.clone(), ..before.clone() },
                )?;
                let mut more = json!(autoscaling);
                more["previous_settings"] = json!(before.autoscaling);
                record_chainlet(tx, team, "CHAINLET_AUTOSCALING_SETTINGS_CHANGED", chain, current, chainlet, more)?;
            }
            None => for_later.push(json!({ "chainlet_name": name, "autoscaling_settings": autoscaling })),
        }
    }
    record_for_later(tx, team, chain, environment, &for_later)
}

/// Changes the instance types of chainlets. Those that serve the environment keep theirs until a deployment takes over.
pub(super) fn store_instance_types(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    environment: &ChainEnvironment,
    changes: &[(String, &'static InstanceType)],
) -> Result<(), Error> {
    let mut for_later = Vec::new();
    for (name, instance_type) in changes {
        let change = ChainletChange {
            chainlet_name: name.clone(),
            autoscaling: None,
            instance_type: Some(instance_type.id.to_owned()),
        };
        store(tx, chain, &environment.name, &change)?;
        match current_chainlet(environment, name) {
            Some((current, chainlet)) => {
                let more = json!({ "instance_type_name": instance_type.id });
                record_chainlet(tx, team, "CHAINLET_INSTANCE_TYPE_CHANGED", chain, current, chainlet, more)?;
            }
            None => for_later.push(json!({ "chainlet_name": name, "instance_type_name": instance_type.id })),
        }
    }
    record_for_later(tx, team, chain, environment, &for_later)
}

/// Whether any deployment of the Chain has a chainlet of this name, or the environment sets one.
pub fn has_chainlet(tx: &Tx, chain: &Chain, environment: &ChainEnvironment, name: &str) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM chainlet
         JOIN chain_deployment ON chain_deployment.id = chainlet.chain_deployment_id
         WHERE chain_id = :chain_id AND chainlet.name = :name",
    )?;
    let is_set = environment.set.iter().any(|set| set.chainlet_name == name);
    Ok(is_set || query.exists(named_params! { ":chain_id": chain.id, ":name": name })?)
}

/// The environments of the Chain that somebody made, set or deployed into. `production` comes with the Chain: until then
/// there is nothing in it to be lost.
pub(super) fn in_use(tx: &Tx, chain: &Chain) -> Result<Vec<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name FROM chain_environment
         WHERE chain_id = :chain_id AND (name <> :production OR promotion IS NOT NULL)
         UNION
         SELECT environment FROM chainlet_setting WHERE chain_id = :chain_id
         UNION
         SELECT environment FROM chain_deployment WHERE chain_id = :chain_id AND environment IS NOT NULL
         UNION
         SELECT candidate_for FROM chain_deployment WHERE chain_id = :chain_id AND candidate_for IS NOT NULL
         ORDER BY name",
    )?;
    let values = named_params! { ":chain_id": chain.id, ":production": crate::db::environments::PRODUCTION };
    Ok(query.query_map(values, |row| row.get("name"))?.collect::<Result<_, _>>()?)
}

fn current_chainlet<'a>(environment: &'a ChainEnvironment, name: &str) -> Option<(&'a ChainDeployment, &'a Chainlet)> {
    let current = environment.current.as_ref()?;
    current.chainlet(name).map(|chainlet| (current, chainlet))
}

fn set(tx: &Tx, chain: &Chain, environment: &str) -> Result<Vec<ChainletChange>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT chainlet_name, autoscaling, instance_type
         FROM chainlet_setting
         WHERE chain_id = :chain_id AND environment = :environment
         ORDER BY chainlet_name",
    )?;
    let rows = query.query_map(named_params! { ":chain_id": chain.id, ":environment": environment }, |row| {
        Ok(ChainletChange {
            chainlet_name: row.get("chainlet_name")?,
            autoscaling: read_json(row, "autoscaling")?,
            instance_type: row.get("instance_type")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn store(tx: &Tx, chain: &Chain, environment: &str, change: &ChainletChange) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO chainlet_setting (chain_id, environment, chainlet_name, autoscaling, instance_type)
             VALUES (:chain_id, :environment, :chainlet_name, :autoscaling, :instance_type)
             ON CONFLICT (chain_id, environment, chainlet_name) DO UPDATE
             SET autoscaling = coalesce(:autoscaling, autoscaling),
                 instance_type = coalesce(:instance_type, instance_type)",
        )?
        .execute(named_params! {
            ":chain_id": chain.id,
            ":environment": environment,
            ":chainlet_name": change.chainlet_name,
            ":autoscaling": change.autoscaling.as_ref().map(write_json),
            ":instance_type": change.instance_type,
        })?;
    Ok(())
}

fn store_promotion(
    tx: &Tx,
    chain: &Chain,
    environment: &str,
    promotion: Option<&PromotionSettings>,
) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE chain_environment
             SET promotion = coalesce(:promotion, promotion)
             WHERE chain_id = :chain_id AND name = :name",
        )?
        .execute(named_params! {
            ":promotion": promotion.map(write_json), ":chain_id": chain.id, ":name": environment,
        })?;
    Ok(())
}

fn record(
    tx: &Tx,
    team: &InTeam,
    event_type: &'static str,
    chain: &Chain,
    environment: &ChainEnvironment,
) -> Result<(), Error> {
    chains::record(tx, team, event_type, chain, settings_data(environment))
}

/// What is set for chainlets that do not serve there: one change of the environment, which says what it sets.
fn record_for_later(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    environment: &ChainEnvironment,
    settings: &[Value],
) -> Result<(), Error> {
    if settings.is_empty() {
        return Ok(());
    }
    let mut more = settings_data(environment);
    more["chainlet_settings"] = json!(settings);
    chains::record(tx, team, "CHAIN_ENVIRONMENT_UPDATED", chain, more)
}

fn settings_data(environment: &ChainEnvironment) -> Value {
    json!({
        "environment_name": environment.name,
        "redeploy_on_promotion": environment.promotion.redeploy_on_promotion,
        "ramp_up_while_promoting": false,
        "ramp_up_duration_seconds": environment.promotion.ramp_up_duration_seconds,
    })
}

fn record_chainlet(
    tx: &Tx,
    team: &InTeam,
    event_type: &'static str,
    chain: &Chain,
    deployment: &ChainDeployment,
    chainlet: &Chainlet,
    mut more: Value,
) -> Result<(), Error> {
    more["chainlet_name"] = json!(chainlet.name);
    more["chainlet_id"] = json!(chainlet.id);
    deployments::record(tx, team, event_type, chain, deployment, more)
}
