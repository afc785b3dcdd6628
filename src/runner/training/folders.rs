//! The folders of a job, and what is removed when jobs, projects and teams are gone.

use std::io;
use std::path::{Path, PathBuf};

use crate::db::training_jobs::running::{self, Order};
use crate::db::{Db, Now, teams};
use crate::domain::training_jobs::{checkpoint_folder, folder_of_team};
use crate::error::Error;
use crate::runner::python::{entries, make_folder, remove};

/// The folders that a job works in.
pub struct Folders {
    /// The job's own folder, which is removed when the job ends.
    pub own: PathBuf,
    /// What the job was pushed with, which is the current directory of its commands.
    pub working: PathBuf,
    pub scratch: PathBuf,
    /// Checkpoints that the job begins with.
    pub loaded: PathBuf,
    pub checkpoints: PathBuf,
    pub project_cache: PathBuf,
    pub team_cache: PathBuf,
}

impl Folders {
    /// Makes the folders of a job. What an earlier attempt left in them is removed, but for the caches.
    ///
    /// # Errors
    ///
    /// The error of the file system.
    pub fn make(data: &Path, order: &Order) -> io::Result<Folders> {
        let team = folder_of_team(data, &order.team.id);
        let own = team.join("jobs").join(&order.job.id);
        let folders = Folders {
            working: own.join("workspace"),
            scratch: own.join("scratch"),
            loaded: own.join("loaded-checkpoints"),
            checkpoints: checkpoint_folder(data, &order.team.id, &order.job.id),
            project_cache: team.join("cache").join(&order.job.project.id),
            team_cache: team.join("team-cache"),
            own,
        };
        remove(&folders.own)?;
        for folder in [
            &data.join("runner"),
            &data.join("runner").join("training"),
            &team,
            &team.join("jobs"),
            &team.join("checkpoints"),
            &team.join("cache"),
            &folders.own,
            &folders.working,
            &folders.scratch,
            &folders.loaded,
            &folders.checkpoints,
            &folders.project_cache,
            &folders.team_cache,
        ] {
            make_folder(folder)?;
        }
        Ok(folders)
    }
}

/// Removes the own folders of all jobs: none runs while the server starts.
pub fn sweep_jobs(db: &Db) {
    for team in entries(&db.directory().join("runner").join("training")) {
        entries(&team.join("jobs")).iter().for_each(|job| remove_or_note(job));
    }
}

/// Removes the folders of jobs, projects and teams that were deleted.
pub fn sweep(db: &Db, now: Now) {
    let keep = |path: &Path, is_there: &dyn Fn(&str) -> Result<bool, Error>| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match is_there(name) {
            Ok(false) => remove_or_note(path),
            Ok(true) => {}
            Err(cause) => tracing::error!(path = %path.display(), ?cause, "not swept"),
        }
    };
    for team in entries(&db.directory().join("runner").join("training")) {
        let exists = |id: &str| match db.read(now, |tx| teams::find(tx, id).map(drop)) {
            Err(Error::NotFound(_)) => Ok(false),
            found => found.map(|()| true),
        };
        keep(&team, &exists);
        for job in entries(&team.join("checkpoints")) {
            keep(&job, &|id| db.read(now, |tx| running::exists(tx, id)));
        }
        for project in entries(&team.join("cache")) {
            keep(&project, &|id| db.read(now, |tx| running::project_exists(tx, id)));
        }
    }
}

/// Removes a folder. A failure is only logged: the next sweep tries again.
pub fn remove_or_note(path: &Path) {
    if let Err(cause) = remove(path) {
        tracing::warn!(path = %path.display(), ?cause, "a folder of training is not removed");
    }
}
