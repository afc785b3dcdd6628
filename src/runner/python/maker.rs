//! What makes runtimes and environments: a Python, an installer, and where packages come from.

use std::path::Path;
use std::process::Command;

use super::installer::{From, Installer};
use super::interpreter::{self, Minor, Python};
use super::tool::Watch;
use super::{Failure, Installation};

pub struct Maker<'a> {
    pub(super) installation: &'a Installation,
    pub python: Python,
    pub(super) installer: Installer,
    from: From,
    pub(super) watch: Watch<'a>,
}

impl<'a> Maker<'a> {
    /// Finds what makes environments for a version of Python, or for the machine's own.
    ///
    /// # Errors
    /// [`Failure::Deploy`] if there is no Python, or nothing that installs packages.
    pub fn find(
        installation: &'a Installation,
        wanted: Option<Minor>,
        from: From,
        watch: Watch<'a>,
    ) -> Result<Maker<'a>, Failure> {
        let python = interpreter::find(wanted, watch)?;
        let installer = Installer::find(installation, &python, watch)?;
        Ok(Maker { installation, python, installer, from, watch })
    }

    /// A command that installs into the environment of `python`.
    pub(super) fn install(&self, python: &Path, directory: &Path) -> Command {
        self.installer.install(python, &self.installation.folder("cache"), &self.from, directory)
    }

    pub(super) fn say(&self, line: &str) {
        (self.watch.log)(line);
    }
}
