//! `guildhall init`

use crate::cli::server::organization::{self, Founder};
use crate::cli::{Data, Failure, Format, not_taken, operator};
use crate::db::directory::{Directory, Refusal};

/// Create the first organization of an installation and its admin
///
/// The installation must be empty, and no server may be running on it. The admin's API key is printed once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall init --organization acme --email ada@acme.example --name 'Ada Adler' --teams
  guildhall init --organization acme --email ada@acme.example --name 'Ada Adler' --data /srv/guildhall -o json")]
pub struct Options {
    /// The name of the organization
    #[arg(long, value_name = "NAME")]
    organization: String,
    #[command(flatten)]
    founder: Founder,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let path = options.data.path()?;
    let directory = Directory::take(&path).map_err(|refusal| {
        let is_held = matches!(refusal, Refusal::Held(_));
        let mut failure = not_taken(&path, refusal);
        if is_held {
            failure.message += ": beside a running server, add an organization with `guildhall organization create`";
        }
        failure
    })?;
    let body = options.founder.founds(&options.organization);
    let show = |answer: &[u8]| organization::show(&options.founder, &options.format, answer);
    operator::ask_here(&path, directory, "/v1/operator/installation", &body, show)?;
    organization::tell_made(&options.organization, &options.founder);
    Ok(())
}
