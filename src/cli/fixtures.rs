//! `guildhall fixtures`

use std::path::PathBuf;

use crate::cli::{Data, Failure, Format, Output, operator, print, talk};
use crate::http::FIXTURES_BYTES_MAX;
use crate::wire::fixtures::{Loaded, LoadedKey, LoadedOrganization, LoadedPerson};

/// Load organizations from a file
#[derive(clap::Subcommand)]
pub enum Action {
    Load(Load),
}

/// Load the organizations that a file describes, with their people, teams and what these hold
///
/// All of the file is loaded, or nothing. A server may run on the data directory or not. The keys that were made are
/// printed, this once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall fixtures load fixtures/acme.json
  guildhall fixtures load fixtures/large.json --data /srv/guildhall -o json >keys.json")]
pub struct Load {
    /// The file, in JSON
    file: PathBuf,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

pub fn run(action: &Action) -> Result<(), Failure> {
    let Action::Load(load) = action;
    let told =
        |failure: Failure| Failure { message: format!("{}: {}", load.file.display(), failure.message), ..failure };
    let body = std::fs::read(&load.file).map_err(|cause| told(Failure::new(cause.to_string())))?;
    if body.len() > FIXTURES_BYTES_MAX {
        return Err(told(Failure::new(format!("must be at most {FIXTURES_BYTES_MAX} bytes"))));
    }
    let answer = operator::ask(&load.data.path()?, ROUTE, &body).map_err(told)?;
    let loaded = read(&answer)?;
    match load.format.output {
        Output::Json => print(String::from_utf8_lossy(&answer)),
        Output::Text => {
            for organization in &loaded.organizations {
                let (people, teams) = (organization.people.len(), organization.teams.len());
                talk(format_args!("Loaded \"{}\": {people} people, {teams} teams.", organization.name));
            }
            talk("Save these keys now. They will not be shown again.");
            print(listing(&loaded.organizations).trim_end())
        }
    }
}

pub const ROUTE: &str = "/v1/operator/fixtures";

pub fn read(answer: &[u8]) -> Result<Loaded, Failure> {
    serde_json::from_slice(answer).map_err(|cause| Failure::new(format!("the server's answer cannot be read: {cause}")))
}

/// People and keys, to be read by people.
pub fn listing(organizations: &[LoadedOrganization]) -> String {
    let mut text = String::new();
    for organization in organizations {
        let mut rows: Vec<[String; 3]> = organization.people.iter().map(person).collect();
        for team in &organization.teams {
            rows.extend(team.api_keys.iter().map(|its| key(&format!("team {}", team.name), its)));
        }
        rows.extend(organization.api_keys.iter().map(|its| key("all teams", its)));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (first, second) = (width(0), width(1));
        text.push_str(&format!("{}\n", organization.name));
        for [who, what, key] in rows {
            text.push_str(&format!("  {who:first$}  {what:second$}  {key}\n"));
        }
        text.push('\n');
    }
    text
}

fn person(person: &LoadedPerson) -> [String; 3] {
    let role = |role: &str| if role == "ADMIN" { "admin" } else { "member" };
    let teams = person.teams.iter().map(|team| format!("{} of {}", role(&team.role), team.name));
    let what: Vec<String> = std::iter::once(format!("organization {}", role(&person.role))).chain(teams).collect();
    [format!("{} <{}>", person.name, person.email), what.join(", "), person.api_key.clone()]
}

fn key(whose: &str, key: &LoadedKey) -> [String; 3] {
    [whose.to_owned(), key.category.clone(), key.api_key.clone()]
}
