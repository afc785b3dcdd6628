//! The Truss server's own files, from PyPI's package `truss`, with the launcher beside them.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, Unfinished};
use super::maker::Maker;
use super::{Failure, Held, MAKE, tool};
use crate::error::quoted;

/// The file whose time says when a runtime was used last.
pub(super) const MARK: &str = "launch.py";
const LAUNCHER: &str = include_str!("launch.py");
const VERSION_BYTES_MAX: usize = 40;

/// The server's files of one version, for one version of Python.
pub struct Runtime {
    pub folder: PathBuf,
    /// Where the server's modules are.
    pub server: PathBuf,
    pub launcher: PathBuf,
    /// Requirements of the server, which a model may override.
    pub requirements: String,
    /// Bounds of versions, which hold for a model too.
    pub constraints: String,
    _held: Held,
}

impl Maker<'_> {
    /// The server of this version, fetched if it is not there.
    ///
    /// # Errors
    /// [`Failure::Build`] with the installer's own words if there is no such version.
    pub fn runtime(&self, truss_version: &str) -> Result<Runtime, Failure> {
        check_version(truss_version)?;
        let launcher = &blake3::hash(LAUNCHER.as_bytes()).to_hex()[..8];
        let name = format!("py{}-truss{truss_version}-{launcher}", self.python.minor);
        let folder = self.installation.folder("runtimes").join(name);
        if !folder.join(MARK).is_file() {
            self.say(&format!("fetching the server of truss {truss_version}"));
            let lock = self.installation.lock_shared()?;
            disk::remove(&folder)?;
            self.fetch(&folder, truss_version)?;
            drop(lock);
        }
        let held = self.installation.hold(&folder, MARK)?;
        Ok(Runtime {
            requirements: read(&folder.join("server/requirements.txt"))?,
            constraints: read(&folder.join("server/constraints.txt"))?,
            server: folder.join("server"),
            launcher: folder.join(MARK),
            folder,
            _held: held,
        })
    }

    fn fetch(&self, folder: &Path, truss_version: &str) -> Result<(), Failure> {
        let fetched = Unfinished::new(&self.installation.folder("runtimes"))?;
        let package = fetched.path().join("package");
        let mut command = self.install(&self.python.executable, fetched.path());
        command.args(["--no-deps", "--target"]).arg(&package).arg(format!("truss=={truss_version}"));
        let ended = tool::run(&mut command, &MAKE, self.watch)?;
        if !ended.status.success() {
            let (installer, words) = (self.installer.name(), ended.last_words);
            return Err(Failure::Build(format!(
                "the server of truss {truss_version} cannot be fetched; {installer} says: {words}"
            )));
        }
        let templates = package.join("truss/templates");
        let made = Unfinished::new(&self.installation.folder("runtimes"))?;
        let server = made.path().join("server");
        // Servers before 0.18 have the folder under its own name.
        let shared = if templates.join("server/common").is_dir() { "shared" } else { "_truss_shared" };
        let moved = std::fs::rename(templates.join("server"), &server)
            .and_then(|()| std::fs::rename(templates.join("shared"), server.join(shared)));
        moved.map_err(|_| {
            Failure::Build(format!("truss {truss_version} has no server that can be run here: name a later version"))
        })?;
        self.python.compile(&server, self.watch)?;
        std::fs::write(made.path().join(MARK), LAUNCHER)?;
        Ok(made.finish(folder)?)
    }
}

/// A version becomes the name of a folder and an argument.
fn check_version(version: &str) -> Result<(), Failure> {
    let is_plain = version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= VERSION_BYTES_MAX
        && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    if is_plain {
        return Ok(());
    }
    Err(Failure::Build(format!(
        "`runtime.truss_server_version_override` is \"{}\": it must be a version such as {}",
        quoted(version),
        super::TRUSS_VERSION
    )))
}

/// A file of the server; nothing if this version has none.
fn read(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_plain() {
        for version in ["0.18.36", "0.18.36rc1", "1"] {
            assert!(check_version(version).is_ok(), "{version}");
        }
        for version in ["", "x", "../../x", "0.1/..", "0.1 --index-url=x", ".1", &"1".repeat(41)] {
            assert!(matches!(check_version(version), Err(Failure::Build(_))), "{version}");
        }
    }
}
