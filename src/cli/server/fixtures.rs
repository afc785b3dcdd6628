//! `guildhall fixtures`

use std::path::{Path, PathBuf};

use crate::api::{self, FIXTURES_BYTES_MAX};
use crate::cli::{Data, Failure, Format, Output, now, operator, print, report};
use crate::policy::Operator;
use crate::wire::fixtures::{Loaded, LoadedKey, LoadedOrganization, LoadedPerson};

/// Load organizations from a file, or check one
#[derive(clap::Subcommand)]
pub enum Action {
    Load(Load),
    Check(Check),
}

/// Load the organizations that a file describes, with their people, teams and resources
///
/// All of the file is loaded, or nothing. Works with and without a running server. The new keys are printed once.
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

/// Check a file without loading it
///
/// Needs no data directory. It says whether the file would load into an empty installation, or where its error is.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall fixtures check fixtures/acme.json")]
pub struct Check {
    /// The file, in JSON
    file: PathBuf,
}

pub fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::Load(load) => run_load(load),
        Action::Check(check) => run_check(check),
    }
}

fn run_load(load: &Load) -> Result<(), Failure> {
    let path = load.data.path()?;
    let body = read_file(&load.file)?;
    let mut made = Vec::new();
    let show = |answer: &[u8]| {
        made = read(answer)?.organizations;
        match load.format.output {
            Output::Json => print(String::from_utf8_lossy(answer)),
            Output::Text => {
                report("Save these keys now. They will not be shown again.");
                print(listing(&made).trim_end())
            }
        }
    };
    operator::ask(&path, ROUTE, &body, show).map_err(in_file(&load.file))?;
    if load.format.output == Output::Text {
        made.iter().for_each(|organization| report(format_args!("Loaded {}.", counts(organization))));
    }
    Ok(())
}

fn run_check(check: &Check) -> Result<(), Failure> {
    let body = read_file(&check.file)?;
    let checked = api::rest::fixtures::check(now(), &Operator::of_this_host(), &body);
    let loaded = checked.map_err(Failure::from).map_err(in_file(&check.file))?;
    for organization in &loaded.organizations {
        report(format_args!("{}: {}", check.file.display(), counts(organization)));
    }
    Ok(())
}

fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    let body = std::fs::read(file).map_err(|cause| in_file(file)(Failure::new(cause.to_string())))?;
    if body.len() > FIXTURES_BYTES_MAX {
        return Err(in_file(file)(Failure::new(format!("must be at most {FIXTURES_BYTES_MAX} bytes"))));
    }
    Ok(body)
}

fn in_file(file: &Path) -> impl Fn(Failure) -> Failure {
    move |failure| Failure { message: format!("{}: {}", file.display(), failure.message), ..failure }
}

fn counts(organization: &LoadedOrganization) -> String {
    let LoadedOrganization { name, people, teams, .. } = organization;
    format!("\"{name}\": {} people, {} teams", people.len(), teams.len())
}

pub const ROUTE: &str = "/v1/operator/fixtures";

pub fn read(answer: &[u8]) -> Result<Loaded, Failure> {
    serde_json::from_slice(answer).map_err(|cause| Failure::new(format!("the server's answer cannot be read: {cause}")))
}

/// Formats people and keys as text.
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
    let named = person.api_key_name.iter().map(|name| format!("key \"{name}\""));
    let role = std::iter::once(format!("organization {}", role(&person.role)));
    let what: Vec<String> = role.chain(teams).chain(named).collect();
    [format!("{} <{}>", person.name, person.email), what.join(", "), person.api_key.clone()]
}

fn key(whose: &str, key: &LoadedKey) -> [String; 3] {
    let narrowed = [("environments", &key.environments), ("models", &key.models)];
    let narrowed = narrowed.iter().filter_map(|(what, names)| Some(format!("{what} {}", names.as_ref()?.join(", "))));
    let named = key.name.iter().map(|name| format!("\"{name}\""));
    let what: Vec<String> = std::iter::once(key.category.clone()).chain(named).chain(narrowed).collect();
    [whose.to_owned(), what.join(", "), key.api_key.clone()]
}
