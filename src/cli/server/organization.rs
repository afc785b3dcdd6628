//! `guildhall organization`

use crate::cli::{Data, Failure, Format, Output, operator, print, report};
use crate::wire::organizations::{FoundOrganization, FoundedOrganization};

/// Create organizations
#[derive(clap::Subcommand)]
pub enum Action {
    Create(Create),
}

/// Create an organization with its first admin
///
/// Works with and without a running server. The admin's API key is printed once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall organization create acme --email ada@acme.example --name 'Ada Adler' --teams
  guildhall organization create acme --email ada@acme.example --name 'Ada Adler' -o json")]
pub struct Create {
    /// The name of the organization
    #[arg(value_name = "NAME")]
    organization: String,
    #[command(flatten)]
    founder: Founder,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

/// The first admin of an organization, and whether teams are enabled.
#[derive(clap::Args)]
pub struct Founder {
    /// The e-mail address of its first admin
    #[arg(long, value_name = "EMAIL")]
    email: String,
    /// The name of its first admin
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Enable teams
    #[arg(long)]
    teams: bool,
}

pub fn run(action: &Action) -> Result<(), Failure> {
    let Action::Create(create) = action;
    let body = create.founder.founds(&create.organization);
    let show = |answer: &[u8]| show(&create.founder, &create.format, answer);
    operator::ask(&create.data.path()?, "/v1/operator/organizations", &body, show)?;
    tell_made(&create.organization, &create.founder);
    Ok(())
}

impl Founder {
    pub fn founds(&self, organization: &str) -> Vec<u8> {
        let Founder { email, name, teams } = self;
        let asked = FoundOrganization {
            name: organization.to_owned(),
            email: email.clone(),
            user_name: name.clone(),
            teams_enabled: Some(*teams),
        };
        serde_json::to_vec(&asked).expect("shapes of ours always serialize")
    }
}

/// Prints the admin's key of an organization before it is created.
pub fn show(founder: &Founder, format: &Format, answer: &[u8]) -> Result<(), Failure> {
    let founded: FoundedOrganization = serde_json::from_slice(answer)
        .map_err(|cause| Failure::new(format!("the server's answer cannot be read: {cause}")))?;
    match format.output {
        Output::Json => print(String::from_utf8_lossy(answer)),
        Output::Text => {
            report(format_args!(
                "Save the API key of {}, which is below, now. It will not be shown again.",
                founder.email
            ));
            print(founded.api_key)
        }
    }
}

pub fn tell_made(organization: &str, founder: &Founder) {
    report(format_args!("Made the organization \"{organization}\" with {} as its admin.", founder.email));
}
