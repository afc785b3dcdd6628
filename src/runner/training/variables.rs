//! The environment of a job: the variables of Baseten's contract, then the job's own with the secrets that they name.

use std::collections::BTreeMap;

use super::folders::Folders;
use crate::db::Tx;
use crate::db::training_jobs::running::{self, Order};
use crate::error::{Error, quoted};
use crate::wire::training_jobs::pushed::{Spec, Variable};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const VARIABLES_MAX: usize = 1_000;

/// The variables of a job. `Err` is why the job cannot be started.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn variables(
    tx: &Tx,
    order: &Order,
    spec: &Spec,
    folders: &Folders,
    gpus: usize,
) -> Result<Result<BTreeMap<String, String>, String>, Error> {
    let mut variables = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
    ]);
    for (name, variable) in spec.variables() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Ok(Err(format!("`{}` cannot be the name of an environment variable", quoted(name))));
        }
        let value = match variable {
            Variable::Text(text) => text.clone(),
            Variable::Secret(secret) => match running::secret(tx, &order.team, &secret.name)? {
                Some(value) => value.expose().to_owned(),
                None => {
                    let (secret, team) = (quoted(&secret.name), quoted(&order.team.name));
                    return Ok(Err(format!(
                        "`{}` names the secret `{secret}`, and team \"{team}\" has none of that name: set it there",
                        quoted(name)
                    )));
                }
            },
        };
        if value.contains('\0') {
            return Ok(Err(format!("the value of `{}` holds a NUL, which no environment variable can", quoted(name))));
        }
        variables.insert(name.to_owned(), value);
    }
    if variables.len() > VARIABLES_MAX {
        return Ok(Err(format!("it has more than {VARIABLES_MAX} environment variables")));
    }
    variables.extend(contract(order, spec, folders, gpus));
    Ok(Ok(variables))
}

/// The variables that every job has, whatever it asks for.
fn contract(order: &Order, spec: &Spec, folders: &Folders, gpus: usize) -> BTreeMap<String, String> {
    let job = &order.job;
    let mut variables = BTreeMap::from(
        [
            ("BT_TRAINING_JOB_ID", job.id.clone()),
            ("BT_TRAINING_JOB_NAME", job.name.clone().unwrap_or_default()),
            ("BT_TRAINING_PROJECT_ID", job.project.id.clone()),
            ("BT_TRAINING_PROJECT_NAME", job.project.name.clone()),
            ("BT_NUM_GPUS", gpus.to_string()),
            ("BT_GROUP_SIZE", "1".to_owned()),
            ("BT_NODE_RANK", "0".to_owned()),
            ("BT_LEADER_ADDR", "127.0.0.1".to_owned()),
            ("BT_RETRY_COUNT", "0".to_owned()),
            ("BT_WORKING_DIR", folders.working.display().to_string()),
            ("BT_SCRATCH_DIR", folders.scratch.display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let mut add = |name: &str, value: String| variables.insert(name.to_owned(), value);
    if spec.keeps_checkpoints() {
        add("BT_CHECKPOINT_DIR", folders.checkpoints.display().to_string());
    }
    if !spec.loads().is_empty() {
        add("BT_LOAD_CHECKPOINT_DIR", folders.loaded.display().to_string());
    }
    if spec.has_cache() {
        add("BT_RW_CACHE_DIR", folders.project_cache.display().to_string());
        add("BT_PROJECT_CACHE_DIR", folders.project_cache.display().to_string());
        add("BT_TEAM_CACHE_DIR", folders.team_cache.display().to_string());
    }
    variables
}
