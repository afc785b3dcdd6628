//! Fetches ahead of time what every Python model needs.

use std::path::{Path, PathBuf};

use super::disk::{self, Unfinished};
use super::installer::From;
use super::interpreter::Minor;
use super::maker::Maker;
use super::requirements::Requirements;
use super::tool::Watch;
use super::{Failure, Installation, Job, Model, TRUSS_VERSION};
use crate::error::quoted;
use crate::runner::archive::{ArchiveError, Limits};
use crate::runner::inspect::inspect;

const WHEELS_MAX: usize = 10_000;

/// What is to be made ready.
pub struct Order<'a> {
    /// The version of Python, such as 3.12, if not the machine's own.
    pub python: Option<&'a str>,
    /// Requirements as models have them, one a line; empty for the base environment.
    pub requirements: &'a str,
    /// A folder of wheels: then nothing is fetched.
    pub wheelhouse: Option<&'a Path>,
}

/// What is ready.
pub struct Prepared {
    /// The version of the Python that models run on.
    pub python_version: String,
    pub installer: &'static str,
    pub truss_version: &'static str,
    /// The server's files.
    pub server: PathBuf,
    /// What starts them.
    pub launcher: PathBuf,
    /// The environment of models with these requirements.
    pub environment: PathBuf,
}

impl Installation {
    /// Makes a runtime and an environment. With a wheelhouse nothing is fetched, now or later: it is copied into the data
    /// directory, and models are installed from there. Without one an earlier wheelhouse is dropped.
    ///
    /// # Errors
    /// [`Failure::Build`] with the installer's own words, for example if a wheel is missing. Then an earlier wheelhouse stays.
    pub fn prepare(&self, order: &Order, watch: Watch) -> Result<Prepared, Failure> {
        let wanted = order.python.map(read_version).transpose()?;
        let requirements = Requirements::read([order.requirements])?;
        let kept = self.folder("wheelhouse");
        let copied = order.wheelhouse.map(|wheels| self.copy_wheels(wheels)).transpose()?;
        let from = copied.as_ref().map_or(From::Registry, |copied| From::Wheelhouse(copied.path().to_owned()));
        let maker = Maker::find(self, wanted, from, watch)?;
        if wanted.is_some_and(|minor| minor != maker.python.minor) {
            return Err(Failure::Deploy("install that Python, or leave out --python".to_owned()));
        }
        let runtime = maker.runtime(TRUSS_VERSION)?;
        let environment = maker.environment(&runtime, &requirements)?;
        self.sweep()?;
        match copied {
            Some(copied) => copied.replace(&kept)?,
            None => disk::remove(&kept)?,
        }
        Ok(Prepared {
            python_version: maker.python.version.clone(),
            installer: maker.installer.name(),
            truss_version: TRUSS_VERSION,
            server: runtime.server.clone(),
            launcher: runtime.launcher.clone(),
            environment: environment.folder.clone(),
        })
    }

    /// Makes what a model's archive needs: its server and its environment stay. The model itself is not kept.
    ///
    /// # Errors
    /// See [`Installation::build`].
    pub fn prepare_model(&self, archive: &Path, watch: Watch) -> Result<Model, Failure> {
        let inspected = inspect(archive, Limits::default(), watch.stop).map_err(|cause| match cause {
            ArchiveError::Content(why) => Failure::Build(format!("{}: {why}", archive.display())),
            ArchiveError::Ours(cause) => Failure::Ours(cause),
        })?;
        let folder = Unfinished::new(&self.folder)?;
        self.build(&Job { archive: Some(archive), config: &inspected.config, folder: folder.path() }, watch)
    }

    fn copy_wheels(&self, wheelhouse: &Path) -> Result<Unfinished, Failure> {
        let none = |why: &str| Failure::Build(format!("the wheelhouse {} {why}", wheelhouse.display()));
        let is_wheel = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "whl") && path.is_file();
        if !wheelhouse.is_dir() {
            return Err(none("is no folder"));
        }
        let wheels: Vec<PathBuf> = disk::entries(wheelhouse).into_iter().filter(is_wheel).collect();
        if wheels.is_empty() {
            return Err(none(
                "has no wheels: fill it with `pip download --only-binary=:all: -d DIR` on a machine with a network",
            ));
        }
        if wheels.len() > WHEELS_MAX {
            return Err(none(&format!("has more than {WHEELS_MAX} wheels")));
        }
        let copied = Unfinished::new(&self.folder)?;
        for wheel in wheels {
            std::fs::copy(&wheel, copied.path().join(wheel.file_name().unwrap_or_default()))?;
        }
        Ok(copied)
    }
}

/// Reads a version such as `3.12`.
fn read_version(text: &str) -> Result<Minor, Failure> {
    let minor = Minor::parse(&format!("py{}", text.replacen('.', "", 1)));
    minor.ok_or_else(|| Failure::Build(format!("\"{}\" is no version of Python such as 3.12", quoted(text))))
}
