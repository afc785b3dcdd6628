//! How a deployment of a Chain comes to serve an environment, and what becomes of the one before.
//!
//! It is as with models, for all chainlets at once: a deployment takes over as soon as all of its chainlets are
//! active, and lets go of the environment as soon as one has failed.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::json;

use crate::db::chains::Chain;
use crate::db::chains::deployments::{self, ChainDeployment};
use crate::db::chains::environments::{self, ChainEnvironment};
use crate::db::deployments::naming::Owner;
use crate::db::deployments::{Deployment, from_row, read_json, running, select};
use crate::db::environments::promotion::{Previous, no_longer_serves, serves};
use crate::db::{Tx, logs};
use crate::domain::instance_types::InstanceType;
use crate::domain::serving::{Autoscaling, Cleanup, Level, Phase, Settings, Status};
use crate::error::Error;
use crate::policy::InTeam;

/// Promotes a deployment into an environment, itself or as a copy: a copy where it is the development deployment, serves
/// another environment, has a chainlet of another instance type than the environment sets, or where the environment wants
/// it so.
pub fn promote(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    deployment: &ChainDeployment,
    environment: &ChainEnvironment,
    previous: Previous,
) -> Result<ChainDeployment, Error> {
    let status = deployment.status();
    if status.phase() == Phase::Failed {
        return Err(Error::conflict(format!("deployment \"{}\" has failed ({status}): push again", deployment.name)));
    }
    let is_as_set = environment.fits(deployment) && !environment.promotion.redeploy_on_promotion;
    let is_there = deployment.environment.as_deref() == Some(&environment.name);
    let is_free = deployment.environment.is_none() && deployment.candidate_for.is_none();
    let promoted = if is_as_set && is_there {
        wake_there(tx, team, deployment, environment)?
    } else if is_as_set && is_free && !deployment.is_development() {
        wake(tx, deployment)?;
        enter(tx, team, deployment, environment, previous)?
    } else {
        copy_into(tx, team, chain, deployment, environment, previous)?
    };
    let more = json!({ "environment_name": environment.name, "environment_id": null });
    deployments::record(tx, team, "CHAIN_DEPLOYMENT_PROMOTED", chain, &promoted, more)?;
    Ok(promoted)
}

/// A deployment that was switched off where it serves is switched on by promoting it there once more.
fn wake_there(
    tx: &Tx,
    team: &InTeam,
    deployment: &ChainDeployment,
    environment: &ChainEnvironment,
) -> Result<ChainDeployment, Error> {
    match deployment.status().phase() {
        Phase::Starting | Phase::Serving | Phase::Failed => {
            Err(Error::conflict(format!("deployment \"{}\" serves \"{}\" already", deployment.name, environment.name)))
        }
        Phase::Asleep | Phase::Off => {
            wake(tx, deployment)?;
            deployments::find(tx, team, &deployment.chain_id, &deployment.id)
        }
    }
}

fn wake(tx: &Tx, deployment: &ChainDeployment) -> Result<(), Error> {
    deployment.chainlets.iter().try_for_each(|chainlet| running::wake(tx, &chainlet.deployment))
}

/// Changes the instance types of chainlets. Where one that serves the environment has another, a copy of its deployment
/// is made with the new ones, and takes over once it is active: that is the answer.
pub fn set_instance_types(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    environment: &ChainEnvironment,
    changes: &[(String, &'static InstanceType)],
) -> Result<Option<ChainDeployment>, Error> {
    environments::store_instance_types(tx, team, chain, environment, changes)?;
    let after = environments::find(tx, team, chain, &environment.name)?;
    match &after.current {
        Some(current) if !after.fits(current) => copy_into(tx, team, chain, current, &after, Previous::AsSet).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Puts a published copy of a deployment, of the same archives and set as the environment says, into the environment.
fn copy_into(
    tx: &Tx,
    team: &InTeam,
    chain: &Chain,
    deployment: &ChainDeployment,
    environment: &ChainEnvironment,
    previous: Previous,
) -> Result<ChainDeployment, Error> {
    let id = copy_row(tx, team, chain, deployment)?;
    for (place, chainlet) in deployment.chainlets.iter().enumerate() {
        let instance_type = environment.instance_type_of(chainlet);
        let copy = running::copy(tx, team, &chainlet.model, &chainlet.deployment, instance_type)?;
        deployments::insert_chainlet(tx, team, &id, place, &chainlet.name, &chainlet.model.id, &copy)?;
    }
    enter(tx, team, &deployments::find(tx, team, &chain.id, &id)?, environment, previous)
}

fn copy_row(tx: &Tx, team: &InTeam, chain: &Chain, deployment: &ChainDeployment) -> Result<String, Error> {
    let id = tx.id();
    let (number, name) = Owner::Chain(&chain.id).name_of_copy(tx, &deployment.name)?;
    tx.sql
        .prepare_cached(
            "INSERT INTO chain_deployment (id, org_id, team_id, chain_id, name, number, user_env, s3_key, created_by,
                                           created_at)
             SELECT :id, org_id, team_id, chain_id, :name, :number, user_env, s3_key, :created_by, :now
             FROM chain_deployment
             WHERE team_id = :team_id AND id = :source",
        )?
        .execute(named_params! {
            ":id": id,
            ":name": name,
            ":number": number,
            ":created_by": team.caller().prefix(),
            ":now": tx.now,
            ":team_id": team.team().id,
            ":source": deployment.id,
        })?;
    Ok(id)
}

/// Puts a deployment into an environment: at once where it serves or nobody is there, otherwise as the candidate.
pub(super) fn enter(
    tx: &Tx,
    team: &InTeam,
    deployment: &ChainDeployment,
    environment: &ChainEnvironment,
    previous: Previous,
) -> Result<ChainDeployment, Error> {
    if let Some(candidate) = &environment.candidate {
        return Err(Error::conflict(format!(
            "deployment \"{}\" is being promoted to \"{}\": wait until it is active, or deactivate it",
            candidate.name, environment.name
        )));
    }
    let cleanup = match previous {
        Previous::AsSet => environment.promotion.promotion_cleanup_strategy,
        Previous::Keep => Cleanup::Keep,
    };
    let environment_ref = EnvironmentRef { chain_id: &deployment.chain_id, environment: &environment.name };
    match &environment.current {
        None => environment_ref.occupy(tx, &deployment.id)?,
        Some(current) if deployment.status().phase() == Phase::Serving => {
            environment_ref.vacate(tx, &current.id, cleanup)?;
            environment_ref.occupy(tx, &deployment.id)?;
        }
        Some(_) => {
            tx.sql
                .prepare_cached(
                    "UPDATE chain_deployment
                     SET candidate_for = :environment, cleanup = :cleanup
                     WHERE id = :id",
                )?
                .execute(named_params! {
                    ":environment": environment.name, ":cleanup": cleanup, ":id": deployment.id,
                })?;
        }
    }
    deployments::find(tx, team, &deployment.chain_id, &deployment.id)
}

/// For the runner, which acts for nobody: the chainlet that runs as this deployment has come a step on. What its Chain's
/// deployment waits for may be there now, or may never be.
pub(in crate::db) fn follow(tx: &Tx, chainlet: &Deployment) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT chain_deployment.id, chain_id, candidate_for, cleanup
         FROM chainlet
         JOIN chain_deployment ON chain_deployment.id = chainlet.chain_deployment_id
         WHERE chainlet.deployment_id = :deployment_id AND candidate_for IS NOT NULL",
    )?;
    let waiting = query.query_row(named_params! { ":deployment_id": chainlet.id }, |row| {
        Ok((row.get("id")?, row.get("chain_id")?, row.get("candidate_for")?, row.get("cleanup")?))
    });
    let Some((id, chain_id, environment, cleanup)): Option<(String, String, String, Cleanup)> = waiting.optional()?
    else {
        return Ok(());
    };
    let environment_ref = EnvironmentRef { chain_id: &chain_id, environment: &environment };
    match Status::of_parts(parts(tx, &id)?.iter().map(|part| part.status)).phase() {
        Phase::Starting | Phase::Asleep => Ok(()),
        Phase::Serving => {
            if let Some(current) = environment_ref.occupant(tx)? {
                environment_ref.vacate(tx, &current, cleanup)?;
            }
            environment_ref.occupy(tx, &id)
        }
        Phase::Off | Phase::Failed => {
            tx.sql
                .prepare_cached("UPDATE chain_deployment SET candidate_for = NULL, cleanup = NULL WHERE id = :id")?
                .execute(named_params! { ":id": id })?;
            let told = format!("its Chain does not take over the environment \"{environment}\"");
            logs::append(tx, &chainlet.id, Level::Warning, &told)
        }
    }
}

/// An environment of a Chain.
struct EnvironmentRef<'a> {
    chain_id: &'a str,
    environment: &'a str,
}

impl EnvironmentRef<'_> {
    fn occupant(&self, tx: &Tx) -> Result<Option<String>, Error> {
        let mut query = tx.sql.prepare_cached(
            "SELECT id FROM chain_deployment WHERE chain_id = :chain_id AND environment = :environment",
        )?;
        let params = named_params! { ":chain_id": self.chain_id, ":environment": self.environment };
        Ok(query.query_row(params, |row| row.get("id")).optional()?)
    }

    /// The new occupant's chainlets take on what the environment sets them to.
    fn occupy(&self, tx: &Tx, id: &str) -> Result<(), Error> {
        tx.sql
            .prepare_cached(
                "UPDATE chain_deployment
                 SET environment = :environment, candidate_for = NULL, cleanup = NULL
                 WHERE id = :id",
            )?
            .execute(named_params! { ":environment": self.environment, ":id": id })?;
        for part in parts(tx, id)? {
            if let Some(autoscaling) = self.autoscaling(tx, &part)? {
                running::set(tx, &part.id, &Settings { autoscaling, ..part.settings.clone() })?;
            }
            logs::append(tx, &part.id, Level::Info, &serves(self.environment))?;
        }
        Ok(())
    }

    fn vacate(&self, tx: &Tx, id: &str, cleanup: Cleanup) -> Result<(), Error> {
        tx.sql
            .prepare_cached("UPDATE chain_deployment SET environment = NULL WHERE id = :id")?
            .execute(named_params! { ":id": id })?;
        for part in parts(tx, id)? {
            let status = cleanup.of(part.status);
            running::change_status(tx, &part, status, &no_longer_serves(self.environment, status))?;
        }
        Ok(())
    }

    fn autoscaling(&self, tx: &Tx, part: &Deployment) -> Result<Option<Autoscaling>, Error> {
        let mut query = tx.sql.prepare_cached(
            "SELECT autoscaling
             FROM chainlet
             JOIN chainlet_setting ON chainlet_setting.chainlet_name = chainlet.name
             WHERE deployment_id = :deployment_id AND chain_id = :chain_id AND environment = :environment",
        )?;
        let params = named_params! {
            ":deployment_id": part.id, ":chain_id": self.chain_id, ":environment": self.environment,
        };
        Ok(query.query_row(params, |row| read_json(row, "autoscaling")).optional()?.flatten())
    }
}

/// What runs of a Chain's deployment, the entrypoint first.
fn parts(tx: &Tx, id: &str) -> Result<Vec<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE id IN (SELECT deployment_id FROM chainlet WHERE chain_deployment_id = :id)
         ORDER BY (SELECT place FROM chainlet WHERE deployment_id = deployment.id)"
    ))?;
    let rows = query.query_map(named_params! { ":id": id }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
