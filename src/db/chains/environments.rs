//! Environments of a Chain: which deployment serves each of them, and the settings of each for chainlets, by chainlet
//! name.
//!
//! Every Chain has `production`. For a setting that an environment does not have, the setting of the chainlet's
//! deployment applies.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::{Value, json};

use crate::db::Tx;
use crate::db::chains::{self, deployments};
use crate::db::deployments::{read_json, running, write_json};
use crate::domain::chains::{Chain, ChainDeployment, ChainEnvironment, Chainlet, ChainletChange};
use crate::domain::instance_types::InstanceType;
use crate::domain::serving::PRODUCTION;
use crate::domain::serving::{Autoscaling, PromotionSettings, Settings};
use crate::error::{Error, quoted};
use crate::policy::{InEnvironment, Reader};

/// All environments of the Chain: `production` first, then the others by name.
pub fn list(tx: &Tx, team: &dyn Reader, chain: &Chain) -> Result<Vec<ChainEnvironment>, Error> {
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

/// The Chain's environment with this name.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain has no environment with this name.
pub fn find(tx: &Tx, team: &dyn Reader, chain: &Chain, name: &str) -> Result<ChainEnvironment, Error> {
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

/// The environment of the proof `at`.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain does not have it.
pub(super) fn find_open(tx: &Tx, at: &InEnvironment, chain: &Chain) -> Result<ChainEnvironment, Error> {
    find(tx, at, chain, at.name().as_str())
}

/// Creates the environment of the proof `at` in the Chain.
///
/// # Errors
///
/// [`Error::Conflict`] if the Chain has it already.
pub fn create(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    promotion: Option<&PromotionSettings>,
    chainlets: &[ChainletChange],
) -> Result<ChainEnvironment, Error> {
    match chains::insert_environment(tx, at.team(), &chain.id, at.name().as_str()) {
        Err(cause) if Error::is_unique_violation(&cause) => {
            return Err(Error::conflict(format!(
                "Chain \"{}\" has the environment \"{}\" already: change it with PATCH",
                quoted(&chain.name),
                quoted(at.name().as_str())
            )));
        }
        inserted => inserted?,
    }
    store_promotion(tx, at, chain, promotion)?;
    chainlets.iter().try_for_each(|change| store(tx, at, chain, change))?;
    let created = find_open(tx, at, chain)?;
    record(tx, at, "CHAIN_ENVIRONMENT_CREATED", chain, &created)?;
    Ok(created)
}

/// Changes the promotion settings of the environment of the proof `at`.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain does not have the environment.
pub fn update(tx: &Tx, at: &InEnvironment, chain: &Chain, promotion: &PromotionSettings) -> Result<(), Error> {
    store_promotion(tx, at, chain, Some(promotion))?;
    record(tx, at, "CHAIN_ENVIRONMENT_UPDATED", chain, &find_open(tx, at, chain)?)
}

/// Changes the autoscaling settings of chainlets in the environment of the proof `at`. They apply at once to the
/// chainlets that serve the environment.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain does not have the environment.
pub fn set_autoscaling(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    changes: &[(String, Autoscaling)],
) -> Result<(), Error> {
    let environment = find_open(tx, at, chain)?;
    let mut for_later = Vec::new();
    for (name, autoscaling) in changes {
        let change =
            ChainletChange { chainlet_name: name.clone(), autoscaling: Some(autoscaling.clone()), instance_type: None };
        store(tx, at, chain, &change)?;
        match current_chainlet(&environment, name) {
            Some((current, chainlet)) => {
                let before = &chainlet.deployment.settings;
                let after = Settings { autoscaling: autoscaling.clone(), ..before.clone() };
                running::set(tx, &chainlet.deployment.id, &after)?;
                let mut more = json!(autoscaling);
                more["previous_settings"] = json!(before.autoscaling);
                record_chainlet(tx, at, "CHAINLET_AUTOSCALING_SETTINGS_CHANGED", chain, current, chainlet, more)?;
            }
            None => for_later.push(json!({ "chainlet_name": name, "autoscaling_settings": autoscaling })),
        }
    }
    record_for_later(tx, at, chain, &environment, &for_later)
}

/// Changes the instance types of chainlets in the environment of the proof `at`. The chainlets that serve the
/// environment keep their instance types until another deployment takes over.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain does not have the environment.
pub(super) fn store_instance_types(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    changes: &[(String, &'static InstanceType)],
) -> Result<(), Error> {
    let environment = find_open(tx, at, chain)?;
    let mut for_later = Vec::new();
    for (name, instance_type) in changes {
        let change = ChainletChange {
            chainlet_name: name.clone(),
            autoscaling: None,
            instance_type: Some(instance_type.id.to_owned()),
        };
        store(tx, at, chain, &change)?;
        match current_chainlet(&environment, name) {
            Some((current, chainlet)) => {
                let more = json!({ "instance_type_name": instance_type.id });
                record_chainlet(tx, at, "CHAINLET_INSTANCE_TYPE_CHANGED", chain, current, chainlet, more)?;
            }
            None => for_later.push(json!({ "chainlet_name": name, "instance_type_name": instance_type.id })),
        }
    }
    record_for_later(tx, at, chain, &environment, &for_later)
}

/// Whether a deployment of the Chain has a chainlet with this name, or the environment has settings for one.
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

/// The environments of the Chain that were created, configured or deployed into. `production` is created with the Chain
/// and counts only when it has a deployment or settings: before that, nothing in it can be lost.
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
    let values = named_params! { ":chain_id": chain.id, ":production": PRODUCTION };
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

fn store(tx: &Tx, at: &InEnvironment, chain: &Chain, change: &ChainletChange) -> Result<(), Error> {
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
            ":environment": at.name().as_str(),
            ":chainlet_name": change.chainlet_name,
            ":autoscaling": change.autoscaling.as_ref().map(write_json),
            ":instance_type": change.instance_type,
        })?;
    Ok(())
}

fn store_promotion(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    promotion: Option<&PromotionSettings>,
) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE chain_environment
             SET promotion = coalesce(:promotion, promotion)
             WHERE team_id = :team_id AND chain_id = :chain_id AND name = :name",
        )?
        .execute(named_params! {
            ":promotion": promotion.map(write_json),
            ":team_id": at.team().id,
            ":chain_id": chain.id,
            ":name": at.name().as_str(),
        })?;
    Ok(())
}

fn record(
    tx: &Tx,
    at: &InEnvironment,
    event_type: &'static str,
    chain: &Chain,
    environment: &ChainEnvironment,
) -> Result<(), Error> {
    chains::record(tx, at, event_type, chain, settings_data(environment))
}

/// Records the settings for chainlets that do not serve the environment, as one change of the environment.
fn record_for_later(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    environment: &ChainEnvironment,
    settings: &[Value],
) -> Result<(), Error> {
    if settings.is_empty() {
        return Ok(());
    }
    let mut more = settings_data(environment);
    more["chainlet_settings"] = json!(settings);
    chains::record(tx, at, "CHAIN_ENVIRONMENT_UPDATED", chain, more)
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
    at: &InEnvironment,
    event_type: &'static str,
    chain: &Chain,
    deployment: &ChainDeployment,
    chainlet: &Chainlet,
    mut more: Value,
) -> Result<(), Error> {
    more["chainlet_name"] = json!(chainlet.name);
    more["chainlet_id"] = json!(chainlet.id);
    deployments::record(tx, at, event_type, chain, deployment, more)
}
