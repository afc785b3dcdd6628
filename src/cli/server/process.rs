//! `guildhall process`: parts of the engine that run as processes of their own. It is no command for people.

use std::process::ExitCode;

use crate::runner::engine::{namespaces, stage, supervisor};
use crate::wire::processes::Namespaces;

/// A part of a model's process
#[derive(clap::Subcommand)]
pub enum Part {
    /// The parent of a process, which ends everything below it
    Supervise,
    /// A process that joins its control groups
    Enter,
    /// A process that confines itself, and then becomes the model's
    Confine,
    /// A process that tries namespaces
    Try {
        #[arg(long)]
        user: bool,
        #[arg(long)]
        network: bool,
        #[arg(long)]
        mounts: bool,
    },
}

/// Runs before anything else is started: what is here limits and confines the whole process.
pub fn run(part: &Part) -> ExitCode {
    match part {
        Part::Supervise => supervisor::run(),
        Part::Enter => stage::enter(),
        Part::Confine => stage::confine(),
        Part::Try { user, network, mounts } => {
            namespaces::attempt(Namespaces { user: *user, network: *network, mounts: *mounts })
        }
    }
}
