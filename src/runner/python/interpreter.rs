//! Finds the Python that models run on.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::tool::{self, Bounds, Watch};
use super::{Failure, MAKE};

/// Minor versions of Python 3 that the Truss server runs on.
const MINORS: std::ops::RangeInclusive<u32> = 9..=14;
/// Of a tool that is only asked something.
pub(super) const QUESTION: Bounds = Bounds { time_max: Duration::from_secs(20), writes: None };
/// Prints version, executable and prefix, one a line. Links of a virtual environment are followed.
const PROBE: &str = "\
import os, sys
print('.'.join(map(str, sys.version_info[:3])))
print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))
print(os.path.realpath(sys.base_prefix))";

/// A version of Python 3, as `py311` of a configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minor(u32);

impl Minor {
    /// Reads `py311`, or answers nothing.
    pub fn parse(text: &str) -> Option<Minor> {
        text.strip_prefix("py3")?.parse().ok().map(Minor)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}", self.0)
    }
}

/// A Python of this machine, never that of a virtual environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    pub executable: PathBuf,
    /// Such as 3.11.7.
    pub version: String,
    pub minor: Minor,
    /// Where its libraries are.
    pub prefix: PathBuf,
}

impl Python {
    /// What a process that runs this Python must be able to read.
    pub fn reads(&self) -> Vec<PathBuf> {
        let mut reads = vec![self.prefix.clone()];
        reads.extend(self.executable.parent().filter(|folder| !folder.starts_with(&self.prefix)).map(Path::to_owned));
        reads
    }

    /// A command that reads neither variables, nor the user's packages, nor the packages of an environment. What a model
    /// requires is never imported by it.
    pub fn command(&self, directory: &Path) -> Command {
        let mut command = tool::command(&self.executable, directory);
        command.args(["-I", "-S"]);
        command
    }

    /// Compiles every module, so that models start in a second and not in ten. Some packages carry files that no Python can
    /// compile: what fails is left to whoever imports it.
    pub fn compile(&self, folder: &Path, watch: Watch) -> Result<(), Failure> {
        let mut command = self.command(folder);
        command.args(["-m", "compileall", "-q", "-j", "0"]).arg(folder);
        tool::run(&mut command, &MAKE, Watch { log: &|_| {}, ..watch }).map(drop)
    }
}

/// Finds the Python that a configuration asks for, or else the machine's own.
///
/// # Errors
/// [`Failure::Deploy`] if there is none that the Truss server runs on.
pub fn find(wanted: Option<Minor>, watch: Watch) -> Result<Python, Failure> {
    let asked = wanted.map(|minor| format!("python{minor}"));
    for name in asked.iter().map(String::as_str).chain(["python3"]) {
        if let Some(python) = on_path(name).and_then(|path| probe(&path, watch))
            && wanted.is_none_or(|minor| minor == python.minor)
        {
            return Ok(python);
        }
    }
    if let (Some(minor), Some(uv)) = (wanted, find_uv())
        && let Some(python) = ask_uv(&uv, minor, watch)
    {
        return Ok(python);
    }
    watch.check()?;
    let others = MINORS.rev().map(|minor| format!("python3.{minor}"));
    let found = std::iter::once("python3".to_owned()).chain(others).find_map(|name| probe(&on_path(&name)?, watch));
    if let (Some(python), Some(minor)) = (&found, wanted) {
        (watch.log)(&format!("there is no Python {minor} on this machine: {} is used", python.version));
    }
    found.ok_or_else(|| {
        Failure::Deploy(format!(
            "there is no Python from 3.{} to 3.{} on this machine: install Python 3 and uv, for example with \
             `apt-get install python3-venv` and `pip install uv`",
            MINORS.start(),
            MINORS.end()
        ))
    })
}

/// Finds uv on the path.
pub fn find_uv() -> Option<PathBuf> {
    on_path("uv")
}

fn ask_uv(uv: &Path, minor: Minor, watch: Watch) -> Option<Python> {
    let mut command = tool::command(uv, Path::new("/"));
    command.args(["python", "find", "--no-python-downloads", "--no-project", "--system", &minor.to_string()]);
    let ended = tool::run(&mut command, &QUESTION, Watch { log: &|_| {}, ..watch }).ok()?;
    let path = ended.status.success().then(|| PathBuf::from(ended.answer.trim()))?;
    probe(&path, watch).filter(|python| python.minor == minor)
}

/// Asks a Python what it is. One that does not answer, or that the server does not run on, is none.
fn probe(path: &Path, watch: Watch) -> Option<Python> {
    let mut command = tool::command(path, Path::new("/"));
    let ended = tool::run(command.args(["-I", "-S", "-c", PROBE]), &QUESTION, Watch { log: &|_| {}, ..watch }).ok()?;
    let mut lines = ended.answer.lines();
    let (version, executable, prefix) = (lines.next()?, lines.next()?, lines.next()?);
    let minor = version.strip_prefix("3.")?.split('.').next()?.parse().ok()?;
    (ended.status.success() && MINORS.contains(&minor)).then(|| Python {
        executable: PathBuf::from(executable),
        version: version.to_owned(),
        minor: Minor(minor),
        prefix: PathBuf::from(prefix),
    })
}

/// The first executable file of this name on the path.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(|file| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(Minor::parse("py311"), Some(Minor(11)));
        assert_eq!(Minor::parse("py39").map(|minor| minor.to_string()).as_deref(), Some("3.9"));
        for text in ["", "py", "py3", "py2", "3.11", "py3x"] {
            assert_eq!(Minor::parse(text), None, "{text}");
        }
    }
}
