//! How a deployment of a Chain takes over an environment, and what happens to the deployment that served it before.
//!
//! The rules are those for models, in [`domain::promotion`](crate::domain::promotion). The result is written for all
//! chainlets together: a deployment takes over when all of its chainlets serve, and gives up when one of them has
//! failed.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::json;

use crate::db::chains::{deployments, environments};
use crate::db::deployments::naming::Owner;
use crate::db::deployments::{from_row, read_json, running, select};
use crate::db::environments::promotion::{no_longer_serves, serves};
use crate::db::{Tx, logs};
use crate::domain::chains::{Chain, ChainDeployment, ChainEnvironment};
use crate::domain::deployments::Deployment;
use crate::domain::instance_types::InstanceType;
use crate::domain::promotion::{Form, Occupancy, Previous, Promoted, Takeover, refuse_second};
use crate::domain::serving::{Autoscaling, Cleanup, Level, Phase, Settings, Status};
use crate::error::Error;
use crate::policy::InEnvironment;

/// Promotes a deployment of the Chain to the environment of the proof `at`, either the deployment itself or a copy of
/// it, see [`Form`]. A deployment that already serves the environment and is off or asleep is started.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain does not have the deployment or the environment. [`Error::Conflict`] while another
/// deployment is being promoted to the environment, for a deployment that has failed, and for one that serves the
/// environment already and runs.
pub fn promote(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    deployment_id: &str,
    previous: Previous,
) -> Result<ChainDeployment, Error> {
    let deployment = deployments::find(tx, at, &chain.id, deployment_id)?;
    let environment = environments::find_open(tx, at, chain)?;
    let status = deployment.status();
    if status.phase() == Phase::Failed {
        return Err(Error::conflict(format!("deployment \"{}\" has failed ({status}): push again", deployment.name)));
    }
    let promoted = Promoted {
        is_development: deployment.is_development(),
        environment: deployment.environment.as_deref(),
        candidate_for: deployment.candidate_for.as_deref(),
        fits: environment.fits(&deployment),
    };
    let promoted = match Form::of(&promoted, &environment.name, &environment.promotion) {
        Form::AlreadyThere => wake_there(tx, at, &deployment)?,
        Form::Itself => {
            wake(tx, &deployment)?;
            enter(tx, at, chain, &deployment.id, previous)?
        }
        Form::Copy => copy_into(tx, at, chain, &deployment, &environment, previous)?,
    };
    let more = json!({ "environment_name": environment.name, "environment_id": null });
    deployments::record(tx, at, "CHAIN_DEPLOYMENT_PROMOTED", chain, &promoted, more)?;
    Ok(promoted)
}

/// Starts a deployment that is promoted to the environment that it serves already.
fn wake_there(tx: &Tx, at: &InEnvironment, deployment: &ChainDeployment) -> Result<ChainDeployment, Error> {
    match deployment.status().phase() {
        Phase::Starting | Phase::Serving | Phase::Failed => Err(Error::conflict(format!(
            "deployment \"{}\" serves \"{}\" already",
            deployment.name,
            at.name().as_str()
        ))),
        Phase::Asleep | Phase::Off => {
            wake(tx, deployment)?;
            deployments::find(tx, at, &deployment.chain_id, &deployment.id)
        }
    }
}

fn wake(tx: &Tx, deployment: &ChainDeployment) -> Result<(), Error> {
    deployment.chainlets.iter().try_for_each(|chainlet| running::wake(tx, &chainlet.deployment))
}

/// Changes the instance types of chainlets in the environment of the proof `at`.
///
/// If a chainlet that serves the environment has another instance type, its Chain's deployment is copied with the new
/// types, and the copy takes over when it is active. Returns the copy.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain does not have the environment. [`Error::Conflict`] if a copy is needed while
/// another deployment is being promoted to the environment.
pub fn set_instance_types(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    changes: &[(String, &'static InstanceType)],
) -> Result<Option<ChainDeployment>, Error> {
    environments::store_instance_types(tx, at, chain, changes)?;
    let after = environments::find_open(tx, at, chain)?;
    match &after.current {
        Some(current) if !after.fits(current) => copy_into(tx, at, chain, current, &after, Previous::AsSet).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Copies a deployment with the same archives and the environment's instance types, and puts the copy into the
/// environment. The copy is a published deployment.
fn copy_into(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    deployment: &ChainDeployment,
    environment: &ChainEnvironment,
    previous: Previous,
) -> Result<ChainDeployment, Error> {
    let id = copy_row(tx, at, chain, deployment)?;
    for (position, chainlet) in deployment.chainlets.iter().enumerate() {
        let instance_type = environment.instance_type_of(chainlet);
        let copy = running::copy(tx, at, &chainlet.model, &chainlet.deployment, instance_type)?;
        deployments::insert_chainlet(tx, at, &id, position, &chainlet.name, &chainlet.model.id, &copy)?;
    }
    enter(tx, at, chain, &id, previous)
}

fn copy_row(tx: &Tx, at: &InEnvironment, chain: &Chain, deployment: &ChainDeployment) -> Result<String, Error> {
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
            ":created_by": at.caller().prefix(),
            ":now": tx.now,
            ":team_id": at.team().id,
            ":source": deployment.id,
        })?;
    Ok(id)
}

/// Puts a deployment of the Chain into the environment of the proof `at`, at once or as its candidate.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain does not have the deployment or the environment. [`Error::Conflict`] while another
/// deployment is being promoted to the environment.
pub(super) fn enter(
    tx: &Tx,
    at: &InEnvironment,
    chain: &Chain,
    deployment_id: &str,
    previous: Previous,
) -> Result<ChainDeployment, Error> {
    let environment = environments::find_open(tx, at, chain)?;
    let candidate = environment.candidate.as_ref().map(|candidate| candidate.name.as_str());
    refuse_second(candidate, &environment.name, "deactivate it")?;
    let deployment = deployments::find(tx, at, &chain.id, deployment_id)?;
    let cleanup = previous.cleanup(&environment.promotion);
    let slot = Slot { chain_id: &chain.id, environment: &environment.name };
    match Takeover::at_entry(deployment.status(), Occupancy::of(environment.current.as_ref())) {
        Takeover::Occupy | Takeover::Replace => slot.take_over(tx, &deployment.id, cleanup)?,
        Takeover::Wait => slot.wait(tx, &deployment.id, cleanup)?,
        Takeover::GiveUp => {}
    }
    deployments::find(tx, at, &chain.id, deployment_id)
}

/// Continues the promotion of a Chain's deployment after the status of one of its chainlets has changed: the deployment
/// takes over, keeps waiting or gives up. `chainlet` is the deployment of the chainlet. Called by the runner, without a
/// caller.
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
    let slot = Slot { chain_id: &chain_id, environment: &environment };
    let status = Status::of_parts(parts(tx, &id)?.iter().map(|part| part.status));
    match Takeover::at_step(status, Occupancy::of(slot.occupant(tx)?.as_ref())) {
        Takeover::Wait => Ok(()),
        Takeover::Occupy | Takeover::Replace => slot.take_over(tx, &id, cleanup),
        Takeover::GiveUp => {
            tx.sql
                .prepare_cached("UPDATE chain_deployment SET candidate_for = NULL, cleanup = NULL WHERE id = :id")?
                .execute(named_params! { ":id": id })?;
            let message = format!("its Chain does not take over the environment \"{environment}\"");
            logs::append(tx, &chainlet.id, Level::Warning, &message)
        }
    }
}

/// An environment of a Chain. At most one deployment serves it.
struct Slot<'a> {
    chain_id: &'a str,
    environment: &'a str,
}

impl Slot<'_> {
    fn occupant(&self, tx: &Tx) -> Result<Option<String>, Error> {
        let mut query = tx.sql.prepare_cached(
            "SELECT id FROM chain_deployment WHERE chain_id = :chain_id AND environment = :environment",
        )?;
        let params = named_params! { ":chain_id": self.chain_id, ":environment": self.environment };
        Ok(query.query_row(params, |row| row.get("id")).optional()?)
    }

    fn wait(&self, tx: &Tx, id: &str, cleanup: Cleanup) -> Result<(), Error> {
        tx.sql
            .prepare_cached(
                "UPDATE chain_deployment
                 SET candidate_for = :environment, cleanup = :cleanup
                 WHERE id = :id",
            )?
            .execute(named_params! { ":environment": self.environment, ":cleanup": cleanup, ":id": id })?;
        Ok(())
    }

    fn take_over(&self, tx: &Tx, id: &str, cleanup: Cleanup) -> Result<(), Error> {
        if let Some(before) = self.occupant(tx)? {
            self.vacate(tx, &before, cleanup)?;
        }
        self.occupy(tx, id)
    }

    /// Makes a deployment serve the environment. Its chainlets get the environment's autoscaling settings.
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

/// The deployments of the chainlets of a Chain's deployment, the entrypoint's first.
fn parts(tx: &Tx, id: &str) -> Result<Vec<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE id IN (SELECT deployment_id FROM chainlet WHERE chain_deployment_id = :id)
         ORDER BY (SELECT place FROM chainlet WHERE deployment_id = deployment.id)"
    ))?;
    let rows = query.query_map(named_params! { ":id": id }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
