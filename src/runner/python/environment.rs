//! Virtual environments, each kept under a hash of what it is made from.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::disk::{self, Unfinished};
use super::interpreter::Python;
use super::maker::Maker;
use super::requirements::Requirements;
use super::runtime::Runtime;
use super::tool::{self, Bounds};
use super::{Failure, Held, MAKE};

/// Lists what an environment was made from. Its time says when it was used last.
pub(super) const MARK: &str = "made-from.txt";
/// The version of how environments are made: those of another version are not used.
const RULES: u32 = 1;
const SCRIPT_BYTES_MAX: u64 = 1 << 20;

/// A virtual environment that is whole. It is not removed while this lives.
pub struct Environment {
    pub folder: PathBuf,
    _held: Held,
}

impl Maker<'_> {
    /// The environment of a server and a model, made if it is not there. Versions of the model count, within the bounds of
    /// the server.
    ///
    /// # Errors
    /// [`Failure::Build`] with the installer's own words if it cannot be made, for example because a package is missing.
    pub fn environment(&self, runtime: &Runtime, requirements: &Requirements) -> Result<Environment, Failure> {
        let all = requirements.over(&runtime.requirements).text();
        let Python { version, executable, .. } = &self.python;
        let made_from = format!(
            "# rules {RULES}, Python {version} at {}\n{all}# within\n{}",
            executable.display(),
            runtime.constraints
        );
        let name = &blake3::hash(made_from.as_bytes()).to_hex()[..32];
        let folder = self.installation.folder("environments").join(name);
        if !is_whole(&folder) {
            disk::remove(&folder)?;
            let begun = Instant::now();
            self.say(&format!("making an environment with {} for Python {version}", self.installer.name()));
            let lock = self.installation.lock_shared()?;
            let made = Unfinished::new(&self.installation.folder("environments"))?;
            self.fill(made.path(), &all, &runtime.constraints)?;
            rename_in_scripts(&made.path().join("bin"), made.path(), &folder)?;
            std::fs::write(made.path().join(MARK), &made_from)?;
            made.finish(&folder)?;
            drop(lock);
            self.say(&format!("the environment is made, in {} s", begun.elapsed().as_secs()));
        }
        Ok(Environment { _held: self.installation.hold(&folder, MARK)?, folder })
    }

    fn fill(&self, made: &Path, requirements: &str, constraints: &str) -> Result<(), Failure> {
        let work = Unfinished::new(&self.installation.folder("environments"))?;
        let ended = tool::run(&mut self.installer.make(&self.python, made, work.path()), &MAKE, self.watch)?;
        let installer = self.installer.name();
        if !ended.status.success() {
            let (version, words) = (&self.python.version, ended.last_words);
            return Err(Failure::Deploy(format!(
                "{installer} cannot make an environment for Python {version}: {words}"
            )));
        }
        let (wanted, within) = (work.path().join("requirements.txt"), work.path().join("constraints.txt"));
        std::fs::write(&wanted, requirements)?;
        std::fs::write(&within, constraints)?;
        let mut command = self.install(&made.join("bin/python"), work.path());
        command.arg("-r").arg(&wanted).arg("-c").arg(&within);
        let limits = self.installation.limits;
        let bytes_max = limits.environment_bytes_max;
        let bounds = Bounds { time_max: limits.environment_time_max, writes: Some((made, bytes_max)) };
        let ended = tool::run(&mut command, &bounds, self.watch)?;
        if !ended.status.success() {
            let words = ended.last_words;
            return Err(Failure::Build(format!("the requirements cannot be installed; {installer} says: {words}")));
        }
        if disk::bytes_of([made]) > bytes_max {
            return Err(tool::too_large(bytes_max));
        }
        self.python.compile(&made.join("lib"), self.watch)
    }
}

fn is_whole(folder: &Path) -> bool {
    folder.join(MARK).is_file() && folder.join("bin/python").is_file()
}

/// Scripts name the folder that they were made in: give them the one that they will be in.
fn rename_in_scripts(scripts: &Path, made: &Path, name: &Path) -> Result<(), Failure> {
    let (made, name) = (made.to_string_lossy(), name.to_string_lossy());
    for script in disk::entries(scripts) {
        let is_text = script.symlink_metadata().is_ok_and(|file| file.is_file() && file.len() <= SCRIPT_BYTES_MAX);
        if is_text
            && let Ok(text) = std::fs::read_to_string(&script)
            && text.contains(&*made)
        {
            disk::rewrite(&script, text.replace(&*made, &name).as_bytes())?;
        }
    }
    Ok(())
}
