//! The capacity ceilings of teams: how many GPUs of each type the training jobs of a team may hold at once.
//!
//! A team without a ceiling is not limited. A lower ceiling stops no job: it only delays the jobs that wait.

use rusqlite::{OptionalExtension as _, Row, named_params};

use crate::db::{Tx, resources};
use crate::domain::Team;
use crate::domain::training::GpuType;
use crate::domain::training_capacity::Capacity;
use crate::error::Error;
use crate::policy::InTeam;

/// Builds the query for ceilings. The argument is the SQL from `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT training_capacity.team_id, team.name AS team_name, training_capacity.gpu_type,
                    training_capacity.max_gpus, training_capacity.updated_at,
                    coalesce(sum(training_job.gpus) FILTER (WHERE training_job.availability = 'dedicated'), 0)
                        AS dedicated_gpus,
                    coalesce(sum(training_job.gpus) FILTER (WHERE training_job.availability = 'spot'), 0) AS spot_gpus
             FROM training_capacity
             JOIN team ON team.id = training_capacity.team_id
             LEFT JOIN training_job
                 ON training_job.team_id = training_capacity.team_id
                AND training_job.gpu_type = training_capacity.gpu_type
                AND training_job.status IN ('TRAINING_JOB_CREATED', 'TRAINING_JOB_QUEUED', 'TRAINING_JOB_DEPLOYING',
                                            'TRAINING_JOB_RUNNING') ",
            $rest
        )
    };
}

/// The ceilings of these teams.
pub fn list(tx: &Tx, teams: &[InTeam]) -> Result<Vec<Capacity>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE training_capacity.team_id IN (SELECT value FROM json_each(:team_ids))
         GROUP BY training_capacity.team_id, training_capacity.gpu_type
         ORDER BY team.name_key, training_capacity.gpu_type"
    ))?;
    let rows = query.query_map(named_params! { ":team_ids": resources::ids(teams) }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The ceiling of the team for this GPU type, if it has one.
pub(super) fn find(tx: &Tx, team: &Team, gpu_type: GpuType) -> Result<Option<Capacity>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE training_capacity.team_id = :team_id AND training_capacity.gpu_type = :gpu_type
         GROUP BY training_capacity.team_id, training_capacity.gpu_type"
    ))?;
    let found = query.query_row(named_params! { ":team_id": team.id, ":gpu_type": gpu_type }, from_row);
    Ok(found.optional()?)
}

/// Stores the ceiling of the team for this GPU type.
pub(super) fn write(tx: &Tx, team: &Team, gpu_type: GpuType, max_gpus: i64) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO training_capacity (team_id, gpu_type, org_id, max_gpus, updated_at)
             VALUES (:team_id, :gpu_type, :org_id, :max_gpus, :now)
             ON CONFLICT (team_id, gpu_type) DO UPDATE SET max_gpus = :max_gpus, updated_at = :now",
        )?
        .execute(named_params! {
            ":team_id": team.id,
            ":gpu_type": gpu_type,
            ":org_id": team.org_id,
            ":max_gpus": max_gpus,
            ":now": tx.now,
        })?;
    Ok(())
}

fn from_row(row: &Row) -> rusqlite::Result<Capacity> {
    Ok(Capacity {
        team_id: row.get("team_id")?,
        team_name: row.get("team_name")?,
        gpu_type: row.get("gpu_type")?,
        max_gpus: row.get("max_gpus")?,
        dedicated_gpus: row.get("dedicated_gpus")?,
        spot_gpus: row.get("spot_gpus")?,
        updated_at: row.get("updated_at")?,
    })
}
