//! `guildhall permissions`

use crate::api::rest::permissions;
use crate::cli::{Failure, Format, Output, print};
use crate::policy;

/// Print the permission tables: who may do what
///
/// The server enforces these tables.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall permissions
  guildhall permissions -o json")]
pub struct Options {
    #[command(flatten)]
    format: Format,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    match options.format.output {
        Output::Text => print(policy::tables::as_text().trim_end()),
        Output::Json => {
            let tables = serde_json::to_string(&permissions::all_tables());
            print(tables.expect("shapes of ours always serialize"))
        }
    }
}
