//! `guildhall secrets`

use crate::cli::{Data, Failure, now, take, talk, tell_of_key};
use crate::db::opening::discard_secrets;
use crate::domain::secrets::Discarded;
use crate::policy::Operator;

/// Go on without a master key that is lost
#[derive(clap::Subcommand)]
pub enum Action {
    Discard(Discard),
}

/// Drop the values of all secrets, which a lost master key has closed for good, and make a new master key
///
/// Everything else stays: people, keys, teams, models, and the names of the secrets, whose values can be set again. It is
/// noted in the audit log of each organization. No server may run, and it is refused while the master key fits.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall secrets discard --yes
  guildhall secrets discard --yes --data /srv/guildhall")]
pub struct Discard {
    /// The values of all secrets may be dropped
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
    talk(format_args!("dropped the values of secrets: {secrets}, in {teams} teams of {organizations} organizations"));
    tell_of_key(&path, true);
    Ok(())
}
