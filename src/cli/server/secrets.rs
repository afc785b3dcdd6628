//! `guildhall secrets`

use crate::cli::{Data, Failure, now, report, take, tell_of_key};
use crate::db::opening::discard_secrets;
use crate::domain::secrets::Discarded;
use crate::policy::Operator;

/// Continue without a lost master key
#[derive(clap::Subcommand)]
pub enum Action {
    Discard(Discard),
}

/// Drop the values of all secrets and make a new master key
///
/// For a lost master key, without which the values cannot be opened. Everything else is kept: people, keys, teams, models and the
/// names of the secrets, whose values can be set again. The audit log of each organization records it. No server may be
/// running. Refused while the master key fits.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall secrets discard --yes
  guildhall secrets discard --yes --data /srv/guildhall")]
pub struct Discard {
    /// Confirms that the values of all secrets are dropped
    #[arg(long, required = true)]
    yes: bool,
    #[command(flatten)]
    data: Data,
}

pub fn run(action: &Action) -> Result<(), Failure> {
    let Action::Discard(discard) = action;
    let path = discard.data.path()?;
    let done = discard_secrets(take(&path)?, &Operator::of_this_host(), now())?;
    let Discarded { secrets, teams, organizations } = done;
    report(format_args!("dropped the values of secrets: {secrets}, in {teams} teams of {organizations} organizations"));
    tell_of_key(&path, true);
    Ok(())
}
