//! What installs packages: uv if there is one, else pip.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::interpreter::{Python, QUESTION, find_uv};
use super::tool::{self, Watch};
use super::{Failure, Installation, MAKE, disk};

/// The first pip that installs into another environment, so that it never imports what it installs.
const PIP_MIN: (u32, u32) = (22, 3);

/// What installs packages.
pub enum Installer {
    Uv(PathBuf),
    /// A Python that has pip, outside of the environment that it installs into.
    Pip(PathBuf),
}

impl Installer {
    /// uv if there is one, else Python's pip, else the pip that Python brings along.
    ///
    /// # Errors
    /// [`Failure::Deploy`] if there is none of them.
    pub fn find(installation: &Installation, python: &Python, watch: Watch) -> Result<Installer, Failure> {
        if let Some(uv) = find_uv() {
            return Ok(Installer::Uv(uv));
        }
        if has_pip(&python.executable, watch)? {
            return Ok(Installer::Pip(python.executable.clone()));
        }
        let folder = installation.folder(&format!("pip-{}", python.version));
        let program = folder.join("bin/python");
        if !has_pip(&program, watch)? {
            disk::remove(&folder)?;
            let mut command = tool::command(&python.executable, Path::new("/"));
            let ended = tool::run(command.args(["-I", "-m", "venv"]).arg(&folder), &MAKE, watch)?;
            if !ended.status.success() || !has_pip(&program, watch)? {
                disk::remove(&folder)?;
                return Err(Failure::Deploy(format!(
                    "there is neither uv nor a pip for Python {} on this machine: install uv, for example with \
                     `pip install uv`, or Python's venv module with `apt-get install python3-venv`",
                    python.version
                )));
            }
        }
        Ok(Installer::Pip(program))
    }

    /// A command that makes an empty environment, without pip.
    pub fn make(&self, python: &Python, environment: &Path, directory: &Path) -> Command {
        match self {
            Installer::Uv(uv) => {
                let mut command = tool::command(uv, directory);
                command.args(["venv", "--quiet", "--no-project", "--no-python-downloads", "--color=never", "--python"]);
                command.arg(&python.executable).arg(environment);
                command
            }
            Installer::Pip(_) => {
                let mut command = tool::command(&python.executable, directory);
                command.args(["-I", "-m", "venv", "--without-pip"]).arg(environment);
                command
            }
        }
    }

    /// A command that installs wheels, and nothing that has to be built: building runs code of the package, unconfined. For
    /// the same reason nothing is compiled by a Python that has the packages on its path.
    pub fn install(&self, python: &Path, cache: &Path, from: &From, directory: &Path) -> Command {
        let mut command = match self {
            Installer::Uv(uv) => {
                let mut command = tool::command(uv, directory);
                command.env("UV_CACHE_DIR", cache.join("uv"));
                command.args([
                    "pip",
                    "install",
                    "--no-progress",
                    "--color=never",
                    "--no-build",
                    "--no-python-downloads",
                ]);
                command.args(["--index-strategy=unsafe-best-match", "--python"]).arg(python);
                command
            }
            Installer::Pip(pip) => {
                let mut command = tool::command(pip, directory);
                command.env("PIP_CACHE_DIR", cache.join("pip")).env("PIP_ROOT_USER_ACTION", "ignore");
                command.args(["-I", "-m", "pip", "--no-input", "--disable-pip-version-check", "--python"]).arg(python);
                command.args(["install", "--quiet", "--progress-bar=off", "--only-binary=:all:", "--no-compile"]);
                command.arg("--no-warn-script-location");
                command
            }
        };
        match (self, from) {
            (_, From::Registry) => {}
            (Installer::Uv(_), From::Wheelhouse(wheels)) => {
                command.args(["--offline", "--no-index", "--find-links"]).arg(wheels);
            }
            (Installer::Pip(_), From::Wheelhouse(wheels)) => {
                command.args(["--no-index", "--find-links"]).arg(wheels);
            }
        }
        command
    }

    /// How it is called in a log.
    pub fn name(&self) -> &'static str {
        match self {
            Installer::Uv(_) => "uv",
            Installer::Pip(_) => "pip",
        }
    }
}

/// Where packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The registry that uv or pip is configured for.
    Registry,
    /// A folder of wheels, and nothing else.
    Wheelhouse(PathBuf),
}

fn has_pip(python: &Path, watch: Watch) -> Result<bool, Failure> {
    let mut command = tool::command(python, Path::new("/"));
    command.args(["-I", "-m", "pip", "--version"]);
    let asked = tool::run(&mut command, &QUESTION, Watch { log: &|_| {}, ..watch });
    watch.check()?;
    let Ok(ended) = asked else { return Ok(false) };
    Ok(ended.status.success() && pip_version(&ended.answer).is_some_and(|version| version >= PIP_MIN))
}

/// Of `pip 23.2.1 from …`.
fn pip_version(answer: &str) -> Option<(u32, u32)> {
    let mut parts = answer.split_whitespace().nth(1)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next().unwrap_or("0").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_pip_are_read() {
        assert_eq!(pip_version("pip 23.2.1 from somewhere"), Some((23, 2)));
        assert_eq!(pip_version("pip 26"), Some((26, 0)));
        assert_eq!(pip_version("no module"), None);
    }
}
